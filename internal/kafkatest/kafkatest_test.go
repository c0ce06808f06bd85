package kafkatest_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/kafkatest"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

func TestReadBack(t *testing.T) {
	b := kafkatest.Shared(t)
	topic := b.Topic(t, 1)
	produce(t, b.Addr, topic, "k:one\nkey:two, = three\n")
	var got []string
	for _, r := range b.Records(t, topic) {
		got = append(got, string(r.Key)+"/"+string(r.Value)+"/"+r.Header("a")+"/"+r.Header("b"))
	}
	want := []string{"k/one/1,x/2", "key/two, = three/1,x/2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRestartKeepsPortsAndData(t *testing.T) {
	b := kafkatest.Start(t)
	b.CreateTopic(t, "kept", 2, map[string]string{"max.message.bytes": "2000"})
	produce(t, b.Addr, "kept", "a:1\nb:2\n")
	b.Stop(t)
	b.Restart(t)
	produce(t, b.Addr, "kept", "c:3\n")
	b.Kill(t)
	b.Restart(t)
	b.Freeze(t)
	b.Thaw(t)
	values := []string{}
	for _, r := range b.WaitRecords(t, "kept", 3) {
		values = append(values, string(r.Value))
	}
	slices.Sort(values)
	if diff := cmp.Diff([]string{"1", "2", "3"}, values); diff != "" {
		t.Error(diff)
	}
}

func TestTLSAndLogin(t *testing.T) {
	b := kafkatest.Shared(t)
	topic := b.Topic(t, 1)
	login := []string{"-X", "sasl.mechanism=PLAIN", "-X", "sasl.username=" + kafkatest.User, "-X", "sasl.password=" + kafkatest.Password}
	ca := []string{"-X", "ssl.ca.location=" + b.File("ca.pem")}
	client := []string{"-X", "ssl.certificate.location=" + b.File("client.pem"), "-X", "ssl.key.location=" + b.File("client.key")}
	produce(t, b.SASL, topic, "a:1\n", append(login, "-X", "security.protocol=SASL_PLAINTEXT")...)
	produce(t, b.TLS, topic, "a:2\n", append(ca, "-X", "security.protocol=SSL")...)
	produce(t, b.SASLTLS, topic, "a:3\n", append(append(ca, login...), "-X", "security.protocol=SASL_SSL")...)
	produce(t, b.MTLS, topic, "a:4\n", append(append(ca, client...), "-X", "security.protocol=SSL")...)
	if n := len(b.Records(t, topic)); n != 4 {
		t.Errorf("%d records, want one from each listener", n)
	}
}

// produce writes key:value lines with kcat, with two headers each.
func produce(t *testing.T, addr, topic, lines string, args ...string) {
	t.Helper()
	args = append([]string{"-P", "-b", addr, "-t", topic, "-K", ":", "-H", "a=1,x", "-H", "b=2"}, args...)
	cmd := exec.CommandContext(t.Context(), "kcat", args...)
	cmd.Stdin = strings.NewReader(lines)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kcat: %v\n%s", err, out)
	}
}
