package pipelines

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines/deadletter"
)

// An Injected is what became of a record that was injected.
type Injected = deadletter.Outcome

// ErrEnded says that a lane ended before it had written everything.
var ErrEnded = errors.New("the lane has ended")

// The bounds of what is injected into a lane at a time, by all who inject.
const (
	injectRecords = 512     // records that are handed to the lane in one piece
	injectBytes   = 1 << 20 // and their bytes, unless one is larger
	injectPieces  = 8       // pieces the lane holds
)

// injected is the rule of the marks of injected records, which are of no
// message in the window: their seq is a slot of injections.
const injected = -1

// Inject writes records from outside the journal's order, of a redrive or a
// replay, through the same shards, batches, breaker and retries as all others,
// and returns what became of each. They are in no window, cursor or figure:
// they were counted when they became letters (C22). They leave I3 by design.
//
// It waits until everything is confirmed or refused, however long the sink is
// unavailable. When ctx ends, or the lane, it returns an error, and what was
// not written by then is cancelled; what is being written goes on, so that a
// cancelled record may arrive. The records must not change after that.
func (l *Lane) Inject(ctx context.Context, records []message.Record) ([]Injected, error) {
	outcomes := make([]Injected, len(records))
	var pieces []*piece
	err := l.injectAll(ctx, records, &pieces)
	for _, p := range pieces {
		select {
		case <-p.done:
		case <-ctx.Done():
			// It was accepted, so that somebody answers.
			_ = l.ask(context.WithoutCancel(ctx), func() { l.withdraw(p) })
		}
	}
	at := 0
	for _, p := range pieces {
		at += p.read(outcomes[at:])
	}
	if !slices.ContainsFunc(outcomes, func(o Injected) bool { return o.Fate == deadletter.Cancelled }) {
		return outcomes, nil
	}
	return outcomes, cmp.Or(err, ctx.Err(), ErrEnded)
}

// injectAll hands the records to the lane piece by piece.
func (l *Lane) injectAll(ctx context.Context, records []message.Record, pieces *[]*piece) error {
	for len(records) > 0 {
		n, bytes := 0, 0
		for n < min(len(records), injectRecords) && (n == 0 || bytes < injectBytes) {
			bytes += records[n].Size()
			n++
		}
		select {
		case l.injections.room <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		p := newPiece(records[:n])
		if err := l.ask(ctx, func() { l.injections.accept(p) }); err != nil {
			<-l.injections.room
			return err
		}
		*pieces = append(*pieces, p)
		records = records[n:]
	}
	return nil
}

// A piece is some of the records of one Inject.
type piece struct {
	records  []message.Record
	done     chan struct{} // closed when each has an outcome, or the lane ended
	mu       sync.Mutex
	outcomes []Injected // guarded by mu
	left     int        // guarded by mu: records without an outcome
}

func newPiece(records []message.Record) *piece {
	return &piece{
		records: records, done: make(chan struct{}), outcomes: make([]Injected, len(records)), left: len(records),
	}
}

// settle enters an outcome and reports whether it was the last one.
func (p *piece) settle(i int, o Injected) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outcomes[i] = o
	p.left--
	return p.left == 0
}

// read copies the outcomes there are by now.
func (p *piece) read(to []Injected) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return copy(to, p.outcomes)
}

// injections are the pieces a lane has at hand. The lane's goroutine owns
// them, but for room.
type injections struct {
	room chan struct{} // capacity injectPieces: a token for each piece

	waiting []*piece // not routed yet
	open    []*piece
	slots   []injectedRecord
	spare   []int // slots to use again
	over    bool  // the lane has ended
}

// An injectedRecord is what a slot stands for.
type injectedRecord struct {
	piece *piece
	index int
}

// accept takes a piece; the lane routes it in its next turn.
func (n *injections) accept(p *piece) {
	n.waiting = append(n.waiting, p)
	if n.over {
		n.end()
	}
}

// settle enters what became of the record in a slot.
func (n *injections) settle(slot uint64, o Injected) {
	r := n.slots[slot]
	n.slots[slot] = injectedRecord{}
	n.spare = append(n.spare, int(slot))
	if !r.piece.settle(r.index, o) {
		return
	}
	n.open = slices.DeleteFunc(n.open, func(p *piece) bool { return p == r.piece })
	n.close(r.piece)
}

func (n *injections) close(p *piece) {
	close(p.done)
	<-n.room
}

// end leaves what has no outcome cancelled: the lane writes nothing any more.
func (n *injections) end() {
	n.over = true
	for _, p := range append(n.open, n.waiting...) {
		n.close(p)
	}
	n.open, n.waiting = nil, nil
}

// slot finds a place for a record.
func (n *injections) slot(r injectedRecord) uint64 {
	if k := len(n.spare); k > 0 {
		at := n.spare[k-1]
		n.spare = n.spare[:k-1]
		n.slots[at] = r
		return uint64(at)
	}
	n.slots = append(n.slots, r)
	return uint64(len(n.slots) - 1)
}

// inject routes the pieces that came since the last turn.
func (l *Lane) inject() {
	n := &l.injections
	for _, p := range n.waiting {
		n.open = append(n.open, p)
		for i := range p.records {
			r := &p.records[i]
			m := mark{seq: n.slot(injectedRecord{p, i}), rule: injected, size: int32(r.Size()), optional: true}
			l.router.route(r, m, l.now)
		}
	}
	clear(n.waiting)
	n.waiting = n.waiting[:0]
}

// lettersHold reports whether the lane must not write because letters wait for
// room. Records that somebody injects are written all the same, and with them
// what waits before them: delivering them is what makes room. What is refused
// then is no more than was evaluated already, for nothing is read.
func (l *Lane) lettersHold() bool { return l.letters.full() && len(l.injections.open) == 0 }

// withdraw takes a piece that nobody waits for any more out of the shards. A
// record that was ever handed to a Write stays: its outcome may be open.
func (l *Lane) withdraw(p *piece) {
	n := &l.injections
	if n.over {
		return
	}
	l.inject() // what waits to be routed
	l.router.prune(func(_ *message.Record, m mark) bool {
		if m.rule != injected || n.slots[m.seq].piece != p {
			return false
		}
		n.settle(m.seq, Injected{})
		return true
	}, l.now)
	l.schedule.ready.compact()
}
