package kafka_test

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/bridges/kafka"
	"github.com/penstock/penstock/internal/kafkatest"
)

func TestUnknownTopic(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1))
	s, err := kafka.New(at(c), kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	kafka.Hasten(s) // a topic may be missing for 1.5 s
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	batch := records("later", 10)
	if _, _, gen := s.Shard(&batch[0]); gen != 0 {
		t.Errorf("gen %d of a topic nobody knows", gen)
	}
	var retry *bridges.Retry
	if err := s.Write(t.Context(), batch); !errors.As(err, &retry) {
		t.Fatalf("first write: %v, want Retry", err)
	}
	began := time.Now()
	allRefused(t, try(t, s, batch), len(batch))
	if took := time.Since(began); took < time.Second {
		t.Errorf("refused after %v", took)
	}
	began = time.Now()
	allRefused(t, s.Write(t.Context(), records("later", 3)), 3)
	if took := time.Since(began); took > time.Second {
		t.Errorf("the second refusal took %v", took)
	}
	allRefused(t, s.Write(t.Context(), records("no such name!", 3)), 3)
	createTopic(t, c, "later", 3)
	write(t, s, batch)
	if _, _, gen := s.Shard(&batch[0]); gen == 0 {
		t.Error("the mapping is still unknown")
	}
}

func createTopic(t *testing.T, c *kfake.Cluster, name string, partitions int) {
	t.Helper()
	if err := kafkatest.At(c.ListenAddrs()[0]).MakeTopic(name, partitions); err != nil {
		t.Fatal(err)
	}
}

func allRefused(t *testing.T, err error, n int) {
	t.Helper()
	var partial *bridges.Partial
	if !errors.As(err, &partial) || len(partial.Failed) != n {
		t.Fatalf("write: %v, want all of %d refused", err, n)
	}
	for i, err := range partial.Failed {
		if _, ok := errors.AsType[*bridges.Reject](err); !ok {
			t.Errorf("record %d: %v, want Reject", i, err)
		}
	}
}
