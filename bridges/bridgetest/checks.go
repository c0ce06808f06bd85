package bridgetest

import (
	"context"
	"fmt"
	"hash/fnv"
	"testing"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
)

// patience bounds a test that waits for a peer.
const patience = 2 * time.Minute

// records makes n records with values of their own, spread over keys.
func records(destination string, n, keys int) []message.Record {
	out := make([]message.Record, n)
	for i := range out {
		key := fmt.Sprintf("machine-%d", i*7%keys)
		out[i] = record(destination, i, key, fmt.Sprintf(`{"machine":%q,"n":%d,"unit":"°C"}`, key, i))
	}
	return out
}

func record(destination string, i int, key, value string) message.Record {
	order := fnv.New64a()
	order.Write([]byte(key))
	r := message.Record{
		Message: message.ID{Journal: 11, Epoch: 1, Offset: uint64(i + 1)}, Rule: 3, Output: 5,
		Received: 1_700_000_000_000 + int64(i), Client: "client", Topic: destination,
		Key: []byte(key), Value: []byte(value), Order: order.Sum64(),
	}
	r.Headers = []message.Header{{Name: "penstock-id", Value: r.AppendID(nil)}, {Name: "penstock-topic", Value: []byte("plant/7")}}
	return r
}

// opened returns a courier with an open sink, and what closes the sink.
func (b *bench) opened(t *testing.T, destination string) *courier {
	t.Helper()
	return openSink(t, b.peer.Sink(t, destination))
}

func openSink(t *testing.T, sink bridges.Sink) *courier {
	t.Helper()
	if err := sink.Open(t.Context()); err != nil {
		t.Fatalf("open: %v", err)
	}
	closed := false
	c := &courier{sink: sink}
	t.Cleanup(func() {
		if !closed {
			closed = true
			if err := sink.Close(context.Background()); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	})
	return c
}

func (c *courier) mustDeliver(t *testing.T, records []message.Record) (refused []message.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last error
	if c.onError == nil {
		c.onError = func(err error) { last = err }
	}
	refused, err := c.deliver(ctx, records)
	if err != nil {
		t.Fatalf("deliver: %v; %d of %d records are settled; the last error of a write: %v", err, c.settled, len(records), last)
	}
	return refused
}

// holds checks that the destination has every record, in order per key, and
// once unless duplicates are allowed.
func (b *bench) holds(t *testing.T, destination string, want []message.Record, duplicates bool) {
	t.Helper()
	got := b.peer.Records(t, destination)
	index := make(map[string]int, len(want))
	for i := range want {
		index[string(want[i].Value)] = i
	}
	seen := make([]int, len(want))
	last := make(map[string]int)
	for _, r := range got {
		i, ok := index[string(r.Value)]
		if !ok {
			t.Errorf("the destination holds what was not sent: %.200q", r.Value)
			continue
		}
		b.same(t, r, &want[i])
		if seen[i]++; seen[i] > 1 {
			continue // a repetition says nothing about order
		}
		key := string(want[i].Key)
		if before, ok := last[key]; ok && before > i {
			t.Errorf("key %s: record %d stands before record %d", key, before, i)
		}
		last[key] = i
	}
	count(t, seen, duplicates)
}

func count(t *testing.T, seen []int, duplicates bool) {
	t.Helper()
	missing, twice := 0, 0
	for _, n := range seen {
		switch {
		case n == 0:
			missing++
		case n > 1:
			twice++
		}
	}
	if missing > 0 {
		t.Errorf("%d of %d records are missing", missing, len(seen))
	}
	if twice > 0 && !duplicates {
		t.Errorf("%d of %d records are there more than once", twice, len(seen))
	}
}

// same compares one record with what arrived of it.
func (b *bench) same(t *testing.T, got Received, want *message.Record) {
	t.Helper()
	if b.has(Keys) && (string(got.Key) != string(want.Key) || (got.Key == nil) != (want.Key == nil)) {
		t.Errorf("key %q of %.100q arrived as %q", want.Key, want.Value, got.Key)
	}
	if b.has(IDs) && got.ID != string(want.AppendID(nil)) {
		t.Errorf("id of %.100q arrived as %q, want %q", want.Value, got.ID, want.AppendID(nil))
	}
}
