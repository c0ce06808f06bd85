package broker

import (
	"time"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/broker/session"
	"github.com/penstock/penstock/internal/message"
)

// isWanted reports whether the message goes into the journal.
func (p *inPublish) isWanted() bool { return p.verdict == accepted && p.route.journaled() }

// waitsForStored reports whether the acknowledgement waits for the journal.
func (p *inPublish) waitsForStored() bool {
	return p.route.journaled() && p.route.ack.Level >= message.AckStored
}

// waitsForDelivery reports whether it waits for more than that: the PUBACK, or
// the PUBCOMP (C13).
func (p *inPublish) waitsForDelivery() bool {
	return len(p.route.rules) > 0 && p.route.ack.Level == message.AckDelivered
}

// acknowledge sends the publishes' acknowledgements, or makes them wait, in the
// order of the PUBLISH packets (C12).
func (c *conn) acknowledge(b *burst, pubs []inPublish) {
	cl := c.client
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if b.wanted > 0 {
		c.since = int64(c.srv.elapsed())
	}
	for i := range pubs {
		switch pubs[i].qos {
		case 1:
			c.puback(&pubs[i], b.now)
		case 2:
			c.pubrec(&pubs[i])
		}
	}
	if len(b.acks) > 0 {
		c.takeAcks(b)
	}
	c.oweAcks()
}

// awaitDelivered asks for the outcome of what waits for delivery. The waiting
// acknowledgements are in the session by now, so that the outcome finds them.
func (c *conn) awaitDelivered(pubs []inPublish) {
	cl := c.client
	for i := range pubs {
		p := &pubs[i]
		if p.qos == 0 || p.verdict != accepted || !p.waitsForDelivery() {
			continue
		}
		if cl.outcome == nil {
			cl.outcome = func(offset uint64, delivered bool) { c.srv.owed.resolve(cl, offset, delivered) }
		}
		c.srv.o.Intake.Await(p.offset, p.route.rules, cl.outcome)
	}
}

// puback answers a QoS 1 PUBLISH, now or later.
func (c *conn) puback(p *inPublish, now int64) {
	acks := &c.client.session.Acks
	switch {
	case p.verdict == refused, p.verdict == noRoom:
		c.answerPublish(session.PubAck, p.id, p.verdict.reason())
	case p.verdict == resent:
		c.repeat(p)
	case p.waitsForStored():
		acks.Forget(p.id)
		k := session.Ack{Offset: p.offset, Since: c.since, Hash: p.hash, ID: p.id, Kind: session.PubAck, Delivery: p.waitsForDelivery()}
		if within := p.route.ack.Within.Milliseconds(); k.Delivery && within > 0 && c.version >= packet.V5 {
			k.Within, k.Until = int32(within), now+within
		}
		acks.Wait(k)
	case p.route.nobody():
		c.answerPublish(session.PubAck, p.id, packet.NoMatchingSubscribers)
	default:
		c.answerPublish(session.PubAck, p.id, packet.Success)
	}
}

// repeat makes the PUBACK of a resend wait where the first one's did: on this
// connection it waits already, after a reconnect it takes it up (C11).
func (c *conn) repeat(p *inPublish) {
	acks := &c.client.session.Acks
	k, ok := acks.Rejoin(p.id, p.hash)
	if !ok {
		return
	}
	if c.version < packet.V5 { // who cannot be told that it is late waits on
		k.Until, k.Within = 0, 0
	}
	acks.Wait(k)
}

// pubrec answers a QoS 2 PUBLISH. A PUBREC waits for stored at most (I1).
func (c *conn) pubrec(p *inPublish) {
	se := &c.client.session
	waits := p.waitsForStored() && p.verdict == accepted
	switch {
	case p.verdict == refused, p.verdict == noRoom:
		se.Inbound.Release(p.id)
		c.answerPublish(session.PubRec, p.id, p.verdict.reason())
		return
	case p.verdict == resent:
		waits = p.offset > c.srv.stored()
	case waits:
		se.Inbound.Accept(p.id, session.Receipt{Offset: p.offset, Delivery: p.waitsForDelivery()})
	}
	switch {
	case p.verdict == resent && se.Acks.Waits(p.id, session.PubRec):
	case waits:
		se.Acks.Wait(session.Ack{Offset: p.offset, Since: c.since, ID: p.id, Kind: session.PubRec})
	case p.verdict == accepted && p.route.nobody():
		c.answerPublish(session.PubRec, p.id, packet.NoMatchingSubscribers)
	default:
		c.answerPublish(session.PubRec, p.id, packet.Success)
	}
}

