package pipelines

import (
	"math"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// shedOldest gives up the oldest records until the excess is gone. What it finds in flight or of open outcome stays; what is not read
// yet is read, and shed, in turn.
func (l *Lane) shedOldest(excess count) {
	w := &l.ledger.window
	before := w.shed
	for w.cut != none && excess.positive() {
		e := &w.slots[w.cut]
		owed := e.owed()
		excess.take(owed.messages, owed.bytes)
		l.pin(e)
	}
	if w.shed > before {
		l.shedBelow(dropFull, math.MaxInt64)
	}
}

// expire gives up what is older than the bound.
func (l *Lane) expire() {
	w := &l.ledger.window
	limit := l.now.Add(-l.overflow.age).UnixMilli()
	before := w.shed
	for w.cut != none && w.slots[w.cut].received <= limit {
		l.pin(&w.slots[w.cut])
	}
	if w.shed > before {
		l.shedBelow(dropExpired, limit)
	}
}

// shedAgain looks once more at what could not be given up when it should have
// been, after something was settled of it.
func (l *Lane) shedAgain() {
	g, o := l.ledger, &l.overflow
	if g.pinned.messages == 0 || g.settled == o.settled || o.policy == dropNewest {
		return
	}
	o.settled = g.settled
	switch {
	case o.excess(g.owed.total()).positive():
		l.shedBelow(dropFull, math.MaxInt64)
	case o.age > 0:
		l.shedBelow(dropExpired, l.now.Add(-o.age).UnixMilli())
	}
}

// pin moves the cut past e: unless its records can be given up, it does not
// count against the bounds any more.
func (l *Lane) pin(e *entry) {
	w := &l.ledger.window
	owed := e.owed()
	l.ledger.pinned.add(owed.messages, owed.bytes)
	w.shed, w.cut = e.offset+1, e.after
}

// shedBelow gives up the waiting records of the messages below the cut that were
// received at the limit or before, but only of messages of which nothing else is on its way: those are not settled
// for long enough to be evaluated again after a crash, and what was given up of
// them would then come after newer records of its key (I3).
func (l *Lane) shedBelow(reason dropReason, limit int64) {
	w := &l.ledger.window
	l.router.batches(func(b *batch) {
		if b.tried {
			return
		}
		for i, m := range b.marks {
			if m.rule != injected && b.records[i].Message.Offset < w.shed {
				w.at(m.seq).loose++
			}
		}
	})
	l.prune(reason, func(r *message.Record, m mark) bool {
		if r.Message.Offset >= w.shed {
			return false
		}
		e := w.at(m.seq)
		if e.loose == e.open && e.received <= limit {
			e.loose-- // as open will be
			return true
		}
		e.loose = 0
		return false
	})
}

// A latestKey is of what only the newest record stays.
type latestKey struct {
	topic  uint64 // hash of the published topic
	output uint32
	rule   int32
}

// keepLatest gives up every waiting record of which a newer one of its topic,
// rule and output waits, and then, if there are more topics than may wait, the
// oldest. It looks once the lane has read all it can hold, and again when a
// sixteenth of that is new, so that its cost for each message is bounded.
func (l *Lane) keepLatest() {
	o := &l.overflow
	more := l.mayRead()
	if more && !l.dry {
		return // newer records may be unread
	}
	if more && o.read-o.looked < uint64(l.ledger.open/16) {
		return
	}
	o.looked = o.read
	newest := make(map[latestKey]uint64)
	l.router.waiting(func(r *message.Record, m mark) {
		if m.rule == injected {
			return
		}
		k := l.latestKey(r, m)
		newest[k] = max(newest[k], r.Message.Offset)
	})
	l.prune(dropSuperseded, func(r *message.Record, m mark) bool {
		return r.Message.Offset < newest[l.latestKey(r, m)]
	})
	// What came meanwhile may make others needless, so it does not count yet.
	held := count{int64(l.ledger.open), l.ledger.openSize}
	held.take(l.ledger.pinned.messages, l.ledger.pinned.bytes)
	l.shedOldest(o.excess(held))
}

func (l *Lane) latestKey(r *message.Record, m mark) latestKey {
	return latestKey{l.ledger.window.at(m.seq).topic, r.Output, m.rule}
}

// prune settles the waiting records that give names as dropped. A record that
// was ever handed to a Write is not waiting: its outcome may be open.
func (l *Lane) prune(reason dropReason, give func(*message.Record, mark) bool) {
	l.router.prune(func(r *message.Record, m mark) bool {
		if m.rule == injected || !give(r, m) {
			return false
		}
		l.ledger.settle(m, dropped+fate(reason))
		return true
	}, l.now)
	l.schedule.ready.compact()
}

// prune takes the records that gone names out of the batches of a shard that
// were never written, and returns how many there were.
func (c *schedule) prune(s *shard, gone func(*message.Record, mark) bool) (n int) {
	var head, tail *batch
	for b := s.head; b != nil; {
		next := b.next
		records, bytes := len(b.records), b.bytes
		if !b.tried {
			b.prune(gone)
		}
		c.count(s, len(b.records)-records, b.bytes-bytes)
		n += records - len(b.records)
		b.next = nil
		switch {
		case len(b.records) == 0:
			c.pool.put(b)
		case tail == nil:
			head, tail = b, b
		default:
			tail.next, tail = b, b
		}
		b = next
	}
	s.head, s.tail = head, tail
	if head == nil && s.state == lingering {
		c.waits.remove(s)
		s.state = idle
	}
	return n
}

func (b *batch) prune(gone func(*message.Record, mark) bool) {
	n := 0
	for i := range b.records {
		if gone(&b.records[i], b.marks[i]) {
			b.bytes -= int64(b.marks[i].size)
			continue
		}
		b.records[n], b.marks[n] = b.records[i], b.marks[i]
		n++
	}
	clear(b.records[n:])
	b.records, b.marks = b.records[:n], b.marks[:n]
}

// compact takes out the shards in which nothing waits any more.
func (l *readyList) compact() {
	var prev *shard
	for s := l.head; s != nil; {
		next := s.next
		if s.head == nil {
			l.remove(prev)
			s.state = idle
		} else {
			prev = s
		}
		s = next
	}
}

// each shows the records that wait in a shard.
func (s *shard) each(see func(*message.Record, mark)) {
	for b := s.head; b != nil; b = b.next {
		for i := range b.records {
			see(&b.records[i], b.marks[i])
		}
	}
}

func (h *hashRouter) waiting(see func(*message.Record, mark)) {
	for _, s := range h.shards {
		s.each(see)
	}
}

func (h *hashRouter) prune(gone func(*message.Record, mark) bool, _ time.Time) {
	for _, s := range h.shards {
		h.schedule.prune(s, gone)
	}
}

func (g *groupRouter) waiting(see func(*message.Record, mark)) {
	for _, p := range g.groups {
		(&shard{head: p.head}).each(see)
	}
	for _, s := range g.shards {
		s.each(see)
	}
}

// prune goes through what groups hold first: giving up the last record of an
// old mapping makes the held ones move into shards.
func (g *groupRouter) prune(gone func(*message.Record, mark) bool, now time.Time) {
	for _, p := range g.groups {
		p.prune(&g.schedule.pool, gone)
	}
	for _, s := range g.shards {
		if n := g.schedule.prune(s, gone); n > 0 {
			g.leave(s, n, now)
		}
	}
}

func (p *group) prune(pool *batchPool, gone func(*message.Record, mark) bool) {
	var head, tail *batch
	for b := p.head; b != nil; {
		next := b.next
		b.prune(gone)
		b.next = nil
		switch {
		case len(b.records) == 0:
			pool.put(b)
		case tail == nil:
			head, tail = b, b
		default:
			tail.next, tail = b, b
		}
		b = next
	}
	p.head, p.tail = head, tail
}

// maxGivenUp is how many stretches a cursor tells of at most before it is
// stored; while it cannot be, no more are remembered than forgetGivenUp.
const (
	maxGivenUp    = 4096
	forgetGivenUp = 1 << 16
)

// givenUp is the messages of which records were dropped since the last cursor,
// which carries them for those who ask what became of a message.
type givenUp struct {
	by   [dropReasons][]journal.Range
	n    int
	told []journal.Drop // by the last cursor
}

// reason says why the message at an offset was given up, "" when it was not, or
// earlier than what the last cursor tells of.
func (g *givenUp) reason(offset uint64) string {
	for reason, ranges := range g.by {
		if slices.ContainsFunc(ranges, func(r journal.Range) bool { return r.First <= offset && offset <= r.Last }) { // in no order yet
			return dropReason(reason).String()
		}
	}
	for i := range g.told {
		if covered(g.told[i].Ranges, offset) {
			return g.told[i].Reason
		}
	}
	return ""
}

// add enters the messages from first to last.
func (g *givenUp) add(reason dropReason, first, last uint64) {
	list := g.by[reason]
	if n := len(list); n > 0 && list[n-1].First <= first && first <= list[n-1].Last+1 {
		list[n-1].Last = max(list[n-1].Last, last)
		return
	}
	if g.n < forgetGivenUp {
		g.by[reason] = append(list, journal.Range{First: first, Last: last})
		g.n++
	}
}

// drops returns what a cursor says of them.
func (g *givenUp) drops() []journal.Drop {
	if g.n == 0 {
		return nil
	}
	var list []journal.Drop
	for reason, ranges := range g.by {
		if len(ranges) > 0 {
			list = append(list, journal.Drop{Reason: dropReason(reason).String(), Ranges: union(ranges)})
		}
	}
	return list
}

// clear forgets what a cursor took over.
func (g *givenUp) clear(told []journal.Drop) {
	if g.n > 0 || g.told != nil {
		*g = givenUp{told: told}
	}
}

// union sorts ranges and joins those that overlap or touch, in place.
func union(ranges []journal.Range) []journal.Range {
	slices.SortFunc(ranges, func(a, b journal.Range) int {
		switch {
		case a.First < b.First:
			return -1
		case a.First > b.First:
			return 1
		}
		return 0
	})
	n := 0
	for _, r := range ranges {
		if n > 0 && r.First <= ranges[n-1].Last+1 {
			ranges[n-1].Last = max(ranges[n-1].Last, r.Last)
			continue
		}
		ranges[n] = r
		n++
	}
	return ranges[:n]
}
