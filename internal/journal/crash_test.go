package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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

// history is what a test did to a journal over several lives, and so what the
// journal must know.
type history struct {
	t      *rapid.T
	given  map[name]string // payload of all that ever got an offset
	acked  map[name]bool   // of given, what was stored in some life
	cursor map[uint64]journal.Cursor
	number map[string]uint32
	epoch  uint32
	count  int
	weak   bool // sync is not group: nothing need survive, all else holds
	packed bool // this life writes compressed blocks
}

// name is what stays of a message id within one journal.
type name struct {
	epoch  uint32
	offset uint64
}

// photo is the file system as a crash at one moment leaves it, and what was
// acknowledged then.
type photo struct {
	fs      *fault.Mem
	after   fault.Op
	stored  uint64
	numbers map[string]uint32
}

// life is one run of the journal.
type life struct {
	*history
	mem *fault.Mem
	in  *fault.Injector
	j   *journal.Journal

	mu     sync.Mutex
	armed  *journal.Journal // guarded by mu, as are the others
	photos []photo
	every  int
	seen   int
	seed   uint64
}

const crashLane = 1000

func TestCrashAtEverySync(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{
			t: t, given: map[name]string{}, acked: map[name]bool{},
			weak: rapid.IntRange(0, 4).Draw(t, "sync off") == 0, cursor: map[uint64]journal.Cursor{}, number: map[string]uint32{},
		}
		mem := fault.NewMem()
		for range rapid.IntRange(1, 3).Draw(t, "lives") {
			mem = h.live(mem)
		}
	})
}

