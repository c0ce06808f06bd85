package broker

import (
	"hash/maphash"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/broker/session"
)

// publish takes in a PUBLISH; it takes effect when the burst is flushed. at is
// where the packet begins in the read buffer.
func (c *conn) publish(b *burst, first byte, body []byte, at int) error {
	p := &b.publish
	if err := p.Decode(c.version, first, body); err != nil {
		return err
	}
	if p.Properties.Present != 0 {
		if err := p.FromClient(); err != nil {
			return err
		}
	}
	in := inPublish{at: at, id: p.ID, qos: p.QoS, retain: p.Retain}
	raw := b.buf[at:b.r:b.r]
	head := len(raw) - len(body)
	if head != 1+varintSize(len(body)) || p.Properties.Has(packet.PropTopicAlias) {
		if err := c.resolveAlias(b, p); err != nil {
			return err
		}
		raw = b.writeAnew(p, c.version, len(raw))
		head, in.at = headSize(raw), -1
	}
	in.raw = raw
	in.topicEnd = head + 2 + len(p.Topic)
	in.payload = len(raw) - len(p.Payload)
	in.props = in.payload
	if c.version >= packet.V5 {
		in.findProps()
		in.expires = p.Properties.Has(packet.PropMessageExpiry)
	}
	in.route = c.route(p.Topic)
	return c.admit(b, &in, p.Dup)
}

// headSize returns how many bytes the type and the remaining length take.
func headSize(raw []byte) int {
	i := 1
	for raw[i] >= 0x80 {
		i++
	}
	return i + 1
}

// findProps sets where the properties begin, behind their length.
func (p *inPublish) findProps() {
	i := p.topicEnd
	if p.qos > 0 {
		i += 2
	}
	for p.raw[i] >= 0x80 {
		i++
	}
	p.props = i + 1
}

// resolveAlias puts the topic in the place of its alias, or notes a new alias
// [MQTT-3.3.2-12].
func (c *conn) resolveAlias(b *burst, p *packet.Publish) error {
	if !p.Properties.Has(packet.PropTopicAlias) {
		return nil
	}
	alias := int(p.Properties.TopicAlias)
	if alias > maxAliases { // [MQTT-3.3.2-9]
		return &packet.Error{Reason: packet.TopicAliasInvalid, Clause: "MQTT-3.3.2-9", Detail: "topic alias above the maximum"}
	}
	p.Properties.Remove(packet.PropTopicAlias)
	if len(p.Topic) > 0 {
		for len(c.aliases) < alias {
			c.aliases = append(c.aliases, "")
		}
		if c.aliases[alias-1] != string(p.Topic) {
			c.aliases[alias-1] = string(p.Topic)
		}
		return nil
	}
	if alias > len(c.aliases) || c.aliases[alias-1] == "" {
		return &packet.Error{Reason: packet.ProtocolError, Clause: "MQTT 5.0 3.3.2.3.4", Detail: "topic alias that was not set"}
	}
	b.topic = append(b.topic[:0], c.aliases[alias-1]...)
	p.Topic = b.topic
	return nil
}

// maxAliases is the Topic Alias Maximum that 5.0 clients are told.
const maxAliases = 64

// writeAnew writes a packet that cannot be passed on as it was received, which
// was in size bytes.
func (b *burst) writeAnew(p *packet.Publish, v packet.Version, size int) []byte {
	b.reserve(size + len(p.Topic))
	at := len(b.side)
	b.side = p.AppendTo(b.side, v)
	return b.side[at:len(b.side):len(b.side)]
}

// admit decides what becomes of a PUBLISH and puts it into the burst.
func (c *conn) admit(b *burst, in *inPublish, dup bool) error {
	if in.qos > 0 {
		if err := c.admitAcked(b, in, dup); err != nil {
			return err
		}
	}
	if in.route.refused && in.verdict == accepted {
		in.verdict = refused
	}
	if in.isWanted() {
		b.wanted++
		if in.qos > 0 && in.waitsForDelivery() {
			b.awaits++
		}
	}
	b.pubs = append(b.pubs, *in)
	if len(b.pubs) == maxPublishes || b.waits >= c.srv.o.ReceiveMaximum {
		return c.flush(b)
	}
	return nil
}

// admitAcked is admit for QoS 1 and 2: it finds resends, and clients that send
// more than they may.
func (c *conn) admitAcked(b *burst, in *inPublish, dup bool) error {
	waits := in.waitsForStored()
	var err error
	if in.qos == 2 {
		err = c.receive(b, in)
	} else if waits {
		in.hash = c.srv.hash(in)
		if dup {
			err = c.join(b, in)
		}
	}
	if err != nil || in.verdict == resent {
		return err
	}
	if waits {
		b.waits++
	}
	b.unacked++
	if b.unacked > c.srv.o.ReceiveMaximum && c.version >= packet.V5 { // [MQTT-3.3.4-9]
		return &packet.Error{
			Reason: packet.ReceiveMaximumExceeded, Clause: "MQTT-3.3.4-9",
			Detail: "more unacknowledged messages than the receive maximum",
		}
	}
	return nil
}

// receive finds out whether a QoS 2 PUBLISH is the resend of one that was
// accepted: then nothing is appended, and it waits for the offset of the first
// (C11). A new one is noted.
func (c *conn) receive(b *burst, in *inPublish) error {
	r, known := c.noteReceived(in.id)
	if known && len(b.pubs) > 0 {
		// The first may be in this burst, its fate not known yet.
		if err := c.flush(b); err != nil {
			return err
		}
		r, known = c.noteReceived(in.id)
	}
	if known {
		in.verdict, in.offset = resent, r.Offset
	}
	return nil
}

func (c *conn) noteReceived(id uint16) (r session.Receipt, known bool) {
	cl := c.client
	cl.mu.Lock()
	defer cl.mu.Unlock()
	r, known = cl.session.Inbound.Receive(id)
	if !known {
		cl.session.Inbound.Accept(id, session.Receipt{})
	}
	return r, known
}

// join finds out whether a QoS 1 PUBLISH with DUP repeats one whose PUBACK was
// not sent: same identifier, topic and payload (C11).
func (c *conn) join(b *burst, in *inPublish) error {
	if err := c.flush(b); err != nil { // the first may be in this burst
		return err
	}
	cl := c.client
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.session.Acks.Knows(in.id, in.hash) {
		in.verdict = resent
	}
	return nil
}

// hash is what a resend is known by.
func (s *Server) hash(in *inPublish) uint64 {
	return maphash.String(s.seed, in.route.topic) ^ maphash.Bytes(s.seed, in.raw[in.payload:])
}

// stored is the journal's watermark.
func (s *Server) stored() uint64 {
	if s.o.Intake == nil {
		return 0
	}
	return s.o.Intake.Stored()
}
