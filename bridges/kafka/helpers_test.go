package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/bridges/kafka"
	"github.com/penstock/penstock/internal/kafkatest"
	"github.com/penstock/penstock/internal/message"
)

// open returns an open sink that is closed at the end of the test.
func open(t testing.TB, c kafka.Config) *kafka.Sink {
	t.Helper()
	return openLogged(t, c, io.Discard)
}

func openLogged(t testing.TB, c kafka.Config, log io.Writer) *kafka.Sink {
	t.Helper()
	s, err := kafka.New(c, kafka.Options{Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// write writes a batch as a lane does: again after Retry and Unavailable.
func write(t testing.TB, s *kafka.Sink, batch []message.Record) {
	t.Helper()
	if err := try(t, s, batch); err != nil {
		t.Fatal(err)
	}
}

// try is write for batches that may be refused.
func try(t testing.TB, s *kafka.Sink, batch []message.Record) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		err := s.Write(ctx, batch)
		var retry *bridges.Retry
		var unavailable *bridges.Unavailable
		if !errors.As(err, &retry) && !errors.As(err, &unavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// compare checks that a topic holds exactly the records, in order per partition,
// each in the partition it belongs in.
func compare(t testing.TB, got []kafkatest.Record, want []message.Record, partitions uint32) {
	t.Helper()
	if diff := cmp.Diff(expected(want, partitions), byPartition(got), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("records in Kafka (-want +got):\n%.4000s", diff)
	}
}

type stored struct {
	Time       int64
	Key, Value string // "null" for null, else the text in quotes
	ID         string
}

func expected(records []message.Record, partitions uint32) map[int][]stored {
	out := make(map[int][]stored)
	for i := range records {
		r := &records[i]
		value := r.Value
		if value == nil {
			value = []byte{}
		}
		if r.Null {
			value = nil
		}
		p := int(kafka.Choose(r, partitions))
		out[p] = append(out[p], stored{r.Received, quote(r.Key), quote(value), string(r.AppendID(nil))})
	}
	return out
}

func byPartition(records []kafkatest.Record) map[int][]stored {
	out := make(map[int][]stored)
	for i := range records {
		r := &records[i]
		out[r.Partition] = append(out[r.Partition], stored{r.Timestamp, quote(r.Key), quote(r.Value), r.Header("penstock-id")})
	}
	return out
}

func quote(b []byte) string {
	if b == nil {
		return "null"
	}
	return "'" + string(bytes.ToValidUTF8(b, []byte("?"))) + "'"
}
