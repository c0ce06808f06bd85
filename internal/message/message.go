// Package message holds the values that cross packages: a Message is what
// comes in, a Record is what goes out, an Outcome is what the rules made of
// one message for one sink.
//
// All of them are immutable once handed on: their byte slices may point into
// a journal block or a read buffer that others read too.
package message

import "time"

// A Message is one MQTT PUBLISH, or one record of a source, as it came in.
type Message struct {
	ID       ID
	Received int64 // Unix milliseconds, never decreasing along the journal

	Client string // client identifier of the publisher
	User   string // user name it was admitted under, "" when anonymous
	Topic  string
	QoS    byte
	Retain bool

	Properties Properties
	Source     string // name of the source it came from, "" for a client
	Hops       uint8  // how many Penstocks republished it

	Payload []byte
}

// Time returns the time the message was received, in UTC.
func (m *Message) Time() time.Time { return time.UnixMilli(m.Received).UTC() }

// Properties are the MQTT 5.0 PUBLISH properties that travel with a message
// (MQTT 5.0 section 3.3.2.3). Zero values mean absent; HasX tells an absent
// number from a zero one.
type Properties struct {
	PayloadFormat    byte // 1 = UTF-8 text
	HasPayloadFormat bool
	MessageExpiry    uint32 // seconds
	HasMessageExpiry bool
	ContentType      string
	ResponseTopic    string
	CorrelationData  []byte
	UserProperties   []UserProperty
}

// IsZero reports whether no property is set.
func (p *Properties) IsZero() bool {
	return !p.HasPayloadFormat && !p.HasMessageExpiry && p.ContentType == "" &&
		p.ResponseTopic == "" && p.CorrelationData == nil && len(p.UserProperties) == 0
}

// A UserProperty is one name-value pair; names may repeat and order counts.
type UserProperty struct{ Name, Value string }

// AckLevel says what an acknowledgement waits for.
type AckLevel byte

// The levels, weakest first, so that the strongest of several is their maximum.
const (
	AckReceived  AckLevel = iota // accepted in memory
	AckStored                    // synced in the journal
	AckDelivered                 // every required output confirmed
)

// String returns the level as it is written in a rule.
func (l AckLevel) String() string {
	return [...]string{"received", "stored", "delivered"}[l]
}

// An Ack is what the acknowledgement of a message waits for, and for how long:
// with a Within, a publisher that can be told so is told after that time that
// its message is stored and not yet delivered (C13). Zero waits as long as it
// takes.
type Ack struct {
	Level  AckLevel
	Within time.Duration
}

// Max returns the stronger of two acks: the higher level, and at delivered the
// shorter time, of which zero is the longest.
func (a Ack) Max(b Ack) Ack {
	switch {
	case a.Level > b.Level:
		return a
	case b.Level > a.Level:
		return b
	case a.Within == 0 || b.Within != 0 && b.Within < a.Within:
		return b
	}
	return a
}
