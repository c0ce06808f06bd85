package journal_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// stateEntry is one entry with state as the test appended it.
type stateEntry struct {
	offset uint64
	entry  journal.Entry
	topic  string
}

// stateLife is one run of a journal with a state outside it.
type stateLife struct {
	t     *rapid.T
	mem   *fault.Mem
	j     *journal.Journal
	state *fakeState
	log   []stateEntry // in order; what a crash took away is cut off
	next  map[uint32]uint64

	mu     sync.Mutex
	photos []photo // guarded by mu, as are the others
	armed  *journal.Journal
	seed   uint64
	seen   int
	every  int
}

func stateOptions(fs fault.FS, s *fakeState) journal.Options {
	return journal.Options{
		Dir: dir, FS: fs, MaxBytes: 2 << 20, SegmentBytes: 4 << 10, State: s, SnapshotBytes: 1 << 10,
	}
}

// TestStateThroughCrashes: whatever a power failure leaves, the state comes
// back as the entries up to some offset make it, at or above the watermark:
// each applied once, in order, message and queue entry never torn apart (C1),
// from snapshots of different age for each shard (C5); and every message that
// a queue or a topic refers to is there.
func TestStateThroughCrashes(t *testing.T) {
	loaded, rewritten := 0, uint64(0)
	rapid.Check(t, func(t *rapid.T) {
		l := &stateLife{t: t, mem: fault.NewMem(), next: map[uint32]uint64{}}
		for range rapid.IntRange(2, 4).Draw(t, "lives") {
			l.live()
			for i := range l.state.shards {
				if l.state.shards[i].loaded {
					loaded++
				}
			}
			rewritten += l.j.Stats().Rewritten
		}
	})
	t.Logf("%d segments rewritten, %d snapshots loaded", rewritten, loaded)
	if rewritten == 0 || loaded == 0 {
		t.Error("nothing was rewritten, or loaded")
	}
}

func (l *stateLife) live() {
	l.photos, l.seen = nil, 0
	l.every, l.seed = rapid.IntRange(1, 9).Draw(l.t, "every"), rapid.Uint64().Draw(l.t, "seed")
	l.state = newFakeState()
	var err error
	if l.j, err = journal.Open(stateOptions(l.mem, l.state)); err != nil {
		l.t.Fatal(err)
	}
	if n, err := l.j.Number("lane", "k"); err == nil && n == 1 {
		_, _ = l.j.StoreCursor(n, journal.Cursor{Low: 1, Rules: []uint32{}}) // nobody is owed by a rule
	}
	l.mu.Lock()
	l.armed = l.j
	l.mu.Unlock()
	l.mem.Watch(l.shoot)
	for range rapid.IntRange(20, 120).Draw(l.t, "ops") {
		if rapid.IntRange(0, 7).Draw(l.t, "tidy") == 0 {
			l.j.Tidy()
		}
		l.step()
	}
	l.mem.Watch(nil)
	l.mu.Lock()
	last := photo{stored: l.j.Stored(), after: fault.Op{Kind: "end"}} // before the photo, as in shoot
	last.fs = l.mem.Crash(l.seed)
	l.photos = append(l.photos, last)
	l.mu.Unlock()
	_ = l.j.Close()
	for _, p := range l.photos {
		l.check(p, p.fs.Crash(0))
	}
	next := l.photos[rapid.IntRange(0, len(l.photos)-1).Draw(l.t, "which")]
	l.log = l.log[:l.check(next, next.fs.Crash(0))]
	l.mem = next.fs.Crash(0)
}

func (l *stateLife) shoot(op fault.Op) {
	switch op.Kind {
	case fault.Datasync, fault.SyncDir, fault.Write, fault.Rename, fault.Remove:
	default:
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen++; l.seen%l.every != 0 || len(l.photos) > 25 {
		return
	}
	stored := l.armed.Stored()
	l.seed++
	l.photos = append(l.photos, photo{fs: l.mem.Crash(l.seed), after: op, stored: stored})
}

// step appends one entry and applies it, as the broker does.
func (l *stateLife) step() {
	s := l.state
	s.mu.Lock()
	defer s.mu.Unlock()
	e, topic := l.entry()
	offset, err := l.j.Append([]journal.Entry{e})
	if err != nil {
		l.t.Fatal(err)
	}
	s.apply(offset, e.Deliveries, string(e.Change), topic)
	l.log = append(l.log, stateEntry{offset, e, topic})
}

func (l *stateLife) entry() (e journal.Entry, topic string) {
	session := uint32(rapid.IntRange(0, 9).Draw(l.t, "session"))
	if q := l.state.shards[session%fakeShards].queues[session]; len(q) > 0 && rapid.IntRange(0, 2).Draw(l.t, "ack") > 0 {
		return journal.Entry{Change: fmt.Appendf(nil, "ack %d %d", session, q[0].Position), Frees: true}, ""
	}
	e.Message = textMessage(strings.Repeat("m", rapid.SampledFrom([]int{10, 200, 900}).Draw(l.t, "size")))
	if rapid.IntRange(0, 3).Draw(l.t, "retain") == 0 {
		e.RetainedSet, topic = true, rapid.SampledFrom([]string{"a", "b", "c"}).Draw(l.t, "topic")
		e.Message.Topic = topic
	}
	for i := range uint32(rapid.IntRange(0, 3).Draw(l.t, "sessions")) {
		l.next[session+i]++
		e.Deliveries = append(e.Deliveries, journal.Delivery{Session: session + i, Position: l.next[session+i]})
	}
	return e, topic
}

// check opens what a crash left and returns how many entries of the log are in
// the state.
func (l *stateLife) check(p photo, fs *fault.Mem) int {
	s := newFakeState()
	j, err := journal.Open(stateOptions(fs, s))
	if err != nil {
		l.t.Fatalf("after %v: open: %v", p.after, err)
	}
	defer j.Close()
	last := uint64(0)
	for i := range s.shards {
		last = max(last, s.shards[i].applied)
	}
	want, n := newFakeState(), 0
	for _, e := range l.log {
		if e.offset <= last {
			want.apply(e.offset, e.entry.Deliveries, string(e.entry.Change), e.topic)
			n++
		} else if e.offset <= p.stored && (len(e.entry.Deliveries) > 0 || e.entry.Change != nil || e.topic != "") {
			l.t.Fatalf("after %v: entry %d is gone, stored was %d", p.after, e.offset, p.stored)
		}
	}
	if len(s.problems) > 0 {
		l.t.Fatalf("after %v: %v", p.after, s.problems)
	}
	if d := cmp.Diff(want.text(), s.text()); d != "" {
		l.t.Fatalf("after %v: up to %d: %s", p.after, last, d)
	}
	l.checkReferences(p, j, s)
	return n
}

// checkReferences finds every message that the state refers to.
func (l *stateLife) checkReferences(p photo, j *journal.Journal, s *fakeState) {
	there := map[uint64]bool{}
	r := j.NewReader(1)
	defer r.Close()
	for {
		f, ok, err := r.TryNext()
		if err != nil {
			l.t.Fatal(err)
		}
		if !ok {
			break
		}
		var m message.Message
		there[f.Offset()] = f.Message(&m) == nil
	}
	for _, o := range s.references() {
		if !there[o] {
			l.t.Fatalf("after %v: message %d is gone, and the state refers to it", p.after, o)
		}
	}
	if d := j.Stats().Damaged; d > 0 {
		l.t.Fatalf("after %v: %d regions counted as damaged by a crash alone", p.after, d)
	}
}