// pubrel ends the receipt of a QoS 2 message. Its PUBCOMP waits for what its
// PUBREC has waited for, and for delivery where a rule says so. The client's
// mutex is held.
func (c *conn) pubrel(id uint16) {
	se := &c.client.session
	r, known := se.Inbound.Receive(id)
	switch {
	case !known:
		c.ack(packet.TypePubcomp, id, packet.PacketIdentifierNotFound)
	case !r.Delivery && r.Offset <= c.srv.stored():
		se.Inbound.Release(id)
		c.ack(packet.TypePubcomp, id, packet.Success)
	case !se.Acks.Waits(id, session.PubComp):
		se.Acks.Wait(session.Ack{Offset: r.Offset, Since: int64(c.srv.elapsed()), ID: id, Kind: session.PubComp, Delivery: r.Delivery, Outcome: r.Outcome})
	}
}

// answerPublish sends an acknowledgement that waits for nothing, unless the
// client insists on one order: then it waits for its turn.
func (c *conn) answerPublish(kind session.AckKind, id uint16, reason packet.ReasonCode) {
	acks := &c.client.session.Acks
	if acks.Strict && acks.Len() > 0 {
		acks.Wait(session.Ack{ID: id, Kind: kind, Reason: byte(reason)})
		return
	}
	c.ack(ackTypes[kind], id, reason)
}

var ackTypes = [...]packet.Type{session.PubAck: packet.TypePuback, session.PubRec: packet.TypePubrec, session.PubComp: packet.TypePubcomp}

// oweAcks sends what is due and sees to it that the rest is sent. The client's
// mutex is held.
func (c *conn) oweAcks() {
	acks := &c.client.session.Acks
	if acks.Len() == 0 {
		return
	}
	stored := c.srv.stored()
	c.sendDue(stored)
	if acks.AwaitsStored(stored) {
		c.srv.owed.add(c)
		// What was stored before the connection was in the list would not be
		// noticed.
		stored = c.srv.stored()
		c.sendDue(stored)
	}
	c.setAlarm(stored)
}

// sendDue sends the acknowledgements that are due. The client's mutex is held.
func (c *conn) sendDue(stored uint64) {
	acks := &c.client.session.Acks
	if acks.Len() == 0 {
		return
	}
	t := now()
	d := delays{srv: c.srv}
	for a, ok := acks.Pop(stored, t); ok; a, ok = acks.Pop(stored, t) {
		d.note(a.Since)
		c.sendAck(&a)
	}
	d.tell()
	if c.room != nil && acks.Len() < c.srv.o.ReceiveMaximum {
		close(c.room)
		c.room = nil
	}
}

// delays tells how long acknowledgements waited, those of one burst together.
type delays struct {
	srv        *Server
	since, now int64
	n          int
}

// note counts one that waited since a time, 0 for one that waited for its turn
// only.
func (d *delays) note(since int64) {
	if since == 0 || d.srv.o.AckDelay == nil {
		return
	}
	if since != d.since {
		d.tell()
		d.since = since
	}
	d.n++
}

func (d *delays) tell() {
	if d.n == 0 {
		return
	}
	if d.now == 0 {
		d.now = int64(d.srv.elapsed())
	}
	d.srv.o.AckDelay(time.Duration(d.now-d.since), d.n)
	d.n = 0
}

// sendAck sends one acknowledgement whose time has come. What was not delivered
// can be said in a PUBACK of 5.0 only (C13).
func (c *conn) sendAck(a *session.Ack) {
	if a.Kind == session.PubComp {
		c.client.session.Inbound.Release(a.ID)
	}
	told := a.Kind == session.PubAck && c.version >= packet.V5
	switch {
	case !a.Delivery || a.Outcome == session.Delivered:
		c.ack(ackTypes[a.Kind], a.ID, packet.ReasonCode(a.Reason))
	case a.Outcome == session.Undecided:
		c.srv.counts.late.Add(1)
		c.nack(a, "stored, not yet delivered: ")
	case told:
		c.srv.counts.failed.Add(1)
		c.nack(a, "not delivered: ")
	default:
		c.srv.counts.concealed.Add(1)
		c.ack(ackTypes[a.Kind], a.ID, packet.Success)
	}
}

// nack sends a PUBACK that says what became of the message, with its id, if the
// client takes that [MQTT-3.1.2-29], [MQTT-3.4.2-2].
func (c *conn) nack(a *session.Ack, text string) {
	p := packet.Puback{ID: a.ID, Reason: packet.ImplementationSpecificError}
	var buf [128]byte
	if id := c.srv.origin.Load(); c.problems && id != nil {
		reason, _ := message.ID{Journal: id.Journal, Epoch: id.Epoch, Offset: a.Offset}.AppendText(append(buf[:0], text...))
		p.Properties.ReasonString = reason
		p.Properties.Add(packet.PropReasonString)
	}
	var out [256]byte
	encoded := p.AppendTo(out[:0], c.version)
	if c.maxPacket > 0 && len(encoded) > c.maxPacket {
		c.ack(packet.TypePuback, a.ID, p.Reason)
		return
	}
	c.out.append(&c.srv.pool, encoded)
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
