package broker

import (
	"errors"
	"io"

	"github.com/penstock/penstock/broker/packet"
)

// serve handles every complete packet that has been read. grown says that the
// stack may have grown beyond what an idle connection needs.
func (c *conn) serve() (grown bool, err error) {
	b := c.burst
	if b == nil {
		return false, nil
	}
	c.begin(b)
	for err == nil {
		var first byte
		var body []byte
		var n int
		first, body, n, err = packet.Next(b.buf[b.r:b.w], c.srv.o.MaxPacket)
		if err != nil || n == 0 {
			break
		}
		at := b.r
		b.r += n
		switch packet.TypeOf(first) {
		case packet.TypePublish:
			err = c.publish(b, first, body, at)
		case packet.TypePuback, packet.TypePubrec, packet.TypePubrel, packet.TypePubcomp:
			err = c.takeAck(b, first, body)
		case packet.TypePingreq:
			err = c.pingreq(first, body)
		default:
			grown = true
			err = c.control(b, first, body)
		}
	}
	return grown, errors.Join(c.flush(b), err)
}

// begin makes the burst the connection's.
func (c *conn) begin(b *burst) {
	b.from, b.client, b.user = c.client, c.client.id, c.user
	b.family, b.now = family(c.version), now()
	c.countOwed(b)
	if c.srv.o.Intake != nil {
		b.rules = c.srv.o.Intake.Generation()
		c.routes.follow(b.rules)
	}
}

// countOwed reads how many acknowledgements the client has still to get.
func (c *conn) countOwed(b *burst) {
	cl := c.client
	cl.mu.Lock()
	b.unacked = cl.session.Acks.PubAcks() + cl.session.Inbound.Len()
	b.waits = cl.session.Acks.Len()
	cl.mu.Unlock()
}

// control handles the packets that are rare. What came before them takes
// effect first.
func (c *conn) control(b *burst, first byte, body []byte) error {
	if err := c.flush(b); err != nil {
		return err
	}
	switch t := packet.TypeOf(first); t {
	case packet.TypeSubscribe:
		return c.subscribe(b, first, body)
	case packet.TypeUnsubscribe:
		return c.unsubscribe(first, body)
	case packet.TypeDisconnect:
		return c.disconnect(first, body)
	default:
		// A second CONNECT [MQTT-3.1.0-2], AUTH without enhanced
		// authentication [MQTT-4.12.0-6], or a packet only servers send.
		return &packet.Error{Reason: packet.ProtocolError, Clause: "MQTT-3.1.0-2", Detail: t.String() + " from a connected client"}
	}
}

func (c *conn) pingreq(first byte, body []byte) error {
	var ping packet.Pingreq
	if err := ping.Decode(c.version, first, body); err != nil {
		return err
	}
	mu := &c.client.mu
	mu.Lock()
	ch := c.out.tail(&c.srv.pool, 2)
	ch.b = append(ch.b, byte(packet.TypePingresp)<<4, 0) // [MQTT-3.12.4-1]
	c.out.bytes += 2
	mu.Unlock()
	return nil
}

// errGoodbye ends the connection after a DISCONNECT.
var errGoodbye = errors.New("the client disconnected")

// disconnect ends the connection as the client wishes: without its will
// [MQTT-3.14.4-3], unless it asks for that.
func (c *conn) disconnect(first byte, body []byte) error {
	var d packet.Disconnect
	if err := d.Decode(c.version, first, body); err != nil {
		return err
	}
	if err := d.FromClient(); err != nil {
		return err
	}
	if d.Properties.Has(packet.PropSessionExpiry) {
		if err := c.changeExpiry(d.Properties.SessionExpiry); err != nil {
			return err
		}
	}
	if d.Reason == packet.Success {
		c.will = nil
	}
	return errors.Join(errGoodbye, io.EOF)
}

func (c *conn) changeExpiry(seconds uint32) error {
	cl := c.client
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.session.Expiry == 0 && seconds != 0 {
		return &packet.Error{Reason: packet.ProtocolError, Clause: "MQTT-3.14.2-2", Detail: "session expiry set by DISCONNECT"}
	}
	cl.session.Expiry = seconds
	return nil
}

// takeAck notes a PUBACK, PUBREC, PUBREL or PUBCOMP; the burst's flush handles
// all of them under one lock.
func (c *conn) takeAck(b *burst, first byte, body []byte) error {
	t := packet.TypeOf(first)
	if len(body) == 2 && first&^8 == byte(t)<<4|first&2 { // nearly always: success, no properties
		if id := uint16(body[0])<<8 | uint16(body[1]); id != 0 {
			b.acks = append(b.acks, subAck{id: id, kind: t})
			return nil
		}
	}
	a := &b.puback
	var err error
	switch t {
	case packet.TypePuback:
		err = a.Decode(c.version, first, body)
	case packet.TypePubrec:
		err = (*packet.Pubrec)(a).Decode(c.version, first, body)
	case packet.TypePubrel:
		err = (*packet.Pubrel)(a).Decode(c.version, first, body)
	default:
		err = (*packet.Pubcomp)(a).Decode(c.version, first, body)
	}
	if err == nil {
		b.acks = append(b.acks, subAck{id: a.ID, kind: t, failed: a.Reason.IsError()})
	}
	return err
}

// takeAcks applies the acknowledgements and sends what they made room for. The
// client's mutex is held.
func (c *conn) takeAcks(b *burst) {
	se := &c.client.session
	for _, a := range b.acks {
		switch a.kind {
		case packet.TypePuback:
			se.Ack(a.id)
		case packet.TypePubcomp:
			se.Comp(a.id)
		case packet.TypePubrel:
			c.pubrel(a.id)
		default:
			c.takeRec(a)
		}
	}
	b.acks = b.acks[:0]
	c.refill()
	c.moved()
}

// takeRec answers a PUBREC with PUBREL [MQTT-4.3.3-4], unless it refuses the
// message.
func (c *conn) takeRec(a subAck) {
	switch known := c.client.session.Rec(a.id, a.failed); {
	case !known:
		c.ack(packet.TypePubrel, a.id, packet.PacketIdentifierNotFound)
	case !a.failed:
		c.ack(packet.TypePubrel, a.id, packet.Success)
	}
}
