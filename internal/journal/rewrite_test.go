package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// TestDeadLane is the promise of C6: one dead lane wants a hundredth of the
// traffic, and two others want the same records and much more. What they are
// done with leaves; the folder holds 1.3 times what is owed, besides the
// segment being written and the spare, and the dead lane misses nothing.
func TestDeadLane(t *testing.T) {
	mem := fault.NewMem()
	o := journal.Options{Dir: dir, FS: mem, MaxBytes: 64 << 20, SegmentBytes: 64 << 10}
	j := openWith(t, o)
	dead, one, two := laneOf(t, j, "dead"), laneOf(t, j, "one"), laneOf(t, j, "two")
	settle(t, j, dead, journal.Cursor{Low: 1, Rules: []uint32{7}})
	payload := strings.Repeat("d", 1000)
	want := map[uint64]string{}
	live := func() {
		c := journal.Cursor{Low: j.Stored() + 1, Rules: []uint32{7, 8}}
		settle(t, j, one, c)
		c.Rules = []uint32{7, 9}
		settle(t, j, two, c)
	}
	var last uint64
	traffic := func() {
		for range 20 {
			entries := make([]journal.Entry, 100)
			for i := range entries {
				entries[i] = journal.Entry{Message: textMessage(fmt.Sprintf("%d %s", i, payload)), Rules: []uint32{8, 9}}
			}
			entries[50].Rules = []uint32{7, 8, 9}
			first, err := j.Append(entries)
			if err != nil {
				t.Fatal(err)
			}
			last = first + 99
			want[first+50] = fmt.Sprintf("%d %s", 50, payload)
			stored(t, j, last)
			live()
		}
	}
	for range 10 {
		traffic()
	}
	within := func() bool {
		s := j.Stats()
		n, owed := j.Owed(dead)
		if int(n) != len(want) {
			t.Fatalf("owed %d of %d", n, len(want))
		}
		return float64(s.Bytes) <= 1.3*float64(owed)+2*float64(o.SegmentBytes)
	}
	for !within() {
		if t.Context().Err() != nil {
			t.Fatal("test ended")
		}
		live() // and the journal tidies up by itself meanwhile
	}
	check := func() {
		t.Helper()
		got := readOwed(t, j, 7)
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	}
	check()
	s := j.Stats()
	t.Logf("%d bytes of 20 MB in %d segments, %d were rewritten", s.Bytes, s.Segments, s.Rewritten)
	if s.Rewritten == 0 || s.Segments > 20 {
		t.Errorf("%+v", s)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = openWith(t, o)
	check()
	settle(t, j, dead, journal.Cursor{Low: last + 1, Rules: []uint32{7}})
	awaitRoom(t, j, dead, journal.Cursor{Low: last + 1, Rules: []uint32{7}}, 2)
}

// readOwed reads the messages that a rule wants.
func readOwed(t testing.TB, j *journal.Journal, rule uint32) map[uint64]string {
	t.Helper()
	got := map[uint64]string{}
	r := j.NewReader(1)
	defer r.Close()
	for {
		f, ok, err := r.TryNext()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return got
		}
		if !slices.Contains(f.Rules(nil), rule) {
			continue
		}
		var m message.Message
		if err := f.Message(&m); err != nil {
			t.Fatal(err)
		}
		got[f.Offset()] = string(m.Payload)
	}
}

// thinned returns a journal of several segments of which a dead lane, number
// 1, wants one message each, which are returned; the others want nothing more.
// rest makes the rest unwanted.
func thinned(t testing.TB, fs fault.FS) (j *journal.Journal, want map[uint64]string, rest func()) {
	t.Helper()
	j = openWith(t, small(fs))
	dead, live := laneOf(t, j, "dead"), laneOf(t, j, "live")
	settle(t, j, dead, journal.Cursor{Low: 1, Rules: []uint32{7}})
	settle(t, j, live, journal.Cursor{Low: 1, Rules: []uint32{8}})
	want = map[uint64]string{}
	for i := range 150 {
		s := fmt.Sprintf("%d %s", i, strings.Repeat("r", 500))
		if i%25 != 3 {
			wanted(t, j, s, 8)
			continue
		}
		want[wanted(t, j, s, 8, 7)] = s
	}
	return j, want, func() { settle(t, j, live, journal.Cursor{Low: j.Stored() + 1, Rules: []uint32{8}}) }
}

