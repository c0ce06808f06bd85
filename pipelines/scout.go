package pipelines

import (
	"log/slog"
	"slices"
	"sort"

	"github.com/penstock/penstock/internal/journal"
)

const (
	// scoutsPerTurn is how many messages a scout passes between two looks at
	// what else there is to do. It decodes only what it gives up.
	scoutsPerTurn = 1024
	// maxScoutRanges bounds the stretches given up ahead of the lane, and with
	// them the cursor: beyond that the lane stays full until it has passed some.
	maxScoutRanges = 4096
)

// A scout reads ahead of a lane. It counts what the lane is owed beyond its
// place, and with drop_newest gives up what the bounds have no room for: those
// offsets are settled in the cursor, and the lane passes over them later like
// over what was settled before a restart.
//
//	settled | window, in memory | kept, counted  | shed | kept | not looked at yet
//	        low                 position                       next              stored
type scout struct {
	reader Reader
	ticks  TickReader // the reader, where the rules want to know the time
	next   uint64     // the first offset not looked at
	kept   count      // wanted, between the lane's place and next
	old    count      // of these, what the journal held at the start
	ranges []journal.Range
	joined bool // nothing was kept since the last range
	dry    bool

	numbers []uint32
	rules   []int32
}

// openScout sends a scout ahead unless there is one.
func (l *Lane) openScout() {
	if l.scout != nil {
		return
	}
	l.enterAll() // the lane's place is where what it has evaluated ends
	l.crew.rest()
	s := &scout{reader: l.journal.NewReader(l.ledger.position), next: l.ledger.position}
	if t, ok := s.reader.(TickReader); ok && l.ticks != nil {
		t.WantTicks()
		s.ticks = t
	}
	l.scout = s
}

// aheadReady is signalled when a scout that ran dry may go on.
func (l *Lane) aheadReady() <-chan struct{} {
	if l.scout == nil {
		return nil
	}
	return l.scout.reader.Ready()
}

func (l *Lane) closeScout() {
	if l.scout != nil {
		l.scout.reader.Close()
		l.scout = nil
	}
}

// scoutAhead lets the scout look at what follows, and calls it back when it has
// nothing to do any more.
func (l *Lane) scoutAhead() {
	s := l.scout
	if s == nil {
		return
	}
	if s.next < l.ledger.position { // the lane has passed it, over what was settled before
		l.closeScout()
		return
	}
	if s.dry = l.held; s.dry { // between two rule sets nothing is judged by either
		return
	}
	for range scoutsPerTurn {
		offset, ok, err := s.reader.Next()
		if err != nil || !ok { // the lane's own reader says what is wrong
			s.dry = err == nil
			break
		}
		l.scouted(offset)
	}
	l.survey()
	if l.scoutIsDone() {
		l.closeScout()
	}
}

// survey replaces the guess once the scout has passed all that it was about.
func (l *Lane) survey() {
	o, s := &l.ledger.owed, l.scout
	if !o.exact && (s.dry || s.next >= o.boundary) {
		o.know(s.old)
	}
}

// scoutIsDone reports whether nothing was given up ahead of the lane, and
// nothing soon will be.
func (l *Lane) scoutIsDone() bool {
	s := l.scout
	if !l.ledger.owed.exact || len(s.ranges) > 0 {
		return false
	}
	if l.overflow.policy != dropNewest {
		return true
	}
	total := l.ledger.owed.total()
	return !l.overflow.excess(count{2 * total.messages, 2 * total.bytes}).positive()
}

// scouted counts a message, or gives it up.
func (l *Lane) scouted(offset uint64) {
	s := l.scout
	s.next = offset + 1
	if s.ticks != nil {
		if _, _, tick := s.ticks.Tick(); tick { // what it becomes is sent, so no range may hold it
			s.joined = false
			return
		}
	}
	s.numbers = s.reader.Rules(s.numbers[:0])
	s.rules = l.ledger.wanted(offset, s.numbers, s.rules[:0])
	if len(s.rules) == 0 || covered(l.recovered, offset) {
		return
	}
	size := s.reader.Size()
	if !l.filled(size) {
		s.keep(offset, int64(size), l.ledger.owed.boundary)
		return
	}
	l.lose(s.reader, offset, s.rules, l.checkpoints.state == nil)
	s.give(offset)
}

// filled reports whether the bounds have no room for a message of that size at
// the place of the scout, or of the lane when there is none. Once they had none,
// a tenth of them must become free, or every other message would be given up,
// each a range of its own.
func (l *Lane) filled(size int) bool {
	o := &l.overflow
	if o.policy != dropNewest {
		return false
	}
	held := count{int64(l.ledger.open) + 1, l.ledger.openSize + int64(size)}
	ranges := 0
	if s := l.scout; s != nil {
		held.add(s.kept.messages, s.kept.bytes)
		ranges = len(s.ranges)
	}
	switch {
	case o.excess(held).positive():
		o.filled = true
	case o.filled && ranges < maxScoutRanges:
		held.add(o.max.messages/10, o.max.bytes/10)
		o.filled = o.excess(held).positive()
	}
	return o.filled
}

