package pipelines

import (
	"context"
	"time"

	"github.com/penstock/penstock/internal/message"
)

// Pause makes the lane read and write nothing more until Resume. What is in
// flight settles. The bounds of what it is owed hold on: a policy that drops
// goes on dropping. It does not outlive the process: who wants that keeps it,
// and says so in LaneOptions.
func (l *Lane) Pause() { l.setPaused(true) }

// Resume ends a pause.
func (l *Lane) Resume() { l.setPaused(false) }

func (l *Lane) setPaused(p bool) {
	if l.paused.Swap(p) == p {
		return
	}
	select {
	case l.kick <- struct{}{}:
	default: // it will look anyway
	}
}

// An InquiryState says where a message is on its way through a lane.
type InquiryState string

// The states of a message in a lane.
const (
	Unread  InquiryState = "unread"  // the lane has not come to it yet
	Pending InquiryState = "pending" // some of its records are not settled
	Settled InquiryState = "settled" // or no rule of the lane wanted it
)

// An Inquiry is what a lane knows of one message.
type Inquiry struct {
	State   InquiryState
	Dropped string          // settled: why records of it were given up, as far as the lane's last cursor and what came since tell
	Records []PendingRecord // those that are not settled, oldest first
}

// A PendingRecord is a record on its way.
type PendingRecord struct {
	Rule, Output uint32 // numbers
	Place        string // waiting, retrying, in_flight, dead_letters
	Attempts     int
	First        time.Time // of the first attempt, zero before
	LastError    string    // of the last attempt, "" before
}

// Inquire returns what the lane knows of the message at an offset. It needs the
// lane to run, or to have run, and waits for that until ctx ends.
func (l *Lane) Inquire(ctx context.Context, offset uint64) (q Inquiry, err error) {
	err = l.ask(ctx, func() { q = l.inquire(offset) })
	return q, err
}

func (l *Lane) inquire(offset uint64) Inquiry {
	g := l.ledger
	switch {
	case g.window.find(offset) != nil:
		return Inquiry{State: Pending, Records: l.pending(offset)}
	case offset < g.position || covered(l.beyond(), offset):
		return Inquiry{State: Settled, Dropped: g.givenUp.reason(offset)}
	}
	return Inquiry{State: Unread}
}

// pending looks for the records of a message wherever they may be.
func (l *Lane) pending(offset uint64) (list []PendingRecord) {
	see := func(b *batch, place string) {
		for i := range b.records {
			if r := &b.records[i]; r.Message.Offset == offset {
				list = append(list, b.pending(r, place))
			}
		}
	}
	l.router.batches(func(b *batch) {
		if b.tried {
			see(b, "retrying")
		} else {
			see(b, "waiting")
		}
	})
	for _, s := range l.schedule.writing {
		see(s.flight, "in_flight")
	}
	for _, x := range l.letters.queue {
		if x.id.Offset == offset {
			list = append(list, PendingRecord{
				Rule: x.rule, Output: x.output, Place: "dead_letters", Attempts: x.attempts, LastError: letterError(&x),
			})
		}
	}
	return list
}

func (b *batch) pending(r *message.Record, place string) PendingRecord {
	p := PendingRecord{Rule: r.Rule, Output: r.Output, Place: place, Attempts: b.attempts, First: b.first}
	if b.err != nil {
		p.LastError = b.err.Error()
	}
	return p
}

// batches shows the batches that wait.
func (h *hashRouter) batches(see func(*batch)) {
	for _, s := range h.shards {
		s.batches(see)
	}
}

func (g *groupRouter) batches(see func(*batch)) {
	for _, s := range g.shards {
		s.batches(see)
	}
	for _, p := range g.groups {
		(&shard{head: p.head}).batches(see)
	}
}

func (s *shard) batches(see func(*batch)) {
	for b := s.head; b != nil; b = b.next {
		see(b)
	}
}

// letterError is why a letter is one.
func letterError(x *letter) string {
	if x.err == nil {
		return x.reason
	}
	return x.err.Error()
}
