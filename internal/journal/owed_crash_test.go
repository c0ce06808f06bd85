package journal_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// owedLife is a journal under lanes that want different rules, some of them
// dead, while segments are removed and rewritten.
type owedLife struct {
	t     *rapid.T
	mem   *fault.Mem
	j     *journal.Journal
	given map[uint64]owedMessage // by offset, which is never given out twice
	saved map[uint64]uint64      // what was saved, by the offset of the entry
	lanes map[uint32]journal.Cursor
	dead  bool // lane 2 was forgotten in some life
	acked map[uint64]bool
	count int

	mu     sync.Mutex
	photos []photo // guarded by mu, as are the others
	armed  *journal.Journal
	seed   uint64
	seen   int
	every  int
}

type owedMessage struct {
	payload string
	rules   []uint32
	epoch   uint32
}

// TestOwedThroughCrashes: lanes that are far apart, rewriting, faults of the
// disk and power failures at any moment, several lives long: what was
// acknowledged and is owed by the cursors that survived is there, under its
// offset, unchanged; nothing is damaged by a crash alone, and what was saved
// does not go back.
func TestOwedThroughCrashes(t *testing.T) {
	rewritten := uint64(0)
	rapid.Check(t, func(t *rapid.T) {
		l := &owedLife{
			t: t, mem: fault.NewMem(), given: map[uint64]owedMessage{}, saved: map[uint64]uint64{},
			acked: map[uint64]bool{},
		}
		for range rapid.IntRange(1, 3).Draw(t, "lives") {
			rewritten += l.live()
		}
	})
	t.Logf("%d segments rewritten", rewritten)
	if rewritten == 0 {
		t.Error("nothing was rewritten")
	}
}

func owedOptions(fs fault.FS) journal.Options {
	return journal.Options{Dir: dir, FS: fs, MaxBytes: 8 << 20, SegmentBytes: 4 << 10}
}

func (l *owedLife) live() (rewritten uint64) {
	l.photos, l.seen, l.armed = nil, 0, nil
	l.every, l.seed = rapid.IntRange(1, 9).Draw(l.t, "every"), rapid.Uint64().Draw(l.t, "seed")
	in := fault.Inject(l.mem)
	l.open(in)
	in.Add(l.drawFault())
	l.mem.Watch(l.shoot)
	for range rapid.IntRange(10, 60).Draw(l.t, "ops") {
		l.step()
	}
	l.wait(l.j.Next() - 1)
	l.mem.Watch(nil)
	l.mu.Lock()
	last := photo{stored: l.j.Stored(), after: fault.Op{Kind: "end"}}
	last.fs = l.mem.Crash(l.seed)
	photos := append(l.photos, last)
	l.mu.Unlock()
	rewritten = l.j.Stats().Rewritten
	_ = l.j.Close()
	for _, p := range photos {
		l.check(p, p.fs.Crash(0))
	}
	next := photos[rapid.IntRange(0, len(photos)-1).Draw(l.t, "which")]
	for o, m := range l.given {
		l.acked[o] = l.acked[o] || m.epoch == l.j.Epoch() && o <= next.stored
	}
	for o := range l.saved {
		if o > next.stored {
			delete(l.saved, o)
		}
	}
	l.mem = next.fs.Crash(0)
	return rewritten
}

func (l *owedLife) open(fsys fault.FS) {
	j, err := journal.Open(owedOptions(fsys))
	if err != nil {
		l.t.Fatal(err)
	}
	for o := range l.given { // of what left no trace, nobody was told either
		if o >= j.Next() && l.acked[o] {
			l.t.Fatalf("offset %d will be given out again", o)
		} else if o >= j.Next() {
			delete(l.given, o)
		}
	}
	l.j, l.lanes = j, j.Cursors()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = j
}

func (l *owedLife) drawFault() *fault.Fault {
	kind := rapid.SampledFrom([]fault.Kind{fault.Datasync, fault.Write, fault.SyncDir, fault.Rename, "none"}).Draw(l.t, "fault")
	skip := rapid.IntRange(0, 60).Draw(l.t, "skip")
	return &fault.Fault{Err: syscall.EIO, Times: 1, Short: true, When: func(op fault.Op) bool {
		if op.Kind != kind {
			return false
		}
		skip--
		return skip < 0
	}}
}

