package kafka_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/bridges/kafka"
)

func TestValidate(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.pem")
	if err := os.WriteFile(junk, []byte("not PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	one := []string{"localhost:9092"}
	cases := []struct {
		name   string
		config kafka.Config
		want   string // path: message | hint, a line each
	}{
		{"good", kafka.Config{Brokers: []string{"a.example:9092", "[::1]:9093"}, Acks: "all", Compression: "zstd", Topic: "t.x_1-A"}, ""},
		{"no brokers", kafka.Config{}, `brokers: no broker is named | brokers: ["localhost:9092"]`},
		{
			"bad brokers",
			kafka.Config{Brokers: []string{"localhost", "kafka://x:1", ":9092", "a:b", "x:70000", "a:1, b:2", ""}},
			`brokers[0]: broker "localhost" has no port | write host:port, as in "localhost:9092"
brokers[1]: "kafka://x:1" is a URL, not a broker | write host:port, as in "localhost:9092"
brokers[2]: broker ":9092" has no usable host | write host:port, as in "localhost:9092"
brokers[3]: broker "a:b" has no usable port | write host:port, as in "localhost:9092"
brokers[4]: broker "x:70000" has no usable port | write host:port, as in "localhost:9092"
brokers[5]: broker "a:1, b:2" is not host:port | write host:port, as in "localhost:9092"
brokers[6]: broker "" has no port | write host:port, as in "localhost:9092"`,
		},
		{"acks", kafka.Config{Brokers: one, Acks: "1"}, `acks: unknown acks "1" | one of all`},
		{"compression", kafka.Config{Brokers: one, Compression: "ztsd"}, `compression: unknown compression "ztsd" | did you mean "zstd"?`},
		{"case", kafka.Config{Brokers: one, Compression: "GZIP"}, `compression: unknown compression "GZIP" | did you mean "gzip"?`},
		{
			"topic",
			kafka.Config{Brokers: one, Topic: "telemetry.{line}"},
			`topic: "telemetry.{line}" is not a Kafka topic | letters, digits, . _ and -, at most 249; a topic with holes belongs in a rule's output`,
		},
		{
			"long topic",
			kafka.Config{Brokers: one, Topic: strings.Repeat("x", 250)},
			`topic: "` + strings.Repeat("x", 250) + `" is not a Kafka topic | letters, digits, . _ and -, at most 249; a topic with holes belongs in a rule's output`,
		},
		{
			"sasl",
			kafka.Config{Brokers: one, SASL: &kafka.SASLConfig{Mechanism: "scram-sha-512"}},
			`sasl.mechanism: unknown mechanism "scram-sha-512" | did you mean "SCRAM-SHA-512"?
sasl.user: user is missing | the name Kafka knows you under
sasl.password: password is missing | ${env:NAME} takes it from the environment`,
		},
		{
			"no mechanism",
			kafka.Config{Brokers: one, SASL: &kafka.SASLConfig{User: "u", Password: "p"}},
			`sasl.mechanism: mechanism is missing | PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512`,
		},
		{
			"tls halves",
			kafka.Config{Brokers: one, TLS: &kafka.TLSConfig{Cert: "x.pem", CA: "/nowhere/ca.pem"}},
			`tls.ca: read certificate authority: open /nowhere/ca.pem: no such file or directory | 
tls.cert: cert is given without key | add key: the certificate's private key`,
		},
		{
			"tls key",
			kafka.Config{Brokers: one, TLS: &kafka.TLSConfig{Key: "x.key", CA: junk}},
			`tls.ca: read certificate authority: ` + junk + ` holds no PEM certificate | 
tls.key: key is given without cert | add cert: the key's certificate`,
		},
		{
			"tls files",
			kafka.Config{Brokers: one, TLS: &kafka.TLSConfig{Cert: junk, Key: junk}},
			`tls.cert: read certificate and key: tls: failed to find any PEM data in certificate input | `,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var lines []string
			for _, p := range c.config.Validate() {
				lines = append(lines, p.Path+": "+p.Message+" | "+p.Hint)
			}
			if diff := cmp.Diff(c.want, strings.Join(lines, "\n")); diff != "" {
				t.Error(diff)
			}
			_, err := kafka.New(c.config, kafka.Options{})
			if (err == nil) != (c.want == "") {
				t.Errorf("New: %v", err)
			}
		})
	}
}
