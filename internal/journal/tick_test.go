package journal_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
)

// TestTick: a tick has an offset and a time as messages have, which does not
// decrease through clocks that step back and restarts; only readers that ask
// see it (C21).
func TestTick(t *testing.T) {
	now := time.UnixMilli(5_000)
	o := journal.Options{
		Dir: dir, FS: fault.NewMem(), MaxBytes: 1 << 20, SegmentBytes: 16 << 10,
		Clock: func() time.Time { return now },
	}
	j := openWith(t, o)
	tick := func(at int64) uint64 {
		t.Helper()
		now = time.UnixMilli(at)
		offset, err := j.Tick()
		if err != nil {
			t.Fatal(err)
		}
		stored(t, j, offset)
		return offset
	}
	tick(6_000)
	stored(t, j, text(t, j, "a"))
	last := tick(4_000)
	check := func(want []string, r *journal.Reader) {
		t.Helper()
		defer r.Close()
		var got []string
		for f, ok, err := r.TryNext(); ok; f, ok, err = r.TryNext() {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, f.Kind().String()+f.Time().UTC().Format(" 05"))
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	check([]string{"tick 06", "message 06", "tick 06"}, j.NewReader(1).Ticks())
	check([]string{"message 06"}, j.NewReader(1))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = openWith(t, o) // its clock is behind still
	if again := tick(4_500); again <= last {
		t.Fatalf("offset %d after %d", again, last)
	}
	stored(t, j, text(t, j, "b"))
	check([]string{"tick 06", "message 06", "tick 06", "tick 06", "message 06"}, j.NewReader(1).Ticks())
}

// TestTickOnlySaysTime: the time of a tick holds after a restart even when no
// message came after it.
func TestTickOnlySaysTime(t *testing.T) {
	now := time.UnixMilli(9_000)
	o := journal.Options{Dir: dir, FS: fault.NewMem(), Clock: func() time.Time { return now }}
	j := openWith(t, o)
	offset, err := j.Tick()
	if err != nil {
		t.Fatal(err)
	}
	stored(t, j, offset)
	image, _ := o.FS.(*fault.Mem)
	o.FS = image.Crash(0) // no head was written since: the tick itself must say it
	now = time.UnixMilli(1_000)
	j = openWith(t, o)
	m := textMessage("x")
	if _, err := j.Append([]journal.Entry{{Message: m}}); err != nil {
		t.Fatal(err)
	}
	if m.Received != 9_000 {
		t.Fatalf("received %d", m.Received)
	}
}
