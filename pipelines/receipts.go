package pipelines

import (
	"sync"
	"sync/atomic"
)

// Receipts tell the publishers of rules with `ack: delivered` when every
// required output of their message is confirmed (C13). It is decided message by
// message, lane by lane; a cursor alone says nothing.
//
//	broker   Append ──▶ Await(offset, rules) ─────────────────┐
//	lane 1   ─────────────────────▶ Settle(offset, rule, true) ├─▶ done, once
//	lane 2   ──▶ Settle(offset, rule, true), earlier than Await┘
//
// A pair of a rule and a lane is expected when the rule says delivered and has
// a required output in the lane. Offsets from before a pair was expected, such
// as those of an earlier process, are ignored: nobody waits for them any more.
//
// What a message costs while it waits is about 110 bytes for one lane. A lane
// is expected to settle at most maxReceipts pairs at a time: beyond that the
// intake refuses what it would have to settle, so that a dead lane can hold
// some 110 MiB here. What is settled before somebody waits is kept in a ring of
// earlyReceipts per shard.
type Receipts struct {
	route   atomic.Pointer[receiptRoute]
	crowded atomic.Int32 // lanes at their bound
	shards  [receiptShards]receiptShard

	mu   sync.Mutex    // of whoever changes route
	next func() uint64 // guarded by mu
}

const (
	receiptShards = 16
	// receiptRun is how many offsets in a row share a shard: a burst takes one or
	// two locks, neighbouring bursts mostly take others.
	receiptRun = 64
	// maxReceipts bounds the pairs that one lane has to settle (I6).
	maxReceipts = 1 << 20
	// receiptsRoom is where a lane that was at the bound takes more again.
	receiptsRoom = maxReceipts / 4 * 3
	// earlyReceipts bounds what is kept of settled messages that nobody has asked
	// for yet. Await follows Append at once, so that few are early, and each only
	// for as long as a read loop may be kept from running: at half a million
	// messages a second a shard takes half a second to forget one.
	earlyReceipts = 1 << 14
	// freeReceipts is how many receipts a shard keeps for reuse.
	freeReceipts = 1 << 12
)

// A receiptRoute is what is expected of whom. It never changes.
type receiptRoute struct {
	rules map[uint32]*receiptRule
	gone  map[uint32]struct{} // rules that said delivered once, and are not there or say something else now
	lanes map[uint32]*receiptLane
}

// A receiptRule is a rule with `ack: delivered`.
type receiptRule struct {
	from  uint64 // offsets below were accepted before it said delivered
	needs []need
}

// A need is a lane with a required output of the rule.
type need struct {
	lane *receiptLane
	from uint64 // offsets below are none of the lane's business
}

// A receiptLane counts what a lane has still to settle.
type receiptLane struct {
	number uint32
	waits  atomic.Int64

	mu   sync.Mutex
	room chan struct{} // guarded by mu; not nil: at the bound
}

type receiptShard struct {
	mu    sync.Mutex
	byOff map[uint64]*receipt // guarded by mu, as is all below
	early []uint64            // offsets settled before they were awaited, a ring
	at    int                 // the oldest of early
	free  []*receipt
}

// A receipt is one message's. It lives until every pair is settled, also after
// the answer is given: what is settled later must not look like something new.
type receipt struct {
	done    func(offset uint64, delivered bool) // nil: nobody to answer, or answered
	awaited bool
	open    int // pairs that are not settled
	pairs   []receiptPair
}

type receiptPair struct {
	rule            uint32
	lane            *receiptLane
	settled, failed bool
}

// NewReceipts returns receipts that expect nothing.
func NewReceipts() *Receipts {
	r := &Receipts{next: func() uint64 { return 0 }}
	r.route.Store(&receiptRoute{})
	for i := range r.shards {
		r.shards[i].byOff = make(map[uint64]*receipt)
	}
	return r
}

// Begin says how to learn the next offset that will be given out, so that what
// was appended before a rule or lane came is told from what comes after. It is
// called before the first Route. Route is called by one goroutine at a time.
func (r *Receipts) Begin(next func() uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = next
}

func (r *Receipts) shard(offset uint64) *receiptShard {
	return &r.shards[offset/receiptRun%receiptShards]
}

// Expects reports whether lanes are to settle messages of a rule here.
func (r *Receipts) Expects(rule uint32) bool {
	found := r.route.Load().rules[rule]
	return found != nil && len(found.needs) > 0
}

// need returns what is expected of a lane for a rule, nil for nothing.
func (t *receiptRoute) need(offset uint64, rule, lane uint32) *need {
	found := t.rules[rule]
	if found == nil {
		return nil
	}
	for i := range found.needs {
		if n := &found.needs[i]; n.lane.number == lane && offset >= n.from {
			return n
		}
	}
	return nil
}

