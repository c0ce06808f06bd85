package bridgetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
)

// delivery: everything arrives once, in order per key.
func delivery(b *bench) {
	t := b.T
	d := b.peer.Destination(t)
	all := records(d, 5000, 50)
	if refused := b.opened(t, d).mustDeliver(t, all); len(refused) > 0 {
		t.Errorf("%d records were refused", len(refused))
	}
	b.holds(t, d, all, false)
}

// values: whatever bytes a record holds arrive as they are.
func values(b *bench) {
	t := b.T
	d := b.peer.Destination(t)
	texts := []string{
		"plain", "", "日本語 grüße 🏭", `{"a": [1, 2.5, null], "b": "\u0000"}`, "   spaces   ", strings.Repeat("large ", 40_000),
	}
	if b.has(Bytes) {
		texts = append(texts, "line\nand line\r\n", "\x00\xff\xfe\x01", "tab\tnul\x00end")
	}
	var sent []message.Record
	for i, text := range texts {
		sent = append(sent, record(d, i, "k", text))
	}
	if b.has(Keys) {
		empty, none := record(d, len(sent), "", "empty key"), record(d, len(sent)+1, "k", "no key")
		empty.Key, none.Key = []byte{}, nil
		sent = append(sent, empty, none)
	}
	if b.has(Null) {
		r := record(d, len(sent), "k", "")
		r.Value, r.Null = nil, true
		sent = append(sent, r)
	}
	if refused := b.opened(t, d).mustDeliver(t, sent); len(refused) > 0 {
		t.Errorf("%d records were refused", len(refused))
	}
	b.arrived(t, sent, b.peer.Records(t, d))
}

// arrived pairs each sent record with one received, whatever their order.
func (b *bench) arrived(t *testing.T, sent []message.Record, got []Received) {
	t.Helper()
	if len(got) != len(sent) {
		t.Errorf("%d records arrived, want %d", len(got), len(sent))
	}
	for i := range sent {
		found := false
		for j := range got {
			found = bytes.Equal(got[j].Value, sent[i].Value) && (!b.has(Null) || (got[j].Value == nil) == sent[i].Null)
			if found {
				b.same(t, got[j], &sent[i])
				got = append(got[:j:j], got[j+1:]...)
				break
			}
		}
		if !found {
			t.Errorf("record %d did not arrive as it was sent: %.100q", i, sent[i].Value)
		}
	}
}

func tooLarge(b *bench) { oneRefused(b, b.peer.TooLarge) }
func poison(b *bench)   { oneRefused(b, b.peer.Poison) }

// oneRefused: a record that is refused does not keep others from arriving.
func oneRefused(b *bench, spoil func(*message.Record)) {
	t := b.T
	d := b.peer.Destination(t)
	all := records(d, 500, 5)
	spoil(&all[123])
	refused := b.opened(t, d).mustDeliver(t, all)
	if len(refused) != 1 || refused[0].Message != all[123].Message {
		t.Errorf("%d records were refused, want the one that was spoilt", len(refused))
	}
	b.holds(t, d, append(all[:123:123], all[124:]...), false)
}

// wrongCredentials: the destination is unavailable, the error says why and
// does not show the secret.
func wrongCredentials(b *bench) {
	t := b.T
	d := b.peer.Destination(t)
	sink, secret := b.peer.Intruder(t, d)
	c := openSink(t, sink)
	err := c.sink.Write(t.Context(), records(d, 3, 1))
	if _, ok := errors.AsType[*bridges.Unavailable](err); !ok {
		t.Fatalf("write with wrong credentials: %v, want Unavailable", err)
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("the error shows the secret: %v", err)
	}
	t.Logf("the error: %v", err)
	if n := len(b.peer.Records(t, d)); n != 0 {
		t.Errorf("%d records arrived all the same", n)
	}
}

// downAtStart: a peer that is down is Unavailable, and gets everything when it
// is back.
func downAtStart(b *bench) {
	t := b.T
	d := b.peer.Destination(t)
	b.peer.Stop(t)
	c := b.opened(t, d)
	all := records(d, 1000, 20)
	err := c.sink.Write(t.Context(), all[:1])
	if _, ok := errors.AsType[*bridges.Unavailable](err); !ok {
		t.Errorf("write while the peer is down: %v, want Unavailable", err)
	}
	b.peer.Restart(t)
	c.mustDeliver(t, all)
	b.holds(t, d, all, false)
}

