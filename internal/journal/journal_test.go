package journal_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

const dir = "/j"

// open opens a journal on fs with small segments; it is closed by the test's end.
func open(t testing.TB, fs fault.FS) *journal.Journal {
	t.Helper()
	return openWith(t, journal.Options{Dir: dir, FS: fs, MaxBytes: 1 << 20, SegmentBytes: 16 << 10})
}

func openWith(t testing.TB, o journal.Options) *journal.Journal {
	t.Helper()
	j, err := journal.Open(o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// text appends one message with that payload.
func text(t testing.TB, j *journal.Journal, payload string) uint64 {
	t.Helper()
	first, err := j.Append([]journal.Entry{{Message: textMessage(payload), Rules: []uint32{1}}})
	if err != nil {
		t.Fatalf("append %s: %v", payload, err)
	}
	return first
}

func textMessage(payload string) *message.Message {
	return &message.Message{Client: "c", Topic: "t", Payload: []byte(payload)}
}

// stored waits until an offset is stored and readers find it.
func stored(t testing.TB, j *journal.Journal, offset uint64) {
	t.Helper()
	r := j.NewReader(offset)
	defer r.Close()
	for j.Published() < offset {
		select {
		case <-r.Ready():
		case <-t.Context().Done():
			t.Fatal("test ended")
		}
	}
}

// read returns the payloads of all stored messages from an offset on, by offset.
func read(t testing.TB, j *journal.Journal, from uint64) map[uint64]string {
	t.Helper()
	got := map[uint64]string{}
	r := j.NewReader(from)
	defer r.Close()
	last := uint64(0)
	for {
		f, ok, err := r.TryNext()
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		if !ok {
			return got
		}
		var m message.Message
		if err := f.Message(&m); err != nil {
			t.Fatal(err)
		}
		if f.Offset() <= last {
			t.Fatalf("offset %d after %d", f.Offset(), last)
		}
		last = f.Offset()
		got[f.Offset()] = string(m.Payload)
	}
}

func TestSmoke(t *testing.T) {
	fs := fault.NewMem()
	j := open(t, fs)
	want := map[uint64]string{}
	var last uint64
	for i := range 1000 {
		s := fmt.Sprintf("payload %d %0100d", i, i)
		last = text(t, j, s)
		want[last] = s
	}
	stored(t, j, last)
	if d := cmp.Diff(want, read(t, j, 1)); d != "" {
		t.Fatal(d)
	}
	n, err := j.Number("lane", "x")
	if err != nil {
		t.Fatal(err)
	}
	id := j.ID()
	t.Logf("%+v", j.Stats())
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, fs)
	if d := cmp.Diff(want, read(t, j, 1)); d != "" {
		t.Fatal(d)
	}
	if n2, _ := j.Number("lane", "x"); n2 != n || j.ID() != id || j.Epoch() != 2 {
		t.Fatal(n2, j.ID(), j.Epoch())
	}
	t.Logf("%+v", j.Stats())
}
