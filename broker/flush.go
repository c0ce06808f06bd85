package broker

import (
	"errors"
	"time"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/broker/session"
	"github.com/penstock/penstock/internal/journal"
)

// flush lets the burst's packets take effect: the journal first, so that what
// has no room there is neither delivered nor acknowledged; then subscribers,
// who do not wait for the sync (C10); then the client's acknowledgements.
func (c *conn) flush(b *burst) error {
	var err error
	if b.wanted > 0 {
		err = c.journal(b)
	} else {
		c.settle(b, b.pubs)
	}
	b.reset()
	if err != nil {
		return err
	}
	return c.pause(b)
}

// journal appends what a rule wants to the journal, with one call, and settles the
// burst.
func (c *conn) journal(b *burst) error {
	s := c.srv
	b.entries = b.entries[:0]
	b.makeEntries(b.pubs)
	first, err := s.o.Log.Append(b.entries)
	if err != nil {
		return c.logEach(b, err)
	}
	s.counts.journaled.Add(uint64(len(b.entries)))
	for i := range b.pubs {
		if b.pubs[i].isWanted() {
			b.pubs[i].offset = first
			first++
		}
	}
	c.settle(b, b.pubs)
	return nil
}

func (p *inPublish) isWanted() bool { return p.verdict == accepted && len(p.route.rules) > 0 }

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
	if !errors.Is(err, journal.ErrFull) && !errors.Is(err, journal.ErrTooLarge) {
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
		offset, err := c.srv.o.Log.Append(e)
		if errors.Is(err, journal.ErrFull) && (p.qos == 0 || c.version < packet.V5) {
			c.settle(b, b.pubs[settled:i])
			settled = i
			deadline := until
			if p.qos > 0 {
				deadline = time.Now().Add(fullPatience3)
			}
			offset, err = c.appendWhenRoom(e, deadline)
		}
		if err := c.logged(p, offset, err); err != nil {
			c.settle(b, b.pubs[settled:i])
			return err
		}
	}
	c.settle(b, b.pubs[settled:])
	return nil
}

// logged notes what became of one entry. The error ends the connection.
func (c *conn) logged(p *inPublish, offset uint64, err error) error {
	full := errors.Is(err, journal.ErrFull) || errors.Is(err, journal.ErrTooLarge)
	switch {
	case err == nil:
		c.srv.counts.journaled.Add(1)
		p.offset = offset
	case full && (p.qos == 0 || c.version >= packet.V5):
		p.verdict = noRoom
		c.srv.counts.drop(dropJournal, 1)
	case full:
		return errFull
	default:
		return err
	}
	return nil
}

// appendWhenRoom appends an entry as soon as the journal has room for it.
func (c *conn) appendWhenRoom(e []journal.Entry, until time.Time) (uint64, error) {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	defer c.heardNow()
	for {
		room := c.srv.o.Log.Room()
		offset, err := c.srv.o.Log.Append(e) // once more: there may have been room since
		if !errors.Is(err, journal.ErrFull) {
			return offset, err
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

// heardNow begins the client's keep-alive anew after its socket was not read
// for a while by our choice (C12).
func (c *conn) heardNow() { c.heard = c.srv.elapsed() }

// settle delivers publishes whose fate is known and acknowledges them.
func (c *conn) settle(b *burst, pubs []inPublish) {
	c.srv.retainAll(b, pubs)
	c.srv.deliver(b, pubs)
	b.startWriters()
	c.acknowledge(b, pubs)
	c.count(b, pubs)
	c.flushOwn()
}

// startWriters starts the writers of the subscribers the burst has touched.
func (b *burst) startWriters() {
	for i, sub := range b.starts {
		sub.startWriter()
		b.starts[i] = nil
	}
	b.starts = b.starts[:0]
}

// acknowledge sends the publishes' acknowledgements, or makes them wait for the
// journal, in the order of the PUBLISH packets (C12).
func (c *conn) acknowledge(b *burst, pubs []inPublish) {
	cl := c.client
	cl.mu.Lock()
	defer cl.mu.Unlock()
	for i := range pubs {
		switch pubs[i].qos {
		case 1:
			c.puback(&pubs[i])
		case 2:
			c.pubrec(&pubs[i])
		}
	}
	if len(b.acks) > 0 {
		c.takeAcks(b)
	}
	c.oweAcks()
}

// oweAcks sees to it that acknowledgements which wait are sent. Those whose
// offset was stored before the connection was in the list would not be noticed:
// they are sent now. The client's mutex is held.
func (c *conn) oweAcks() {
	acks := &c.client.session.Acks
	if acks.Len() == 0 {
		return
	}
	c.srv.owed.add(c)
	c.sendDue(c.srv.o.Log.Stored())
}

func (c *conn) puback(p *inPublish) {
	acks := &c.client.session.Acks
	switch {
	case p.verdict == refused, p.verdict == noRoom:
		c.ack(packet.TypePuback, p.id, p.verdict.reason())
	case p.verdict == resent && acks.Waits(p.id, session.PubAck):
	case p.verdict == resent, p.waitsForStored():
		acks.Forget(p.id)
		acks.Wait(session.Ack{Offset: p.offset, Hash: p.hash, ID: p.id, Kind: session.PubAck})
	case p.route.nobody():
		c.ack(packet.TypePuback, p.id, packet.NoMatchingSubscribers)
	default:
		c.ack(packet.TypePuback, p.id, packet.Success)
	}
}

func (c *conn) pubrec(p *inPublish) {
	se := &c.client.session
	waits := p.waitsForStored() && p.verdict == accepted
	switch {
	case p.verdict == refused, p.verdict == noRoom:
		se.Inbound.Release(p.id)
		c.ack(packet.TypePubrec, p.id, p.verdict.reason())
		return
	case p.verdict == resent:
		waits = p.offset > c.srv.stored()
	case waits:
		se.Inbound.Accept(p.id, p.offset)
	}
	switch {
	case waits && se.Acks.Waits(p.id, session.PubRec) && p.verdict == resent:
	case waits:
		se.Acks.Wait(session.Ack{Offset: p.offset, ID: p.id, Kind: session.PubRec})
	case p.verdict == accepted && p.route.nobody():
		c.ack(packet.TypePubrec, p.id, packet.NoMatchingSubscribers)
	default:
		c.ack(packet.TypePubrec, p.id, packet.Success)
	}
}

// reason is what a 5.0 client is told.
func (v verdict) reason() packet.ReasonCode {
	switch v {
	case refused:
		return packet.NotAuthorized
	case noRoom:
		return packet.QuotaExceeded
	default:
		return packet.Success
	}
}

// count adds the burst's figures to the server's.
func (c *conn) count(b *burst, pubs []inPublish) {
	var in [3]int
	for i := range pubs {
		in[pubs[i].qos]++
		if pubs[i].verdict == refused {
			b.drops[dropRefused]++
		}
	}
	for q, n := range in {
		if n > 0 {
			c.srv.counts.in[q].Add(uint64(n))
		}
	}
	c.srv.counts.burst(b)
}

func (c *counters) burst(b *burst) {
	c.sent(&b.sent)
	for r, n := range b.drops {
		if n > 0 {
			c.drop(dropReason(r), n)
			b.drops[r] = 0
		}
	}
}
