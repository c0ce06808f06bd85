package broker

import (
	"encoding/binary"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/broker/session"
)

// deliver passes accepted publishes to their subscribers. Publishes that follow
// one another to the same topic at the same QoS are one run: each subscriber
// is locked once for it and gets it in one copy.
func (s *Server) deliver(b *burst, pubs []inPublish) {
	for i := 0; i < len(pubs); {
		n := 1
		for i+n < len(pubs) && pubs[i].runsWith(&pubs[i+n]) {
			n++
		}
		if pubs[i].verdict == accepted {
			s.deliverRun(b, pubs[i:i+n])
		}
		i += n
	}
}

func (p *inPublish) runsWith(o *inPublish) bool {
	return p.route == o.route && p.qos == o.qos && p.retain == o.retain && p.verdict == o.verdict
}

func (s *Server) deliverRun(b *burst, run []inPublish) {
	r := run[0].route
	if len(r.targets) == 0 && len(r.shares) == 0 {
		return
	}
	for i := range b.forms {
		b.forms[i].made = false
	}
	for i := range r.targets {
		s.deliverTo(b, &r.targets[i], run)
	}
	for i := range r.shares {
		s.deliverShared(b, &r.shares[i], run)
	}
}

// deliverShared gives each message to one member, in turn, and to one that is
// connected if there is any.
func (s *Server) deliverShared(b *burst, sh *share, run []inPublish) {
	for i := range run {
		for j := range b.forms {
			b.forms[j].made = false
		}
		turn := int(sh.next.Add(1))
		chosen := &sh.members[turn%len(sh.members)]
		for k := range sh.members {
			m := &sh.members[(turn+k)%len(sh.members)]
			if m.client.connected() {
				chosen = m
				break
			}
		}
		s.deliverTo(b, chosen, run[i:i+1])
	}
	for j := range b.forms {
		b.forms[j].made = false
	}
}

func (cl *client) connected() bool {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return cl.conn != nil && !cl.conn.closing()
}

// deliverTo passes a run to one session.
func (s *Server) deliverTo(b *burst, t *target, run []inPublish) {
	qos := min(run[0].qos, t.qos)
	retain := t.rap && run[0].retain // [MQTT-3.3.1-12], [MQTT-3.3.1-13]
	cl := t.client
	cl.mu.Lock()
	defer cl.mu.Unlock()
	c := cl.conn
	if c == nil || c.closing() {
		b.queueRun(cl, t, run, qos, retain)
		return
	}
	f := b.form(run, family(c.version), qos, retain)
	switch {
	case t.ids != nil && c.version >= packet.V5, c.maxPacket > 0 && f.longest > c.maxPacket:
		b.sendEach(c, t, run, qos, retain)
	case qos == 0:
		b.sendForm(c, f)
	default:
		b.sendRun(c, t, run, f, qos, retain)
	}
	b.touch(c)
}

// touch notes that a subscriber has something to write. Its mutex is held.
func (b *burst) touch(c *conn) {
	if c.claim() {
		b.starts = append(b.starts, c)
	}
	if !c.out.stalled && c.client != b.from && c.backlog() > highMark {
		b.slow = append(b.slow, c)
	}
}

// sendForm sends a run at QoS 0: bytes, and nothing else. A subscriber that
// does not take what it has been sent gets no more (I6).
func (b *burst) sendForm(c *conn, f *form) {
	if c.overflows() {
		b.drops[dropSlow] += len(f.views)
		return
	}
	b.sent[0] += len(f.views)
	if f.whole != nil {
		c.out.append(&c.srv.pool, f.whole)
		return
	}
	for _, v := range f.views {
		c.out.append(&c.srv.pool, v)
	}
}

// overflows reports whether QoS 0 messages are to be dropped.
func (c *conn) overflows() bool {
	return c.out.bytes > maxOutput || c.out.stalled && c.out.bytes > highMark
}

// sendRun sends a run at QoS 1 or 2 as far as the window allows; the rest waits
// in the session.
func (b *burst) sendRun(c *conn, t *target, run []inPublish, f *form, qos byte, retain bool) {
	se, n := &c.client.session, 0
	if c.out.bytes < directMark {
		n = min(len(run), se.Direct())
	}
	keeps := se.Keeps()
	for i := range n {
		var id uint16
		if !keeps {
			id = se.Begin(qos)
		} else if id = b.beginKept(c.client, t, &run[i], qos, retain); id == 0 {
			continue
		}
		ch := c.out.tail(&c.srv.pool, len(f.views[i]))
		at := len(ch.b)
		ch.b = append(ch.b, f.views[i]...)
		ch.b[at] &^= 8 // DUP is the publisher's own [MQTT-3.3.1-3]
		binary.BigEndian.PutUint16(ch.b[at+f.idAt[i]:], id)
		c.out.bytes += len(f.views[i])
		b.sent[qos]++
	}
	if n < len(run) {
		b.queueRun(c.client, t, run[n:], qos, retain)
	}
}

