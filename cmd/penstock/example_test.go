package main_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/internal/kafkatest"
)

// TestFactoryToKafka runs examples/factory-to-kafka as its README says: every
// version of MQTT, over TCP and over TLS, with user and password, into a real
// Kafka.
func TestFactoryToKafka(t *testing.T) {
	kafka := kafkatest.Shared(t)
	kafka.CreateTopic(t, "telemetry.7", 4, nil)
	kafka.CreateTopic(t, "alarms", 4, nil)
	dir := copyExample(t, "factory-to-kafka")
	writeServerCertificate(t, dir)
	runToEnd(t, dir, "secret\n", "passwd", "users.txt", "press")
	runToEnd(t, dir, "", "test", "penstock.yaml")
	env := []string{"KAFKA=" + kafka.Addr, "MQTT_BIND=127.0.0.1:0", "MQTTS_BIND=127.0.0.1:0"}
	p := startPenstock(t, dir, env, "run", "penstock.yaml")

	var wantTelemetry, wantAlarms []kafkaRecord
	for _, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		for i, qos := range []string{"1", "2"} { // over TCP, over TLS
			client := version + "-" + qos
			machine := "press-" + client
			telemetry, alarm := "plant/7/"+machine+"/telemetry", "plant/7/"+machine+"/alarm"
			send := func(topic, payload string) {
				args := []string{"-V", version, "-q", qos, "-i", client, "-u", "press", "-P", "secret", "-t", topic, "-m", payload}
				mosquittoPub(t, dir, p.addr(i), i == 1, args)
			}
			send(telemetry, `{"temp": 91.26, "state": "run"}`)
			send(telemetry, `{"temp": 20, "state": "idle"}`)
			send(alarm, "door open")
			wantTelemetry = append(wantTelemetry, kafkaRecord{
				Key: machine, Value: fmt.Sprintf(`{"line":"7","machine":%q,"temp":91.3}`, machine),
				Headers: map[string]string{"site": "north", "machine": machine},
			})
			wantAlarms = append(wantAlarms, kafkaRecord{
				Key: "7/" + machine, Value: "door open",
				Headers: map[string]string{"penstock-client": client, "penstock-topic": alarm},
			})
		}
	}
	compareRecords(t, kafka.WaitRecords(t, "telemetry.7", len(wantTelemetry)), wantTelemetry)
	compareRecords(t, kafka.WaitRecords(t, "alarms", len(wantAlarms)), wantAlarms)
	if err := mosquittoErr(dir, p.addr(0), "press", "wrong"); err == nil {
		t.Error("a wrong password was admitted")
	}
	p.stop()
	if n := countFile(t, filepath.Join(dir, "alarms.jsonl")); n != len(wantAlarms) {
		t.Errorf("alarms.jsonl has %d lines, want %d", n, len(wantAlarms))
	}
}

// kafkaRecord is what a test knows beforehand of a record.
type kafkaRecord struct {
	Key, Value string
	Headers    map[string]string
}

// compareRecords compares by key, and checks that each record is in the
// partition that the Java client would have chosen.
func compareRecords(t *testing.T, got []kafkatest.Record, want []kafkaRecord) {
	t.Helper()
	wanted := map[string]kafkaRecord{}
	for _, w := range want {
		wanted[w.Key] = w
	}
	for _, r := range got {
		w, ok := wanted[string(r.Key)]
		if !ok {
			t.Errorf("unexpected or doubled record %q: %s", r.Key, r.Value)
			continue
		}
		delete(wanted, string(r.Key))
		value := string(r.Value)
		if at := strings.Index(value, `"at":"`); at >= 0 { // the time differs from run to run
			end := at + len(`"at":"2026-01-01T00:00:00.000Z",`)
			value = value[:at] + value[end:]
		}
		if value != w.Value {
			t.Errorf("record %q: value %s, want %s", r.Key, value, w.Value)
		}
		for name, v := range w.Headers {
			if r.Header(name) != v {
				t.Errorf("record %q: header %s = %q, want %q", r.Key, name, r.Header(name), v)
			}
		}
		if p := javaPartition(r.Key, 4); r.Partition != p {
			t.Errorf("record %q is in partition %d, the Java client puts it into %d", r.Key, r.Partition, p)
		}
	}
	for key := range wanted {
		t.Errorf("no record with key %q", key)
	}
}

// javaPartition is the partition by the default partitioner of Kafka's Java
// client, from a library that is not under test.
func javaPartition(key []byte, n int) int {
	p := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	return p.Partition(&kgo.Record{Key: key}, n)
}

func mosquittoPub(t *testing.T, dir, addr string, tls bool, args []string) {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	args = append([]string{"-h", host, "-p", port}, args...)
	if tls {
		args = append(args, "--cafile", filepath.Join(dir, "server.pem"))
	}
	if out, err := exec.CommandContext(t.Context(), "mosquitto_pub", args...).CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub %s: %v\n%s\non Debian: apt-get install mosquitto-clients", strings.Join(args, " "), err, out)
	}
}

func mosquittoErr(_, addr, user, password string) error {
	host, port, _ := net.SplitHostPort(addr)
	return exec.Command("mosquitto_pub", "-h", host, "-p", port, "-u", user, "-P", password, "-t", "x", "-m", "x").Run()
}

// copyExample copies an example into a folder of its own.
func copyExample(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "..", "examples", name))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// runToEnd runs a subcommand to its end, which must be a good one.
func runToEnd(t *testing.T, dir, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), asPenstock+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("penstock %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func countFile(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(text, []byte("\n"))
}

// writeServerCertificate writes a self-signed server.pem and server.key for
// 127.0.0.1.
func writeServerCertificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, "server.pem"), "CERTIFICATE", cert)
	writePEM(t, filepath.Join(dir, "server.key"), "PRIVATE KEY", der)
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
