package broker

import (
	"encoding/binary"

	"github.com/penstock/penstock/broker/session"
)

// publishParts are what an outgoing PUBLISH is made of.
type publishParts struct {
	family  int // 0: 3.x, 1: 5.0
	qos     byte
	dup     bool
	retain  bool
	id      uint16
	topic   string
	ids     []uint32 // subscription identifiers
	props   []byte   // encoded, without their length
	payload []byte
}

// Identifiers of the properties the broker looks at, and 5.0's others by the
// shape of their value (MQTT 5.0 section 2.2.2.2).
const (
	propFormat         = 0x01 // one byte
	propExpiry         = 0x02 // four bytes
	propSubscriptionID = 0x0B // variable byte integer
	propTopicAlias     = 0x23 // two bytes
	propUser           = 0x26 // two strings
)

// size returns the packet's remaining length and the length of its properties.
func (p *publishParts) size() (remaining, props int) {
	remaining = 2 + len(p.topic) + len(p.payload)
	if p.qos > 0 {
		remaining += 2
	}
	if p.family == 1 {
		props = len(p.props)
		for _, id := range p.ids {
			props += 1 + varintSize(int(id))
		}
		remaining += varintSize(props) + props
	}
	return remaining, props
}

// total returns the size of the whole packet.
func (p *publishParts) total() int {
	remaining, _ := p.size()
	return 1 + varintSize(remaining) + remaining
}

// appendPublish appends a PUBLISH and returns where its packet identifier is.
func appendPublish(dst []byte, p publishParts) (_ []byte, idAt int) {
	remaining, props := p.size()
	first := byte(0x30) | p.qos<<1
	if p.dup {
		first |= 8
	}
	if p.retain {
		first |= 1
	}
	dst = appendVarint(append(dst, first), remaining)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(p.topic)))
	dst = append(dst, p.topic...)
	idAt = len(dst)
	if p.qos > 0 {
		dst = binary.BigEndian.AppendUint16(dst, p.id)
	}
	if p.family == 1 {
		dst = appendVarint(dst, props)
		for _, id := range p.ids {
			dst = appendVarint(append(dst, propSubscriptionID), int(id))
		}
		dst = append(dst, p.props...)
	}
	return append(dst, p.payload...), idAt
}

// parts returns how a delivery is sent.
func parts(d *session.Delivery, fam int) publishParts {
	return publishParts{
		family: fam, qos: d.QoS, dup: d.Dup, retain: d.Retain, id: d.ID,
		topic: d.Message.Topic, ids: d.IDs, props: d.Message.Properties, payload: d.Message.Payload,
	}
}

func varintSize(n int) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<14:
		return 2
	case n < 1<<21:
		return 3
	}
	return 4
}

func appendVarint(dst []byte, n int) []byte {
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}

// expiryIndex returns where the value of the Message Expiry Interval is in
// properties that have been decoded before; -1 without one.
func expiryIndex(props []byte) int {
	text := func(i int) int { return i + 2 + int(binary.BigEndian.Uint16(props[i:])) }
	for i := 0; i < len(props); {
		switch props[i] {
		case propExpiry:
			return i + 1
		case propFormat:
			i += 2
		case propTopicAlias:
			i += 3
		case propUser:
			i = text(text(i + 1))
		default:
			i = text(i + 1)
		}
	}
	return -1
}
