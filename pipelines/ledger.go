package pipelines

import (
	"sync"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/pipelines/deadletter"
)

// A ledger knows every message a lane evaluated beyond its cursor, what each
// of their records became, and the figures of C22. The lane's goroutine owns
// it; only snapshot may be called by others.
type ledger struct {
	window   window
	position uint64 // the next offset to evaluate
	again    uint64 // a restart evaluates what is settled again from here on, 0 for nothing

	rules []ruleState
	index []int32 // by rule number: index in rules + 1, 0 for none
	// What the next cursor says of the rules that feed the lane (C16): their
	// numbers, ascending; plain: all are, without gaps; feeds counts changes.
	feeding []uint32
	plain   bool
	feeds   uint64
	dirty   []int32 // rules whose live figures changed since publish
	spare   *tally

	owed     owed    // what the lane's backlog holds
	givenUp  givenUp // what was dropped since the last cursor
	pinned   count   // of the messages not settled: those older than window.shed
	openSize int64   // bytes of the frames of messages not settled

	open        int    // messages not settled
	closed      uint64 // messages settled since the start
	heldRecords int    // records not settled
	heldBytes   int64  // their size
	settled     uint64 // records settled since the start
	coverable   uint64 // of these: those a cursor stored now would cover

	injections *injections   // what is settled and is of no message
	receipts   Confirmations // nil: nobody waits
	lane       uint32        // for them
	dues       []due
	spareDue   int32 // index in dues + 1 of the first free one

	mu     sync.Mutex
	public []figures // guarded by mu: the figures of rules at the last publish
}

// A fate is what became of a record.
type fate uint8

const (
	delivered fate = iota
	deadLettered
	dropped // + a dropReason
)

// A mark ties a record to the message and the rule it came from.
type mark struct {
	seq  uint64 // slot of its entry in the window
	rule int32  // index of its rule
	size int32
	// optional: no acknowledgement waits for it (C13).
	optional bool
}

func newLedger(receipts Confirmations, lane uint32) *ledger {
	return &ledger{window: newWindow(), receipts: receipts, lane: lane}
}

// restore takes over the counters of a stored cursor, and reports whether it
// says which rules fed the lane.
func (l *ledger) restore(c journal.Cursor) (known bool, err error) {
	var d counters
	err = d.decode(c.Counters)
	for _, r := range d.rules {
		i := l.enter(r.number)
		l.rules[i].live, l.rules[i].settled, l.public[i] = r.figures, r.figures, r.figures
	}
	for _, f := range d.feeds {
		r := &l.rules[l.enter(f.number)]
		r.state, r.gaps = fed, f.gaps
		if r.left() {
			r.state = retired
		}
	}
	known = d.hasFeeds
	if !known && c.Rules != nil {
		l.begins(c.Rules)
		known = true
	}
	l.refeed()
	return known, err
}

// wanted turns the rule numbers of a message into the indexes of those that
// the lane evaluates it for.
func (l *ledger) wanted(offset uint64, numbers []uint32, dst []int32) []int32 {
	for _, n := range numbers {
		if i := l.find(n); i >= 0 && (l.rules[i].plain || l.rules[i].owed(offset)) {
			dst = append(dst, i)
		}
	}
	return dst
}

// find returns the index of a rule of the lane, -1 for any other.
func (l *ledger) find(number uint32) int32 {
	if int(number) >= len(l.index) {
		return -1
	}
	return l.index[number] - 1
}

// begin enters a message with the size of its frame, or a tick, whose size is
// 0; it stays open until end.
func (l *ledger) begin(offset uint64, size int) uint64 {
	l.open++
	if size > 0 {
		l.openSize += int64(size)
		l.owed.begin(offset, int64(size))
	}
	return l.window.push(entry{offset: offset, size: int32(size), rule: -1, open: 1})
}

// skip enters a message that was settled before the restart, or given up
// before it was read.
func (l *ledger) skip() { l.window.pass() }

// outcome enters what a rule made of the message: records, each of which is
// settled later, and a verdict.
func (l *ledger) outcome(seq uint64, rule int32, v verdict, records int) {
	l.touch(rule)
	var f figures
	f.judge(v, records)
	live := &l.rules[rule].live
	live.add(&f)
	live.pending += uint64(records)
	l.heldRecords += records
	e := l.window.at(seq)
	e.open += int32(records)
	if e.rule < 0 {
		e.rule, e.verdict, e.records = rule, v, int32(records)
		return
	}
	l.expand(e)
	e.tallies = l.tally(rule, &f, e.tallies)
}