// restart: the peer goes away in mid-stream, twice.
func restart(b *bench) {
	t := b.T
	d := b.peer.Destination(t)
	c := b.opened(t, d)
	all := records(d, 30_000, 100)
	reached := make(chan struct{}, 2)
	c.onSettled = func(n int) {
		for _, at := range []int{len(all) / 4, len(all) / 2} {
			if n >= at && n < at+batchRecords {
				notify(reached)
			}
		}
	}
	var failed bool
	c.onError = func(error) { failed = true }
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range 2 {
			<-reached
			b.peer.Stop(t)
			b.peer.Restart(t)
		}
	}()
	c.mustDeliver(t, all)
	notify(reached)
	notify(reached)
	<-ended
	if !failed {
		t.Error("no write failed: the restart was not felt")
	}
	b.holds(t, d, all, !b.has(OnceOnly))
}

func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// frozen: the peer hangs until a write has given up, then goes on.
func frozen(b *bench) {
	t := b.T
	d := b.peer.Destination(t)
	c := b.opened(t, d)
	all := records(d, 6000, 60)
	c.mustDeliver(t, all[:1000])
	b.peer.Freeze(t)
	thawed := false
	c.onError = func(error) {
		if !thawed {
			thawed = true
			b.peer.Thaw(t)
		}
	}
	c.settled = 0
	c.mustDeliver(t, all[1000:])
	if !thawed {
		t.Error("no write failed while the peer hung")
	}
	b.holds(t, d, all, !b.has(OnceOnly))
}

// again: what was closed is opened again and goes on.
func again(b *bench) {
	t := b.T
	d := b.peer.Destination(t)
	c := b.opened(t, d)
	all := records(d, 1000, 20)
	c.mustDeliver(t, all[:500])
	c.reopen(t)
	c.settled = 0
	c.mustDeliver(t, all[500:])
	b.holds(t, d, all, false)
}

// redial: the sink is closed under a write that hangs. The write ends, nothing
// of it arrives later, and on the next connection the same records go again.
func redial(b *bench) {
	t := b.T
	d := b.peer.Destination(t)
	c := b.opened(t, d)
	all := records(d, 200, 1)
	c.mustDeliver(t, all[:100])
	b.peer.Freeze(t)
	hung := make(chan error, 1)
	go func() { hung <- c.sink.Write(t.Context(), all[100:]) }()
	began := time.NewTimer(200 * time.Millisecond)
	defer began.Stop()
	<-began.C
	c.reopen(t)
	if err := <-hung; err == nil {
		t.Error("the write that hung was confirmed")
	}
	b.peer.Thaw(t)
	c.settled = 0
	c.mustDeliver(t, all[100:])
	b.holds(t, d, all, !b.has(OnceOnly))
}

// reopen closes the sink and opens it again, as a lane does whose sink confirms
// nothing.
func (c *courier) reopen(t *testing.T) {
	t.Helper()
	if err := c.sink.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := c.sink.Open(t.Context()); err != nil {
		t.Fatalf("open again: %v", err)
	}
}

// shutdown: a write that hangs ends with its context, and a new sink repeats
// what was open without loss.
func shutdown(b *bench) {
	t := b.T
	d := b.peer.Destination(t)
	all := records(d, 2000, 20)
	sink := b.peer.Sink(t, d)
	if err := sink.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := &courier{sink: sink}
	c.mustDeliver(t, all[:500])
	b.peer.Freeze(t)
	ctx, cancel := context.WithCancel(t.Context())
	began := time.AfterFunc(200*time.Millisecond, cancel)
	defer began.Stop()
	start := time.Now()
	if _, err := c.deliver(ctx, all[500:]); !errors.Is(err, context.Canceled) {
		t.Errorf("deliver into a frozen peer: %v", err)
	}
	if err := sink.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("shutdown took %v", took)
	}
	b.peer.Thaw(t)
	b.opened(t, d).mustDeliver(t, all[500:])
	b.holds(t, d, all, true)
}