// TestRewriteWhileRead: readers in the middle of segments that are rewritten
// meanwhile see every message once; the old files go when they are through.
func TestRewriteWhileRead(t *testing.T) {
	mem := fault.NewMem()
	j, want, _ := thinned(t, mem)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = openWith(t, small(mem)) // so that readers have to read files
	rest := func() {
		settle(t, j, laneOf(t, j, "live"), journal.Cursor{Low: j.Stored() + 1, Rules: []uint32{8}})
	}
	var readers []*journal.Reader
	var got []map[uint64]bool
	next := func(i int) bool {
		f, ok, err := readers[i].TryNext()
		if err != nil {
			t.Fatal(err)
		}
		if ok && got[i][f.Offset()] {
			t.Fatalf("reader %d sees %d again", i, f.Offset())
		}
		if ok {
			got[i][f.Offset()] = true
		}
		return ok
	}
	for i := range 6 {
		readers = append(readers, j.NewReader(1))
		got = append(got, map[uint64]bool{})
		for range 25 * i {
			next(i)
		}
	}
	rest()
	for j.Stats().Rewritten == 0 {
		rest()
	}
	for i, r := range readers {
		for next(i) {
		}
		r.Close()
		for o := range want {
			if !got[i][o] {
				t.Errorf("reader %d misses %d", i, o)
			}
		}
	}
	awaitRoom(t, j, 2, journal.Cursor{Low: j.Stored() + 1, Rules: []uint32{8}}, 6)
	for len(files(t, mem, ".seg")) > j.Stats().Segments { // the last of the old ones are on their way out
		rest()
	}
	if d := cmp.Diff(want, readOwed(t, j, 7)); d != "" {
		t.Error(d)
	}
}

// TestCrashWhileRewriting crashes at every operation of a rewriting, and
// inside it: what is owed is there, once, and nothing counts as damaged.
func TestCrashWhileRewriting(t *testing.T) {
	mem := fault.NewMem()
	j, want, rest := thinned(t, mem)
	var mu sync.Mutex
	var photos []photo
	seed, named := uint64(0), false
	mem.Watch(func(op fault.Op) {
		switch op.Kind {
		case fault.Write, fault.Datasync, fault.SyncDir, fault.Rename, fault.Remove:
		default:
			return
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case op.Kind == fault.Rename && strings.HasSuffix(op.Name, ".aside"):
			named = true
		case op.Kind == fault.SyncDir:
			named = false
		case op.Kind == fault.Remove && named:
			t.Errorf("%v before the new name is durable", op)
		}
		for range 3 {
			seed++
			photos = append(photos, photo{fs: mem.Crash(seed), after: op})
		}
	})
	for j.Stats().Rewritten < 4 {
		rest()
	}
	mem.Watch(nil)
	mu.Lock()
	defer mu.Unlock()
	kinds := map[string]int{}
	for _, p := range photos {
		kinds[string(p.after.Kind)+" "+strings.TrimLeft(base(p.after.Name), "0123456789abcdef-")]++
		for range 2 { // what an opening does to it is crashed too
			back, err := journal.Open(small(p.fs))
			if err != nil {
				t.Fatalf("after %v: %v", p.after, err)
			}
			if d := cmp.Diff(want, readOwed(t, back, 7)); d != "" {
				t.Fatalf("after %v: %s", p.after, d)
			}
			if s := back.Stats(); s.Damaged > 0 {
				t.Fatalf("after %v: %+v", p.after, s)
			}
			next := p.fs.Crash(seed)
			_ = back.Close()
			p.fs = next
		}
	}
	t.Logf("%d crashes: %v", len(photos), slices.Sorted(maps.Keys(kinds)))
}

// TestRewriteFails: whatever fails in a rewriting, the segment stays as it is
// and nothing is in the way of the next attempt.
func TestRewriteFails(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Open, fault.Write, fault.Datasync, fault.Rename, fault.SyncDir} {
		t.Run(string(kind), func(t *testing.T) {
			mem := fault.NewMem()
			in := fault.Inject(mem)
			j, want, rest := thinned(t, in)
			aside := false
			hit := in.Add(&fault.Fault{Err: syscall.ENOSPC, Short: true, Times: 2, When: func(op fault.Op) bool {
				mine := strings.HasSuffix(op.Name, ".aside")
				aside = aside || mine && op.Kind == fault.Rename
				return op.Kind == kind && (mine || kind == fault.SyncDir && aside)
			}})
			for hit.Fired() < 2 || j.Stats().Rewritten < 3 {
				rest()
			}
			if s := j.Stats(); !errors.Is(s.LastError, syscall.ENOSPC) {
				t.Errorf("%+v", s)
			}
			if d := cmp.Diff(want, readOwed(t, j, 7)); d != "" {
				t.Error(d)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j = openWith(t, small(mem))
			if d := cmp.Diff(want, readOwed(t, j, 7)); d != "" {
				t.Error(d)
			}
			if err := j.Close(); err != nil { // and with it any rewriting that goes on
				t.Fatal(err)
			}
			if n := len(files(t, mem, ".aside")); n > 0 {
				t.Error("a file was left behind")
			}
		})
	}
}

// TestDamagedStays: a damaged segment is not written anew (I4).
func TestDamagedStays(t *testing.T) {
	mem := fault.NewMem()
	j, _, _ := thinned(t, mem)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	name := files(t, mem, ".seg")[1]
	flip(t, mem, name, 5000, 3)
	before := content(t, mem, name)
	j = openWith(t, small(mem))
	done := journal.Cursor{Low: j.Stored() + 1, Rules: []uint32{8}}
	for j.Stats().Rewritten < 3 {
		settle(t, j, 2, done)
		j.Tidy()
	}
	if !bytes.Equal(before, content(t, mem, name)) {
		t.Error("the file changed")
	}
	if s := j.Stats(); s.Damaged != 1 {
		t.Errorf("%+v", s)
	}
}