func (s *scout) keep(offset uint64, size int64, boundary uint64) {
	s.joined = false
	s.kept.add(1, size)
	if offset < boundary {
		s.old.add(1, size)
	}
}

// give notes that an offset is settled ahead of the lane.
func (s *scout) give(offset uint64) {
	if s.joined {
		s.ranges[len(s.ranges)-1].Last = offset
		return
	}
	s.joined = true
	s.ranges = append(s.ranges, journal.Range{First: offset, Last: offset})
}

// passed tells the scout that the lane has come to a message that its rules
// want, and reports whether the scout has settled it.
func (l *Lane) passed(offset uint64, size int) (settled bool) {
	s := l.scout
	if offset >= s.next { // the lane has overtaken it
		l.closeScout()
		return false
	}
	for len(s.ranges) > 0 && s.ranges[0].Last < offset {
		s.drop()
	}
	if len(s.ranges) > 0 && s.ranges[0].First <= offset {
		if s.ranges[0].Last == offset {
			s.drop()
		}
		return true
	}
	s.kept.take(1, int64(size))
	if offset < l.ledger.owed.boundary {
		s.old.take(1, int64(size))
	}
	return false
}

// drop forgets the first range.
func (s *scout) drop() {
	s.ranges = s.ranges[1:]
	s.joined = s.joined && len(s.ranges) > 0
}

// lose enters a message that is given up without being delivered. Its rules
// run, so that the figures stay exact: what would have been filtered is not
// counted as dropped (C22). Ahead of the lane's place stateful rules may not run
// (C21): each counts as having made one record, and runs when the lane is there.
func (l *Lane) lose(at Reader, offset uint64, rules []int32, evaluate bool) {
	err := at.Message(&l.message)
	if err != nil {
		l.log.Error("decode message", slog.Uint64("offset", offset), slog.Any("err", err))
	}
	for _, rule := range rules {
		x := loss{verdict: passed, records: 1, required: 1, reason: dropFull}
		switch {
		case err != nil:
			x.verdict, x.reason = failed, dropUnreadable
		case l.ledger.rules[rule].state == retired:
			x.verdict = failed
		case evaluate:
			x = l.price(rule)
		}
		l.ledger.lose(rule, &x)
		if x.records > 0 {
			l.ledger.givenUp.add(x.reason, offset, offset)
		}
		if err != nil || l.message.QoS > 0 {
			l.ledger.tellLost(offset, rule, x.required)
		}
	}
	l.ledger.owed.lose(offset, int64(at.Size()))
	l.ledger.closed++
}

// A loss is what one rule would have made of a message that is given up.
type loss struct {
	verdict           verdict
	records, required int
	reason            dropReason
}

// price evaluates a rule on the message that is given up.
func (l *Lane) price(rule int32) loss {
	l.outcome.Reset()
	l.evaluator.Evaluate(l.ledger.rules[rule].number, &l.message, &l.outcome)
	n := len(l.outcome.Records) + len(l.outcome.Errors)
	x := loss{verdict: judge(&l.outcome, n), records: n, required: required(&l.outcome), reason: dropFull}
	if l.outcome.Shadow {
		x.reason = dropShadow
	}
	return x
}

// lose counts the records of a message as dropped, at once in what the next
// cursor holds: the cursor covers its offset.
func (l *ledger) lose(rule int32, x *loss) {
	l.touch(rule)
	var f figures
	f.judge(x.verdict, x.records)
	f.dropped[x.reason] = uint64(x.records)
	l.rules[rule].live.add(&f)
	l.rules[rule].settled.add(&f)
}

// tellLost tells who waits for a message that it will not be delivered, or that
// the rule had nothing to deliver.
func (l *ledger) tellLost(offset uint64, rule int32, required int) {
	if number := l.rules[rule].number; l.receipts != nil && l.receipts.Expects(number) {
		l.receipts.Settle(offset, number, l.lane, required == 0)
	}
}

// beyond returns what is settled at and above the lane's place: what an earlier
// cursor says, and what the scout gave up.
func (l *Lane) beyond() []journal.Range {
	if l.scout == nil || len(l.scout.ranges) == 0 {
		return l.recovered
	}
	return union(slices.Concat(l.recovered, l.scout.ranges))
}

// covered reports whether one of the ranges, which ascend, holds the offset.
func covered(ranges []journal.Range, offset uint64) bool {
	i := sort.Search(len(ranges), func(i int) bool { return ranges[i].Last >= offset })
	return i < len(ranges) && ranges[i].First <= offset
}