// judge counts one message with its verdict.
func (f *figures) judge(v verdict, records int) {
	f.in = 1
	f.records = uint64(records)
	switch v {
	case ticked:
		f.in = 0
	case passed:
		f.passed = 1
	case filteredMissing:
		f.missing = 1
		f.filtered = 1
	case filtered:
		f.filtered = 1
	case failed:
		f.errors = 1
	}
}

// end closes the evaluation of a message.
func (l *ledger) end(seq uint64) {
	l.release(seq, l.window.at(seq))
}

// settle enters what became of a record. The cursor may move past its message
// once all of them are settled (I2).
func (l *ledger) settle(m mark, f fate) {
	if m.rule == injected {
		l.injections.settle(m.seq, Injected{Fate: deadletter.Delivered})
		return
	}
	l.touch(m.rule)
	live := &l.rules[m.rule].live
	live.pending--
	live.meet(f)
	l.heldRecords--
	l.heldBytes -= int64(m.size)
	l.settled++
	e := l.window.at(m.seq)
	if f >= dropped {
		l.givenUp.add(dropReason(f-dropped), e.offset, e.offset)
	}
	if e.due != 0 && !m.optional {
		l.confirm(e, m.rule, f)
	}
	switch {
	case e.tallies != nil:
		e.find(m.rule).meet(f)
	case f == delivered:
		e.delivered++
	default:
		l.expand(e)
		e.find(m.rule).meet(f)
	}
	l.release(m.seq, e)
}

func (f *figures) meet(x fate) {
	switch x {
	case delivered:
		f.delivered++
	case deadLettered:
		f.deadLettered++
	default:
		f.dropped[x-dropped]++
	}
}

// expand gives an entry the tally that its short form stands for.
func (l *ledger) expand(e *entry) {
	if e.tallies != nil {
		return
	}
	f := figures{delivered: uint64(e.delivered)}
	f.judge(e.verdict, int(e.records))
	e.tallies = l.tally(e.rule, &f, nil)
}

func (l *ledger) tally(rule int32, f *figures, next *tally) *tally {
	t := l.spare
	if t == nil {
		t = &tally{}
	} else {
		l.spare = t.next
	}
	t.rule, t.figures, t.next = rule, *f, next
	return t
}

func (e *entry) find(rule int32) *figures {
	t := e.tallies
	for t.rule != rule {
		t = t.next
	}
	return &t.figures
}

// release gives up one claim on a message. With the last one its figures go to
// what the next cursor holds, at the same moment as its offset (C22).
func (l *ledger) release(seq uint64, e *entry) {
	if e.open--; e.open > 0 {
		return
	}
	l.open--
	l.closed++
	l.settleOwed(e)
	if e.tallies == nil && e.rule >= 0 {
		f := &l.rules[e.rule].settled
		f.judgeAgain(e)
		l.coverable += uint64(e.records)
	}
	for t := e.tallies; t != nil; {
		next := t.next
		l.rules[t.rule].settled.add(&t.figures)
		l.coverable += t.figures.records
		t.next, l.spare = l.spare, t
		t = next
	}
	e.tallies = nil
	l.window.remove(seq)
}

// settleOwed takes a settled message off what the lane is owed.
func (l *ledger) settleOwed(e *entry) {
	owed := e.owed()
	l.openSize -= owed.bytes
	if e.offset < l.window.shed {
		l.pinned.take(owed.messages, owed.bytes)
	}
	if owed.messages > 0 {
		l.owed.close(e.offset, owed.bytes)
	}
}

// judgeAgain adds an entry in its short form.
func (f *figures) judgeAgain(e *entry) {
	f.in++
	f.records += uint64(e.records)
	f.delivered += uint64(e.delivered)
	switch e.verdict {
	case ticked:
		f.in--
	case passed:
		f.passed++
	case filteredMissing:
		f.missing++
		f.filtered++
	case filtered:
		f.filtered++
	case failed:
		f.errors++
	}
}

func (l *ledger) touch(rule int32) {
	if r := &l.rules[rule]; !r.dirty {
		r.dirty = true
		l.dirty = append(l.dirty, rule)
	}
}

// publish makes the figures visible to snapshot, all at one moment.
func (l *ledger) publish() {
	if len(l.dirty) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range l.dirty {
		l.public[i] = l.rules[i].live
		l.rules[i].dirty = false
	}
	l.dirty = l.dirty[:0]
}

// snapshot calls see for every rule with its figures at the last publish.
func (l *ledger) snapshot(see func(rule uint32, f *figures)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.public {
		see(l.rules[i].number, &l.public[i])
	}
}
