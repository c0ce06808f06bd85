package session

import (
	"encoding/binary"
	"strings"
)

// A Message is a publication that is kept: for sessions that have to get it
// later or again, as a retained message, or as a will. It is immutable and
// shared by all that keep it.
type Message struct {
	Topic   string
	Payload []byte
	// Properties are the encoded MQTT 5.0 properties that are forwarded
	// unchanged, without their length: no topic alias, no subscription
	// identifier.
	Properties []byte
	ExpiryAt   int32 // index in Properties of the Message Expiry Interval's value; below 0: none
	QoS        byte  // as published
	Retain     bool  // as published
	Chunked    bool  // the bytes lie in a chunk that also holds other messages
	Arrived    int64 // Unix milliseconds
}

// messageOverhead is what a kept message costs beside its bytes.
const messageOverhead = 160

// Size is what the message counts against byte bounds.
func (m *Message) Size() int {
	return len(m.Topic) + len(m.Payload) + len(m.Properties) + messageOverhead
}

// Expired reports whether the Message Expiry Interval has passed
// [MQTT-3.3.2-5]. now is Unix milliseconds.
func (m *Message) Expired(now int64) bool {
	return m.ExpiryAt >= 0 && now-m.Arrived >= 1000*int64(m.interval())
}

// Remaining returns the Message Expiry Interval to send, in seconds: the
// received one less the time the message has waited [MQTT-3.3.2-6], at least 1
// since a message that is sent has not expired. ok is false without one.
func (m *Message) Remaining(now int64) (seconds uint32, ok bool) {
	if m.ExpiryAt < 0 {
		return 0, false
	}
	left := int64(m.interval()) - max(0, now-m.Arrived)/1000
	return uint32(max(1, left)), true
}

func (m *Message) interval() uint32 {
	return binary.BigEndian.Uint32(m.Properties[m.ExpiryAt:])
}

// Alone returns the message in memory of its own, so that keeping it for long
// does not keep a chunk full of other messages.
func (m *Message) Alone() *Message {
	if !m.Chunked {
		return m
	}
	own := *m
	bytes := make([]byte, 0, len(m.Payload)+len(m.Properties))
	bytes = append(bytes, m.Payload...)
	own.Payload = bytes[:len(m.Payload):len(m.Payload)]
	bytes = append(bytes, m.Properties...)
	own.Properties = bytes[len(m.Payload):]
	own.Topic = strings.Clone(m.Topic)
	own.Chunked = false
	return &own
}

// A Delivery is one message on its way to one session.
type Delivery struct {
	Message *Message
	IDs     []uint32 // subscription identifiers of the subscriptions that matched
	QoS     byte     // the lower of the publisher's and the subscription's
	Retain  bool     // the flag to send
	Dup     bool     // sent before on another connection [MQTT-3.3.1-1]
	Release bool     // not the PUBLISH but its PUBREL is to be sent
	ID      uint16   // packet identifier, 0 until it is sent
}