// live runs a journal through random operations, checks every photo taken,
// and returns one of them for the next life to begin with.
func (h *history) live(mem *fault.Mem) *fault.Mem {
	h.packed = rapid.Bool().Draw(h.t, "zstd")
	l := &life{
		history: h, mem: mem, in: fault.Inject(mem),
		every: rapid.IntRange(1, 5).Draw(h.t, "every"), seed: rapid.Uint64().Draw(h.t, "seed"),
	}
	l.in.Add(l.drawFault())
	mem.Watch(l.shoot)
	l.open()
	for range rapid.IntRange(1, 25).Draw(h.t, "ops") {
		l.step()
	}
	l.wait(l.j.Next() - 1)
	clean := rapid.Bool().Draw(h.t, "clean")
	if clean {
		l.shut()
	}
	mem.Watch(nil)
	last := photo{after: fault.Op{Kind: "end"}, stored: l.j.Stored(), numbers: h.number}
	last.fs = mem.Crash(rapid.Uint64().Draw(h.t, "last seed"))
	if !clean {
		l.shut()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range append(l.photos, last) {
		h.check(p)
	}
	next := last
	if len(l.photos) > 0 && rapid.Bool().Draw(h.t, "at a photo") {
		next = l.photos[rapid.IntRange(0, len(l.photos)-1).Draw(h.t, "which")]
		h.forget(next)
	}
	for n := range h.given {
		h.acked[n] = h.acked[n] || n.epoch == l.epoch && n.offset <= next.stored
	}
	for o := range h.cursor {
		if o > next.stored {
			delete(h.cursor, o)
		}
	}
	return next.fs.Crash(0)
}

// forget drops what the process after an earlier moment said: its world ended
// there.
func (h *history) forget(p photo) {
	for name := range h.number {
		if _, ok := p.numbers[name]; !ok {
			delete(h.number, name)
		}
	}
}

func (l *life) open() {
	o := journal.Options{Dir: dir, FS: l.in, MaxBytes: 8 << 20, SegmentBytes: 4 << 10}
	if l.weak {
		o.Sync = journal.SyncOff
	}
	if l.packed {
		o.Compression = journal.CompressionZstd
	}
	j, err := journal.Open(o)
	for tries := 0; err != nil && tries < 3; tries++ {
		j, err = journal.Open(o) // an injected fault passes
	}
	if err != nil {
		l.t.Fatalf("open: %v", err)
	}
	if j.Epoch() <= l.epoch {
		l.t.Fatalf("epoch %d after %d", j.Epoch(), l.epoch)
	}
	l.epoch = j.Epoch()
	l.j = j
	l.mu.Lock()
	l.armed = j
	l.mu.Unlock()
}

func (l *life) shut() {
	if err := l.j.Close(); err != nil {
		l.t.Logf("close: %v", err) // the fault may hit the last sync
	}
}

// drawFault is one failing operation, somewhere.
func (l *life) drawFault() *fault.Fault {
	kind := rapid.SampledFrom([]fault.Kind{fault.Datasync, fault.Write, fault.SyncDir, fault.Rename, "none"}).Draw(l.t, "fault")
	skip := rapid.IntRange(0, 30).Draw(l.t, "skip")
	return &fault.Fault{Err: syscall.EIO, Times: 1, Short: true, When: func(op fault.Op) bool {
		if op.Kind != kind {
			return false
		}
		skip--
		return skip < 0
	}}
}

// shoot photographs what a crash after a sync, and before it, would leave.
func (l *life) shoot(op fault.Op) {
	switch op.Kind {
	case fault.Sync, fault.Datasync, fault.SyncDir, fault.Write, fault.Rename:
	default:
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen++; l.armed == nil || l.seen%l.every != 0 || len(l.photos) > 15 {
		return
	}
	stored := l.armed.Stored() // before the photo: what is acknowledged is in it
	numbers := maps.Clone(l.number)
	l.seed++
	l.photos = append(l.photos, photo{l.mem.Crash(l.seed), op, stored, numbers})
}

func (l *life) step() {
	switch rapid.IntRange(0, 9).Draw(l.t, "op") {
	case 0:
		l.wait(l.j.Next() - 1)
	case 1:
		l.storeCursor()
	case 2:
		l.assign()
	default:
		l.append()
	}
}

func (l *life) append() {
	n := rapid.IntRange(1, 20).Draw(l.t, "entries")
	size := rapid.SampledFrom([]int{0, 0, 10, 10, 200, 200, 200, 3000, 3000, 280_000}).Draw(l.t, "size")
	entries := make([]journal.Entry, n)
	texts := make([]string, n)
	for i := range entries {
		l.count++
		texts[i] = fmt.Sprintf("%d %s", l.count, strings.Repeat("y", size/n))
		entries[i] = journal.Entry{Message: textMessage(texts[i]), Rules: []uint32{7}}
	}
	first, err := l.j.Append(entries)
	if errors.Is(err, journal.ErrFull) {
		return
	}
	if err != nil {
		l.t.Fatalf("append: %v", err)
	}
	for i, s := range texts {
		l.given[name{l.epoch, first + uint64(i)}] = s
		if id := entries[i].Message.ID; id.Offset != first+uint64(i) || id.Epoch != l.epoch {
			l.t.Fatalf("id %v for offset %d", id, first+uint64(i))
		}
	}
}

func (l *life) storeCursor() {
	stored := l.j.Stored()
	if stored == 0 {
		return
	}
	old, _ := l.j.Cursor(crashLane)
	c := journal.Cursor{Low: max(old.Low, stored/2), Counters: []byte{1, 2}}
	first := c.Low + 1
	if settles(old, c.Low) { // what was settled stays so
		first = c.Low
	}
	if first < stored {
		c.Settled = []journal.Range{{First: first, Last: stored}}
	}
	offset, err := l.j.StoreCursor(crashLane, c)
	if errors.Is(err, journal.ErrFull) {
		return
	}
	if err != nil {
		l.t.Fatalf("store cursor: %v", err)
	}
	l.cursor[offset] = c
}

func (l *life) assign() {
	name := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(l.t, "name")
	n, err := l.j.Number("rule", name)
	if err != nil {
		l.t.Fatalf("number: %v", err)
	}
	if old, ok := l.number[name]; ok && old != n && !l.weak {
		l.t.Fatalf("%s was %d and is %d", name, old, n)
	}
	for other, m := range l.number {
		if other != name && m == n && !l.weak {
			l.t.Fatalf("%s and %s are both %d", name, other, n)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.number[name] = n
}

func (l *life) wait(offset uint64) {
	r := l.j.NewReader(offset)
	defer r.Close()
	for l.j.Stored() < offset {
		<-r.Ready()
	}
}

// check opens what a crash left and asserts the promises.
func (h *history) check(p photo) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	j, err := journal.Open(journal.Options{Dir: dir, Log: logger, FS: p.fs.Crash(0), MaxBytes: 8 << 20, SegmentBytes: 4 << 10})
	if err != nil {
		h.t.Fatalf("after %v: open: %v", p.after, err)
	}
	defer j.Close()
	c, _ := j.Cursor(crashLane) // what it has settled may be gone
	got := h.readAll(j)
	h.checkArchive(p, got)
	for n, s := range h.given {
		acked := !h.weak && h.acked[n] || !h.weak && n.epoch == h.epoch && n.offset <= p.stored
		if back, ok := got[n]; acked && !ok && !settles(c, n.offset) {
			h.t.Fatalf("after %v: acknowledged %v is gone (stored %d)", p.after, n, p.stored)
		} else if ok && back != s {
			h.t.Fatalf("after %v: %v is %q, was %q", p.after, n, back, s)
		}
	}
	for n := range got {
		if _, ok := h.given[n]; !ok {
			h.t.Fatalf("after %v: %v was never given out", p.after, n)
		}
		if n.offset >= j.Next() {
			h.t.Fatalf("after %v: %v will be given out again, next is %d", p.after, n, j.Next())
		}
	}
	if d := j.Stats().Damaged; d > 0 {
		h.t.Fatalf("after %v: %d regions counted as damaged by a crash alone: %s", p.after, d, log.String())
	}
	names := j.Names("rule")
	for name, n := range p.numbers {
		if names[name] != n && !h.weak {
			h.t.Fatalf("after %v: %s was %d and is %d", p.after, name, n, names[name])
		}
	}
	h.checkCursor(j, p)
}

// settles reports whether a cursor has settled an offset.
func settles(c journal.Cursor, offset uint64) bool {
	return offset < c.Low || slices.ContainsFunc(c.Settled, func(r journal.Range) bool {
		return r.First <= offset && offset <= r.Last
	})
}

func (h *history) checkCursor(j *journal.Journal, p photo) {
	c, ok := j.Cursor(crashLane)
	if ok && c.Low > j.Stored()+1 {
		h.t.Fatalf("after %v: cursor %d is above stored %d", p.after, c.Low, j.Stored())
	}
	for o, want := range h.cursor {
		if !h.weak && o <= p.stored && (!ok || c.Low < want.Low) {
			h.t.Fatalf("after %v: cursor %d at offset %d is gone", p.after, want.Low, o)
		}
	}
}

func (h *history) readAll(j *journal.Journal) map[name]string {
	got := map[name]string{}
	last := uint64(0)
	r := j.NewReader(1)
	defer r.Close()
	for {
		f, ok, err := r.TryNext()
		if err != nil {
			h.t.Fatalf("read: %v", err)
		}
		if !ok {
			return got
		}
		var m message.Message
		if err := f.Message(&m); err != nil {
			h.t.Fatal(err)
		}
		if f.Offset() <= last {
			h.t.Fatalf("offset %d after %d", f.Offset(), last)
		}
		last = f.Offset()
		got[name{m.ID.Epoch, m.ID.Offset}] = string(m.Payload)
	}
}
