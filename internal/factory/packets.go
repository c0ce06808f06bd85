package factory

import (
	"fmt"
	"io"
	"time"

	"github.com/penstock/penstock/broker/packet"
)

// connect sends CONNECT and waits for CONNACK.
func (d *Device) connect() error {
	o := &d.options
	c := packet.Connect{
		Version: o.Version, CleanStart: o.Clean, KeepAlive: 60, ClientID: []byte(o.ClientID),
		HasUserName: o.User != "", UserName: []byte(o.User), HasPassword: o.Password != "", Password: []byte(o.Password),
	}
	if o.Version == packet.V5 && !o.Clean {
		c.Properties.SessionExpiry = 3600
		c.Properties.Add(packet.PropSessionExpiry)
	}
	d.out = c.AppendTo(d.out, o.Version)
	if err := d.flush(); err != nil {
		return err
	}
	return d.awaitConnack()
}

func (d *Device) awaitConnack() error {
	if err := d.conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	var header [2]byte // a CONNACK is shorter than 128 bytes unless it carries much text
	if _, err := io.ReadFull(d.conn, header[:]); err != nil {
		return err
	}
	body := make([]byte, header[1])
	if _, err := io.ReadFull(d.conn, body); err != nil {
		return err
	}
	var ack packet.Connack
	if err := ack.Decode(d.options.Version, header[0], body); err != nil {
		return fmt.Errorf("read CONNACK: %w", err)
	}
	if ack.Reason != packet.Success {
		return &RefusedError{Code: byte(ack.Reason)}
	}
	if ack.Properties.Has(packet.PropReceiveMaximum) {
		d.options.Window = min(d.options.Window, int(ack.Properties.ReceiveMaximum))
	}
	d.resumed = ack.SessionPresent
	return nil
}

// resend puts everything unacknowledged on the new connection again, in order
// [MQTT-4.4.0-1]. Where the broker has no session, what it had received is
// done, and the rest is published anew.
func (d *Device) resend() {
	kept := d.pending[:0]
	for _, p := range d.pending {
		switch {
		case p.released && !d.resumed:
			d.counters.Acked.Add(1)
			continue
		case p.released:
			d.out = packet.AppendAck(d.out, packet.TypePubrel, p.id)
		default:
			d.counters.Resent.Add(1)
			d.publish(&p, d.resumed)
		}
		kept = append(kept, p)
	}
	d.pending = kept
}

func (d *Device) publish(p *publish, dup bool) {
	d.topic = append(d.topic[:0], p.message.Topic...)
	d.encoder = packet.Publish{Dup: dup && d.options.QoS > 0, QoS: d.options.QoS, Topic: d.topic, ID: p.id, Payload: p.message.Payload}
	d.out = d.encoder.AppendTo(d.out, d.options.Version)
}

// fillBytes bounds what one write carries.
const fillBytes = 64 << 10

// fill takes messages from the source while the window has room, and returns
// how long to wait for the next one (0: as long as it takes).
func (d *Device) fill() time.Duration {
	for !d.dry && len(d.pending) < d.options.Window && len(d.out) < fillBytes {
		m, wait, ok := d.source()
		if !ok {
			d.dry = wait == 0
			return wait
		}
		d.send(m)
	}
	if d.options.QoS == 0 && !d.dry {
		return time.Microsecond // nothing to wait for but the socket
	}
	return 0
}

func (d *Device) send(m Message) {
	p := publish{message: m}
	d.counters.Sent.Add(1)
	if d.options.QoS == 0 {
		d.publish(&p, false)
		d.counters.Acked.Add(1)
		return
	}
	p.id = d.nextID()
	d.publish(&p, false)
	d.pending = append(d.pending, p)
}

// nextID returns the packet identifier after the last one; the window is far
// smaller than their number and acknowledgements come in order, so it is free.
func (d *Device) nextID() uint16 {
	d.lastID++
	if d.lastID == 0 {
		d.lastID = 1
	}
	return d.lastID
}

// handle takes one packet from the broker.
func (d *Device) handle(first byte, body []byte) error {
	v := d.options.Version
	switch t := packet.TypeOf(first); t {
	case packet.TypePuback:
		var ack packet.Puback
		if err := ack.Decode(v, first, body); err != nil {
			return err
		}
		d.done(ack.ID, ack.Reason)
	case packet.TypePubrec:
		var ack packet.Pubrec
		if err := ack.Decode(v, first, body); err != nil {
			return err
		}
		d.received(ack.ID, ack.Reason)
	case packet.TypePubcomp:
		var ack packet.Pubcomp
		if err := ack.Decode(v, first, body); err != nil {
			return err
		}
		d.done(ack.ID, packet.Success)
	case packet.TypeDisconnect:
		return io.EOF
	default:
		return fmt.Errorf("unexpected %v", t)
	}
	return nil
}

// received handles a PUBREC: the message is the broker's, release it.
func (d *Device) received(id uint16, reason packet.ReasonCode) {
	if reason.IsError() {
		d.done(id, reason)
		return
	}
	d.out = packet.AppendAck(d.out, packet.TypePubrel, id)
	for i := range d.pending {
		if d.pending[i].id == id {
			d.pending[i].released = true
			return
		}
	}
}

// done takes a message off the pending list; it is the first one unless the
// broker acknowledges out of order.
func (d *Device) done(id uint16, reason packet.ReasonCode) {
	for i := range d.pending {
		if d.pending[i].id != id {
			continue
		}
		d.count(reason)
		if i == 0 {
			d.pending = d.pending[1:]
		} else {
			d.pending = append(d.pending[:i], d.pending[i+1:]...)
		}
		return
	}
}

func (d *Device) count(reason packet.ReasonCode) {
	if reason.IsError() {
		d.counters.Refused.Add(1)
		return
	}
	d.counters.Acked.Add(1)
}

func (d *Device) disconnect() error {
	d.out = (&packet.Disconnect{}).AppendTo(d.out, d.options.Version)
	return d.flush()
}
