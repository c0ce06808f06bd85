package journal_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
)

// TestKeep: what was delivered stays for replay until its newest message is
// that old, through restarts; then it goes.
func TestKeep(t *testing.T) {
	mem := fault.NewMem()
	var now atomic.Int64
	now.Store(1_000_000)
	o := small(mem)
	o.Keep = time.Hour
	o.Clock = func() time.Time { return time.UnixMilli(now.Load()) }
	j := openWith(t, o)
	lane := laneOf(t, j, "k")
	settle(t, j, lane, journal.Cursor{Low: 1, Rules: []uint32{7}})
	var last uint64
	for i := range 100 {
		if i == 50 {
			now.Add((30 * time.Minute).Milliseconds())
		}
		last = wanted(t, j, strings.Repeat("k", 500), 7)
	}
	unwanted := wanted(t, j, strings.Repeat("k", 500))
	done := journal.Cursor{Low: last + 1, Rules: []uint32{7}}
	all := j.Stats().Segments
	for range 2 {
		for j.Stats().Kept == 0 {
			settle(t, j, lane, done)
		}
		j.Tidy()
		if n := j.Stats().Segments; n < all {
			t.Fatalf("%d of %d segments are left", n, all)
		}
		if got := read(t, j, 1); len(got) != 101 || got[unwanted] == "" {
			t.Fatalf("%d messages are left", len(got))
		}
		// The lane is in the middle of the newest segment: what it may be owed
		// there is an upper bound.
		if s := j.Stats(); s.Owed > 2000 || s.Kept < 30_000 {
			t.Errorf("%+v", s)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = openWith(t, o)
	}
	now.Add((45 * time.Minute).Milliseconds())
	for len(read(t, j, 1)) > 60 {
		settle(t, j, lane, done)
	}
	if got := len(read(t, j, 1)); got < 51 {
		t.Fatalf("%d messages are left", got)
	}
	now.Add(time.Hour.Milliseconds())
	awaitRoom(t, j, lane, done, 1)
	if n := j.Stats().Kept; n != 0 {
		t.Errorf("%d bytes are kept", n)
	}
}

// TestKeepGivesWay: whatever keep says, what is kept for replay only makes
// nobody wait, and the folder stays within its bound (C7); the oldest goes
// first.
func TestKeepGivesWay(t *testing.T) {
	mem := fault.NewMem()
	o := journal.Options{Dir: dir, FS: mem, MaxBytes: 1 << 20, SegmentBytes: 32 << 10, Keep: 1000 * time.Hour}
	j := openWith(t, o)
	lane := laneOf(t, j, "k")
	for i := range 3000 { // three times the bound
		last := wanted(t, j, fmt.Sprintf("%d %s", i, strings.Repeat("k", 1000)), 7)
		if i%10 == 0 {
			settle(t, j, lane, journal.Cursor{Low: last + 1, Rules: []uint32{7}})
		}
		if n := folderBytes(t, mem); n > o.MaxBytes {
			t.Fatalf("%d bytes in the folder", n)
		}
	}
	if s := j.Stats(); s.Kept < o.MaxBytes/2 {
		t.Errorf("%+v", s)
	}
	got := read(t, j, 1)
	lowest := j.Next()
	for o := range got {
		lowest = min(lowest, o)
	}
	// Only the newest are left, and all of those.
	if int(j.Next()-lowest) < len(got) || len(got) < 400 {
		t.Errorf("%d messages from %d to %d", len(got), lowest, j.Next())
	}
}

// TestOwedMakesWait: what is owed is never given up for room, while what is
// kept goes.
func TestOwedMakesWait(t *testing.T) {
	mem := fault.NewMem()
	o := journal.Options{Dir: dir, FS: mem, MaxBytes: 1 << 20, SegmentBytes: 32 << 10, Keep: 1000 * time.Hour}
	j := openWith(t, o)
	slow, fast := laneOf(t, j, "slow"), laneOf(t, j, "fast")
	settle(t, j, slow, journal.Cursor{Low: 1, Rules: []uint32{7}})
	settle(t, j, fast, journal.Cursor{Low: 1, Rules: []uint32{8}})
	owed := map[uint64]bool{}
	for i := range 2000 {
		rule := uint32(8)
		if i%4 == 0 {
			rule = 7
		}
		e := []journal.Entry{{Message: textMessage(strings.Repeat("k", 1000)), Rules: []uint32{rule}}}
		offset, err := j.Append(e)
		for tries := 0; err != nil && tries < 3; tries++ { // rewriting makes room for a while
			j.Tidy()
			offset, err = j.Append(e)
		}
		if err != nil {
			break
		}
		stored(t, j, offset)
		owed[offset] = rule == 7
		settle(t, j, fast, journal.Cursor{Low: offset + 1, Rules: []uint32{8}})
	}
	got := read(t, j, 1)
	n := 0
	for offset, is := range owed {
		if is && got[offset] == "" {
			t.Fatalf("message %d is owed and gone", offset)
		}
		if is {
			n++
		}
	}
	// Three quarters of the traffic made room, so that all of the rest fits.
	if n < 500 {
		t.Errorf("%d messages that are owed fit", n)
	}
}