func (l *owedLife) shoot(op fault.Op) {
	switch op.Kind {
	case fault.Datasync, fault.SyncDir, fault.Write, fault.Rename, fault.Remove, fault.Truncate:
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

func (l *owedLife) step() {
	switch rapid.IntRange(0, 11).Draw(l.t, "op") {
	case 0:
		l.wait(l.j.Next() - 1)
	case 1, 2:
		l.settle(1, []uint32{7})
	case 3, 4:
		l.settle(2, []uint32{8, 9})
	case 5:
		l.wait(l.j.Next() - 1)
		l.j.Tidy()
	case 6:
		l.save()
	case 7:
		if rapid.IntRange(0, 9).Draw(l.t, "forget") == 0 {
			if _, err := l.j.Forget(2); err != nil && !errors.Is(err, journal.ErrFull) {
				l.t.Fatal(err)
			}
			l.dead = true
			delete(l.lanes, 2)
		}
	default:
		l.append()
	}
}

func (l *owedLife) append() {
	n := rapid.IntRange(1, 8).Draw(l.t, "entries")
	entries := make([]journal.Entry, n)
	for i := range entries {
		l.count++
		payload := fmt.Sprintf("%d %s", l.count, strings.Repeat("y", rapid.SampledFrom([]int{5, 100, 600}).Draw(l.t, "size")))
		rules := rapid.SampledFrom([][]uint32{{7}, {8}, {8}, {9, 8}, {7, 9}, nil}).Draw(l.t, "rules")
		entries[i] = journal.Entry{Message: textMessage(payload), Rules: rules}
	}
	first, err := l.j.Append(entries)
	if errors.Is(err, journal.ErrFull) {
		return
	}
	if err != nil {
		l.t.Fatal(err)
	}
	for i := range entries {
		o := first + uint64(i)
		if _, ok := l.given[o]; ok {
			l.t.Fatalf("offset %d was given out before", o)
		}
		l.given[o] = owedMessage{string(entries[i].Message.Payload), entries[i].Rules, l.j.Epoch()}
	}
}

// settle stores a cursor of a lane, which never takes back what it settled. A
// new lane starts now.
func (l *owedLife) settle(lane uint32, rules []uint32) {
	old, known := l.lanes[lane]
	if !known && l.j.Next() > 1 {
		// A new lane starts now: it is owed nothing that came before its first
		// cursor, so nothing may be on the way to the disk.
		l.wait(l.j.Next() - 1)
	}
	stored := l.j.Stored()
	c := journal.Cursor{Low: stored + 1, Rules: rules}
	if known {
		c.Low = max(old.Low, stored/uint64(rapid.IntRange(1, 3).Draw(l.t, "share")))
		for _, r := range old.Settled {
			if r.Last >= c.Low {
				c.Settled = append(c.Settled, journal.Range{First: max(r.First, c.Low), Last: r.Last})
			}
		}
		if n := len(c.Settled); n == 0 && c.Low+4 < stored {
			c.Settled = []journal.Range{{First: c.Low + 2, Last: c.Low + 3}}
		}
	}
	offset, err := l.j.StoreCursor(lane, c)
	if errors.Is(err, journal.ErrFull) {
		return
	}
	if err != nil {
		l.t.Fatal(err)
	}
	if !known {
		l.wait(offset)
	}
	l.lanes[lane] = c
}

func (l *owedLife) save() {
	l.count++
	o, err := l.j.Save("test", "count", 0, binary.LittleEndian.AppendUint64(nil, uint64(l.count)))
	if err == nil {
		l.saved[o] = uint64(l.count)
	}
}

func (l *owedLife) wait(offset uint64) {
	r := l.j.NewReader(offset)
	defer r.Close()
	for l.j.Stored() < offset {
		<-r.Ready()
	}
}

func (l *owedLife) check(p photo, fsys *fault.Mem) {
	l.checkArchive(p, fsys)
	j, err := journal.Open(owedOptions(fsys))
	if err != nil {
		l.t.Fatalf("after %v: open: %v", p.after, err)
	}
	defer j.Close()
	cursors := j.Cursors()
	got := l.read(j)
	for o, m := range l.given {
		if back, ok := got[o]; ok && back != m.payload {
			l.t.Fatalf("after %v: %d is %q, was %q", p.after, o, back, m.payload)
		} else if !ok && (l.acked[o] || m.epoch == l.j.Epoch() && o <= p.stored) && l.owed(cursors, o, m.rules) {
			l.t.Fatalf("after %v: %d is owed and gone; cursors %+v", p.after, o, cursors)
		}
	}
	if n := j.Stats().Damaged; n > 0 {
		l.t.Fatalf("after %v: %d regions counted as damaged by a crash alone", p.after, n)
	}
	var count uint64
	if body, ok := j.Load("test", "count"); ok {
		count = binary.LittleEndian.Uint64(body)
	}
	for o, v := range l.saved {
		if o <= p.stored && count < v {
			l.t.Fatalf("after %v: saved %d, found %d", p.after, v, count)
		}
	}
}

// owed reports whether some lane is owed a message.
func (l *owedLife) owed(cursors map[uint32]journal.Cursor, offset uint64, rules []uint32) bool {
	if len(cursors) == 0 {
		return len(rules) > 0 && !l.dead
	}
	for _, c := range cursors {
		feeds := slices.ContainsFunc(rules, func(r uint32) bool { return slices.Contains(c.Rules, r) })
		if feeds && !settles(c, offset) {
			return true
		}
	}
	return false
}

func (l *owedLife) read(j *journal.Journal) map[uint64]string {
	got := map[uint64]string{}
	r := j.NewReader(1)
	defer r.Close()
	for {
		f, ok, err := r.TryNext()
		if err != nil {
			l.t.Fatal(err)
		}
		if !ok {
			return got
		}
		var m message.Message
		if err := f.Message(&m); err != nil {
			l.t.Fatal(err)
		}
		got[f.Offset()] = string(m.Payload)
	}
}

// checkArchive looks at what the crash left as an offline command does.
func (l *owedLife) checkArchive(p photo, fsys *fault.Mem) {
	a, err := journal.OpenArchive(dir, fsys)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		l.t.Fatalf("after %v: open archive: %v", p.after, err)
	}
	if bad, err := a.Verify(); err != nil || len(bad) > 0 {
		l.t.Fatalf("after %v: archive: %+v, %v", p.after, bad, err)
	}
}
