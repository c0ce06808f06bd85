package broker

import (
	"errors"
	"slices"
	"time"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// journal appends what a rule wants to the journal, with one call, and settles
// the burst.
func (c *conn) journal(b *burst) error {
	s := c.srv
	b.makeEntries(b.pubs)
	first, err := s.o.Intake.Append(b.entries, b.rules)
	for errors.Is(err, journal.ErrStale) {
		c.routeAgain(b, b.pubs)
		first, err = s.o.Intake.Append(b.entries, b.rules)
	}
	if err != nil {
		return c.logEach(b, err)
	}
	s.appended(b.entries)
	for i := range b.pubs {
		if b.pubs[i].isWanted() {
			b.pubs[i].offset = first
			first++
		}
	}
	c.settle(b, b.pubs)
	return nil
}

// routeAgain looks up publishes again whose rules have changed while they were
// on their way, and makes their entries anew.
func (c *conn) routeAgain(b *burst, pubs []inPublish) {
	b.rules = c.srv.o.Intake.Generation()
	c.routes.follow(b.rules)
	for i := range pubs {
		p := &pubs[i]
		if p.verdict != accepted {
			continue
		}
		p.route = c.route([]byte(p.route.topic))
		if p.qos == 1 && p.waitsForStored() {
			p.hash = c.srv.hash(p)
		}
		if p.qos > 0 && p.waitsForDelivery() {
			b.awaits++ // an upper bound will do
		}
	}
	b.makeEntries(pubs)
}

// appended counts what the journal took, and remembers what ids are made of.
func (s *Server) appended(entries []journal.Entry) {
	if len(entries) == 0 { // nobody wants them any more
		return
	}
	s.counts.journaled.Add(uint64(len(entries)))
	if s.origin.Load() == nil {
		id := entries[0].Message.ID
		s.origin.Store(&message.ID{Journal: id.Journal, Epoch: id.Epoch})
	}
}

// Patience with a journal that is full, by what the client can be told (C8).
const (
	fullPatience0 = time.Second      // QoS 0: then the message is dropped
	fullPatience3 = 30 * time.Second // 3.x at QoS 1 and 2: then the connection is closed
)

// errFull closes a 3.x connection: there is no way to refuse a message.
var errFull = errors.New("the journal has been full for too long")

// logEach is the slow way of journal after Append failed: message by message, so
// that each publish gets the answer it can get. What comes before a message
// that has to wait is settled first.
func (c *conn) logEach(b *burst, err error) error {
	if !isFull(err) {
		return err
	}
	until := time.Now().Add(fullPatience0)
	settled := 0
	for i, k := 0, 0; i < len(b.pubs); i++ {
		p := &b.pubs[i]
		if !p.isWanted() {
			continue
		}
		e := b.entries[k : k+1]
		k++
		offset, err := c.srv.o.Intake.Append(e, b.rules)
		if errors.Is(err, journal.ErrStale) {
			c.settle(b, b.pubs[settled:i])
			return c.startAgain(b, i)
		}
		if c.worthWaiting(p, err) {
			c.settle(b, b.pubs[settled:i])
			settled = i
			deadline := until
			if p.qos > 0 {
				deadline = time.Now().Add(fullPatience3)
			}
			if offset, err = c.appendWhenRoom(b, e, err, deadline); errors.Is(err, journal.ErrStale) {
				return c.startAgain(b, i)
			}
		}
		b.unroomy = b.unroomy || err != nil
		if err := c.logged(p, e, offset, err); err != nil {
			c.settle(b, b.pubs[settled:i])
			return err
		}
	}
	c.settle(b, b.pubs[settled:])
	return nil
}

// startAgain is for when the rules change in the middle of logEach: what comes
// from index i on is looked up again.
func (c *conn) startAgain(b *burst, i int) error {
	rest := slices.Clone(b.pubs[i:])
	b.pubs = append(b.pubs[:0], rest...)
	c.routeAgain(b, b.pubs)
	return c.logEach(b, journal.ErrFull)
}

// isFull reports whether the journal did not take an entry, and goes on.
func isFull(err error) bool {
	return errors.Is(err, journal.ErrFull) || errors.Is(err, journal.ErrTooLarge)
}

// ofLane returns the error of a lane whose share is full, nil for any other
// (C7).
func ofLane(err error) *journal.FullError {
	full, _ := errors.AsType[*journal.FullError](err)
	return full
}

// worthWaiting reports whether to wait for room: a 5.0 client is told at QoS 1
// and 2, and what is sent at QoS 0 is not worth a lane's time (C7, C8).
func (c *conn) worthWaiting(p *inPublish, err error) bool {
	switch {
	case !errors.Is(err, journal.ErrFull):
		return false
	case p.qos == 0:
		return ofLane(err) == nil
	default:
		return c.version < packet.V5
	}
}

// logged notes what became of one entry. The error ends the connection.
func (c *conn) logged(p *inPublish, e []journal.Entry, offset uint64, err error) error {
	switch {
	case err == nil:
		c.srv.appended(e)
		p.offset = offset
	case !isFull(err):
		return err
	case p.qos > 0 && c.version < packet.V5:
		return errFull
	default:
		p.verdict = noRoom
		c.srv.counts.drop(dropFor(err), 1)
	}
	return nil
}

// dropFor returns what a message is counted under that the journal did not take.
func dropFor(err error) dropReason {
	if ofLane(err) != nil {
		return dropLane
	}
	return dropJournal
}

// roomFor returns what is closed when it is worth to try again after err.
func (s *Server) roomFor(err error) <-chan struct{} {
	if full := ofLane(err); full != nil {
		return full.Room
	}
	return s.o.Intake.Room()
}

// appendWhenRoom appends an entry as soon as there is room for it; err says
// what was full.
func (c *conn) appendWhenRoom(b *burst, e []journal.Entry, err error, until time.Time) (uint64, error) {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	defer c.heardNow()
	for {
		room := c.srv.roomFor(err)
		var offset uint64
		offset, err = c.srv.o.Intake.Append(e, b.rules) // once more: there may have been room since
		if !errors.Is(err, journal.ErrFull) {
			return offset, err
		}
		if full := ofLane(err); full != nil {
			room = full.Room
		}
		select {
		case <-room:
		case <-t.C:
			return 0, err
		case <-c.done:
			return 0, err
		}
	}
}
