package kafka_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/bridges/kafka"
	"github.com/penstock/penstock/internal/kafkatest"
)

func TestTLSAndLogin(t *testing.T) {
	b := kafkatest.Shared(t)
	ca := &kafka.TLSConfig{CA: b.File("ca.pem")}
	client := &kafka.TLSConfig{CA: b.File("ca.pem"), Cert: b.File("client.pem"), Key: b.File("client.key")}
	login := func(mechanism string) *kafka.SASLConfig {
		return &kafka.SASLConfig{Mechanism: mechanism, User: kafkatest.User, Password: kafkatest.Password}
	}
	cases := map[string]kafka.Config{
		"tls":                    {Brokers: []string{b.TLS}, TLS: ca},
		"tls, not checked":       {Brokers: []string{b.TLS}, TLS: &kafka.TLSConfig{Insecure: true}},
		"tls, server name":       {Brokers: []string{b.TLS}, TLS: &kafka.TLSConfig{CA: b.File("ca.pem"), ServerName: "localhost"}},
		"client certificate":     {Brokers: []string{b.MTLS}, TLS: client},
		"PLAIN":                  {Brokers: []string{b.SASL}, SASL: login("PLAIN")},
		"SCRAM-SHA-256":          {Brokers: []string{b.SASL}, SASL: login("SCRAM-SHA-256")},
		"SCRAM-SHA-512":          {Brokers: []string{b.SASL}, SASL: login("SCRAM-SHA-512")},
		"PLAIN over tls":         {Brokers: []string{b.SASLTLS}, TLS: ca, SASL: login("PLAIN")},
		"SCRAM-SHA-256 over tls": {Brokers: []string{b.SASLTLS}, TLS: ca, SASL: login("SCRAM-SHA-256")},
		"SCRAM-SHA-512 over tls": {Brokers: []string{b.SASLTLS}, TLS: ca, SASL: login("SCRAM-SHA-512")},
	}
	for name, config := range cases {
		t.Run(name, func(t *testing.T) {
			topic := b.Topic(t, 2)
			want := records(topic, 50)
			write(t, open(t, config), want)
			compare(t, b.Records(t, topic), want, 2)
		})
	}
}

// What is wrong with the connection is said in words a person can act on.
func TestWrongTLSAndLogin(t *testing.T) {
	b := kafkatest.Shared(t)
	ca := &kafka.TLSConfig{CA: b.File("ca.pem")}
	wrong := func(mechanism, user, password string) *kafka.SASLConfig {
		return &kafka.SASLConfig{Mechanism: mechanism, User: user, Password: password}
	}
	cases := []struct {
		name   string
		config kafka.Config
		says   string
	}{
		{"nobody signed the server", kafka.Config{Brokers: []string{b.TLS}, TLS: &kafka.TLSConfig{CA: b.File("stranger-ca.pem")}}, "certificate signed by unknown authority"},
		{"another server name", kafka.Config{Brokers: []string{b.TLS}, TLS: &kafka.TLSConfig{CA: b.File("ca.pem"), ServerName: "kafka.example"}}, "not kafka.example"},
		{"no client certificate", kafka.Config{Brokers: []string{b.MTLS}, TLS: ca}, "certificate"},
		{"a stranger's certificate", kafka.Config{Brokers: []string{b.MTLS}, TLS: &kafka.TLSConfig{
			CA: b.File("ca.pem"), Cert: b.File("stranger.pem"), Key: b.File("stranger.key"),
		}}, "certificate"},
		{"plain on a tls port", kafka.Config{Brokers: []string{b.TLS}}, "TLS"},
		{"tls on a plain port", kafka.Config{Brokers: []string{b.Addr}, TLS: ca}, "is that its TLS port?"},
		{"PLAIN password", kafka.Config{Brokers: []string{b.SASL}, SASL: wrong("PLAIN", kafkatest.User, "guessed")}, `log in to kafka as "penstock" with PLAIN`},
		{"SCRAM password", kafka.Config{Brokers: []string{b.SASLTLS}, TLS: ca, SASL: wrong("SCRAM-SHA-256", kafkatest.User, "guessed")}, `log in to kafka as "penstock" with SCRAM-SHA-256`},
		{"SCRAM user", kafka.Config{Brokers: []string{b.SASL}, SASL: wrong("SCRAM-SHA-512", "stranger", "guessed")}, `log in to kafka as "stranger"`},
		{"no login", kafka.Config{Brokers: []string{b.SASL}}, "does it want tls or sasl?"},
		{"login where there is none", kafka.Config{Brokers: []string{b.Addr}, SASL: wrong("PLAIN", "u", "guessed")}, "takes no log-in"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			topic := b.Topic(t, 1)
			err := open(t, c.config).Write(t.Context(), records(topic, 3))
			var unavailable *bridges.Unavailable
			if !errors.As(err, &unavailable) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "guessed") {
				t.Errorf("write: %v, want Unavailable with %q and no password", err, c.says)
			}
			t.Log(err)
		})
	}
}

func TestInsecureIsSaid(t *testing.T) {
	var log bytes.Buffer
	openLogged(t, kafka.Config{
		Brokers: []string{"127.0.0.1:1"}, TLS: &kafka.TLSConfig{Insecure: true},
	}, &log)
	openLogged(t, kafka.Config{
		Brokers: []string{"127.0.0.1:1"}, SASL: &kafka.SASLConfig{Mechanism: "PLAIN", User: "u", Password: "guessed"},
	}, &log)
	for _, say := range []string{"certificates are not checked", "password is sent in clear text"} {
		if !strings.Contains(log.String(), say) {
			t.Errorf("the log does not say %q:\n%s", say, log.String())
		}
	}
	if strings.Contains(log.String(), "guessed") {
		t.Error("the log shows the password")
	}
}