// Settle says that all required records of a message and rule are settled in a
// lane; delivered is false when one of them was dead-lettered or dropped. It
// may come before Await. It is called by the lane, and calls done.
func (r *Receipts) Settle(offset uint64, rule, lane uint32, delivered bool) {
	s := r.shard(offset)
	s.mu.Lock()
	route := r.route.Load()
	rc := s.byOff[offset]
	if rc == nil {
		if n := route.need(offset, rule, lane); n != nil {
			s.settleEarly(offset, receiptPair{rule: rule, lane: n.lane, settled: true, failed: !delivered})
		}
		s.mu.Unlock()
		return
	}
	if !rc.awaited {
		if n := route.need(offset, rule, lane); n != nil && rc.find(rule, lane) == nil {
			rc.pairs = append(rc.pairs, receiptPair{rule: rule, lane: n.lane, settled: true, failed: !delivered})
		}
		s.mu.Unlock()
		return
	}
	var done func(uint64, bool)
	if p := rc.find(rule, lane); p != nil && !p.settled {
		r.settle(rc, p)
		done, delivered = s.answer(offset, rc, !delivered)
	}
	s.mu.Unlock()
	if done != nil {
		done(offset, delivered)
	}
}

// find returns the receipt's pair of a rule and lane.
func (rc *receipt) find(rule, lane uint32) *receiptPair {
	for i := range rc.pairs {
		if p := &rc.pairs[i]; p.rule == rule && p.lane.number == lane {
			return p
		}
	}
	return nil
}

// settle ends one pair. The shard's mutex is held.
func (r *Receipts) settle(rc *receipt, p *receiptPair) {
	p.settled = true
	rc.open--
	if p.lane.waits.Add(-1) == receiptsRoom {
		r.makeRoom(p.lane)
	}
}

// answer returns whom to answer now and what: false at the first failure, true
// when nothing is open. A receipt with nothing open is taken back. The mutex is
// held.
func (s *receiptShard) answer(offset uint64, rc *receipt, failed bool) (done func(uint64, bool), delivered bool) {
	if failed || rc.open == 0 {
		done, rc.done = rc.done, nil
	}
	if rc.open == 0 {
		delete(s.byOff, offset)
		s.put(rc)
	}
	return done, !failed
}

// settleEarly notes what is settled before anybody waits for it. The mutex is
// held.
func (s *receiptShard) settleEarly(offset uint64, p receiptPair) {
	rc := s.get()
	rc.pairs = append(rc.pairs, p)
	s.byOff[offset] = rc
	if len(s.early) < earlyReceipts {
		s.early = append(s.early, offset)
		return
	}
	oldest := s.early[s.at]
	if old := s.byOff[oldest]; old != nil && !old.awaited { // nobody is going to ask
		delete(s.byOff, oldest)
		s.put(old)
	}
	s.early[s.at] = offset
	s.at = (s.at + 1) % earlyReceipts
}

func (s *receiptShard) get() *receipt {
	k := len(s.free)
	if k == 0 {
		return &receipt{}
	}
	rc := s.free[k-1]
	s.free = s.free[:k-1]
	return rc
}

func (s *receiptShard) put(rc *receipt) {
	if len(s.free) == freeReceipts {
		return
	}
	clear(rc.pairs)
	*rc = receipt{pairs: rc.pairs[:0]}
	s.free = append(s.free, rc)
}

// Await asks for the answer to one message that was just appended with these
// rules. done is called exactly once, perhaps before Await returns: with true
// when every pair that is expected of the rules is settled as delivered, with
// false as soon as one is not. It must not block. A nil done waits for nobody.
func (r *Receipts) Await(offset uint64, rules []uint32, done func(offset uint64, delivered bool)) {
	s := r.shard(offset)
	s.mu.Lock()
	rc := s.byOff[offset]
	if rc == nil {
		rc = s.get()
		s.byOff[offset] = rc
	}
	rc.awaited, rc.done = true, done
	failed := false
	for _, rule := range rules {
		failed = r.expect(rc, offset, rule) || failed
	}
	answer, delivered := s.answer(offset, rc, failed)
	s.mu.Unlock()
	if answer != nil {
		answer(offset, delivered)
	}
}

// expect adds the pairs of one rule to a receipt and reports whether one of
// them has failed already. The shard's mutex is held.
func (r *Receipts) expect(rc *receipt, offset uint64, rule uint32) (failed bool) {
	route := r.route.Load()
	found := route.rules[rule]
	if found == nil {
		_, failed = route.gone[rule] // since the message was accepted
		return failed
	}
	if offset < found.from {
		return true
	}
	for i := range found.needs {
		n := &found.needs[i]
		if offset < n.from {
			continue
		}
		if p := rc.find(rule, n.lane.number); p != nil {
			failed = failed || p.failed
			continue
		}
		rc.pairs = append(rc.pairs, receiptPair{rule: rule, lane: n.lane})
		rc.open++
		if n.lane.waits.Add(1) == maxReceipts {
			r.fill(n.lane)
		}
	}
	return failed
}
