package kafka_test

import (
	"bytes"
	"testing"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/bridges/bridgetest"
	"github.com/penstock/penstock/bridges/kafka"
	"github.com/penstock/penstock/internal/kafkatest"
	"github.com/penstock/penstock/internal/message"
)

func TestConnector(t *testing.T) {
	bridgetest.Run(t, bridgetest.Connector{Peer: func(t *testing.T, own bool) bridgetest.Peer {
		t.Helper()
		if own {
			return peer(kafkatest.Start(t))
		}
		return peer(kafkatest.Shared(t))
	}})
}

func peer(b *kafkatest.Broker) bridgetest.Peer {
	return bridgetest.Peer{
		Destination: func(t testing.TB) string {
			t.Helper()
			return b.Topic(t, 4)
		},
		Sink: func(t testing.TB, _ string) bridges.Sink {
			t.Helper()
			return hasty(t, kafka.Config{Brokers: []string{b.Addr}, Compression: "lz4"})
		},
		Intruder: func(t testing.TB, _ string) (bridges.Sink, string) {
			t.Helper()
			return hasty(t, kafka.Config{
				Brokers: []string{b.SASL},
				SASL:    &kafka.SASLConfig{Mechanism: "SCRAM-SHA-512", User: kafkatest.User, Password: "guessed"},
			}), "guessed"
		},
		Records: func(t testing.TB, topic string) []bridgetest.Received {
			t.Helper()
			var out []bridgetest.Received
			for _, r := range b.Records(t, topic) {
				out = append(out, bridgetest.Received{Key: r.Key, Value: r.Value, ID: r.Header("penstock-id")})
			}
			return out
		},
		Stop: b.Stop, Restart: b.Restart, Freeze: b.Freeze, Thaw: b.Thaw,
		TooLarge: func(r *message.Record) {
			r.Value = incompressible(2 << 20) // Kafka's default limit is 1 MiB
		},
		// Kafka refuses times that are more than an hour ahead of its own.
		Poison: func(r *message.Record) { r.Received = 32503680000000 },
	}
}

// hasty returns a sink that gives up soon on a Kafka that does not answer.
func hasty(t testing.TB, c kafka.Config) *kafka.Sink {
	t.Helper()
	s, err := kafka.New(c, kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	kafka.Hasten(s)
	return s
}

func incompressible(n int) []byte {
	var b bytes.Buffer
	x := uint64(88172645463325252)
	for b.Len() < n {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b.WriteByte(byte(x))
	}
	return b.Bytes()
}