// beginKept takes a packet identifier for a message that is kept until it is
// acknowledged; 0 when the session may keep no more.
func (b *burst) beginKept(cl *client, t *target, p *inPublish, qos byte, retain bool) uint16 {
	m := b.message(p, !cl.conn.out.stalled)
	if !cl.session.Fits(m.Size()) {
		b.drops[dropQueueFull]++
		return 0
	}
	return cl.session.BeginKept(session.Delivery{Message: m, IDs: t.ids, QoS: qos, Retain: retain})
}

// sendEach sends a run message by message, because the packets differ from
// other subscribers' or may be too large for this one.
func (b *burst) sendEach(c *conn, t *target, run []inPublish, qos byte, retain bool) {
	for i := range run {
		p := &run[i]
		d := publishParts{
			family: family(c.version), qos: qos, retain: retain, topic: p.route.topic, ids: t.ids,
			props: p.properties(b.family), payload: p.raw[p.payload:],
		}
		if c.tooLarge(&d) {
			b.drops[dropTooLarge]++
			continue
		}
		if !b.begin(c, t, run[i:i+1], &d) {
			continue
		}
		c.sendParts(d)
		b.sent[qos]++
	}
}

// begin gets a message of sendEach its packet identifier; false when it is not
// to be sent now.
func (b *burst) begin(c *conn, t *target, one []inPublish, d *publishParts) bool {
	se := &c.client.session
	switch {
	case d.qos == 0:
		if c.overflows() {
			b.drops[dropSlow]++
			return false
		}
	case c.out.bytes >= directMark || se.Direct() == 0:
		b.queueRun(c.client, t, one, d.qos, d.retain)
		return false
	case se.Keeps():
		d.id = b.beginKept(c.client, t, &one[0], d.qos, d.retain)
		return d.id != 0
	default:
		d.id = se.Begin(d.qos)
	}
	return true
}

// tooLarge reports whether the client does not accept a packet of this size
// [MQTT-3.1.2-24].
func (c *conn) tooLarge(d *publishParts) bool {
	return c.maxPacket > 0 && d.total() > c.maxPacket
}

// sendParts appends a PUBLISH to the output.
func (c *conn) sendParts(d publishParts) {
	n := d.total()
	ch := c.out.tail(&c.srv.pool, n)
	ch.b, _ = appendPublish(ch.b, d)
	c.out.bytes += n
}

// queueRun makes messages wait in the session. QoS 0 messages do not wait for
// a client that is away. What waits there may wait for long: then it gets
// memory of its own.
func (b *burst) queueRun(cl *client, t *target, run []inPublish, qos byte, retain bool) {
	if qos == 0 {
		b.drops[dropOffline] += len(run)
		return
	}
	soon := cl.conn != nil && !cl.conn.out.stalled && !cl.conn.closing()
	for i := range run {
		m := b.message(&run[i], soon)
		if !cl.session.Push(session.Delivery{Message: m, IDs: t.ids, QoS: qos, Retain: retain}) {
			b.drops[dropQueueFull]++
		}
	}
}

// refillMark is how much output a writer gets at a time of what waits in the
// session.
const refillMark = 256 << 10

// refill moves what waits in the session to the output, as far as the client's
// window allows. The client's mutex is held.
func (c *conn) refill() {
	se := &c.client.session
	if se.Waiting() == 0 {
		return
	}
	var sent [3]int
	t := now()
	for c.out.bytes < refillMark {
		d, expired, ok := se.Next(t)
		c.srv.counts.drop(dropExpired, expired)
		if !ok {
			break
		}
		if c.sendDelivery(&d, t) {
			sent[d.QoS]++
		}
	}
	c.srv.counts.sent(&sent)
}

// sendDelivery sends what the session has given out.
func (c *conn) sendDelivery(d *session.Delivery, t int64) bool {
	if d.Release {
		c.ack(packet.TypePubrel, d.ID, packet.Success)
		return false
	}
	p := parts(d, family(c.version))
	if c.tooLarge(&p) {
		c.srv.counts.drop(dropTooLarge, 1)
		c.giveUp(d)
		return false
	}
	c.sendParts(p)
	if left, ok := d.Message.Remaining(t); ok && p.family == 1 {
		// The interval that is left [MQTT-3.3.2-6] is written over the one that
		// was received, in the copy just made.
		out := c.out.chunks[len(c.out.chunks)-1].b
		at := len(out) - len(p.payload) - len(p.props) + int(d.Message.ExpiryAt)
		binary.BigEndian.PutUint32(out[at:], left)
	}
	return true
}

// giveUp ends a delivery that cannot be sent as if it had been acknowledged
// [MQTT-3.1.2-25].
func (c *conn) giveUp(d *session.Delivery) {
	se := &c.client.session
	switch d.QoS {
	case 1:
		se.Ack(d.ID)
	case 2:
		se.Rec(d.ID, true)
	}
}
