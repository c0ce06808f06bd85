package journal

import (
	"encoding/binary"

	"github.com/penstock/penstock/internal/message"
)

// An Entry is one message and what the journal keeps with it, or a change of
// state that comes without a message: one frame, so that they cannot be torn
// apart (C1).
type Entry struct {
	Message  *message.Message // nil: only Deliveries and Change
	Rules    []uint32         // numbers of the rules that want it
	PacketID uint16           // the publisher's, for QoS 2
	// Deliveries are the durable sessions that must get the message.
	Deliveries []Delivery
	// Change is a change of the state outside the journal, in that state's own
	// words. nil: none.
	Change []byte
	// RetainedSet: the message becomes the retained one of its topic.
	RetainedSet bool
	// NoWait: nobody waits for the sync (C8), so that it may wait a moment for
	// company.
	NoWait bool
	// Frees: the entry frees space sooner or later, as an acknowledgement does.
	// When all entries of an Append do, they may use the tenth of the bound that
	// is kept for this (C7).
	Frees bool
}

// A Delivery is a message's place in the queue of a durable session.
type Delivery struct {
	Session  uint32
	Position uint64
}

// Sections of a message frame. What the journal itself looks at comes first:
// meta, rules, deliveries, change; then the others in order.
const (
	secMeta       = 1 // received (8), flags (1), hops (1), packet id (2)
	secRules      = 2 // 4 bytes each
	secClient     = 3
	secUser       = 4
	secTopic      = 5
	secSource     = 6
	secProperties = 7 // sections of its own
	secPayload    = 8
	secDeliveries = 9 // session (4), position (8), each
	secChange     = 10
)

// The flags of meta; the two bits below are the QoS.
const (
	metaRetain      = 1 << 2
	metaRetainedSet = 1 << 3
)

const deliverySize = 12

const metaSize = 12

// Sections of the properties.
const (
	propFormat      = 1
	propExpiry      = 2
	propContentType = 3
	propResponse    = 4
	propCorrelation = 5
	propUser        = 6 // length of the name, name, value
)

// sizeOf is the exact size of the entry's frame.
func (e *Entry) sizeOf() int {
	m := e.Message
	if m == nil {
		return frameHead + e.stateSize()
	}
	n := frameHead + 2 + metaSize + sectionSize(4*len(e.Rules)) + e.stateSize() + sectionSize(len(m.Client)) +
		sectionSize(len(m.User)) + sectionSize(len(m.Topic)) + sectionSize(len(m.Source)) +
		sectionSize(len(m.Payload))
	if !m.Properties.IsZero() {
		n += sectionSize(propertiesSize(&m.Properties))
	}
	return n
}

// stateSize is what the state that goes with a message takes.
func (e *Entry) stateSize() int {
	n := sectionSize(deliverySize * len(e.Deliveries))
	if e.Change != nil {
		n += 1 + uvarintSize(uint64(len(e.Change))) + len(e.Change)
	}
	return n
}

// kind is the kind of the entry's frame.
func (e *Entry) kind() kind {
	if e.Message == nil {
		return kindChange
	}
	return kindMessage
}

// fill writes the sections of the entry behind b, in memory that has room for
// just them. m.Received is set.
func (e *Entry) fill(b []byte) {
	m := e.Message
	if m == nil {
		_ = e.appendState(b)
		return
	}
	b = append(b, secMeta, metaSize)
	b = le.AppendUint64(b, uint64(m.Received))
	b = append(b, e.metaFlags(), m.Hops)
	b = le.AppendUint16(b, e.PacketID)
	b = appendRules(b, e.Rules)
	b = e.appendState(b)
	b = appendSection(b, secClient, m.Client)
	b = appendSection(b, secUser, m.User)
	b = appendSection(b, secTopic, m.Topic)
	b = appendSection(b, secSource, m.Source)
	if !m.Properties.IsZero() {
		b = append(b, secProperties)
		b = binary.AppendUvarint(b, uint64(propertiesSize(&m.Properties)))
		b = appendProperties(b, &m.Properties)
	}
	if len(m.Payload) > 0 {
		_ = appendSectionBytes(b, secPayload, m.Payload)
	}
}

func (e *Entry) metaFlags() byte {
	f := e.Message.QoS & 3
	if e.Message.Retain {
		f |= metaRetain
	}
	if e.RetainedSet {
		f |= metaRetainedSet
	}
	return f
}

func (e *Entry) appendState(b []byte) []byte {
	if len(e.Deliveries) > 0 {
		b = append(b, secDeliveries)
		b = binary.AppendUvarint(b, uint64(deliverySize*len(e.Deliveries)))
		for _, d := range e.Deliveries {
			b = le.AppendUint32(b, d.Session)
			b = le.AppendUint64(b, d.Position)
		}
	}
	if e.Change != nil {
		b = appendSectionBytes(b, secChange, e.Change)
	}
	return b
}

func appendRules(b []byte, rules []uint32) []byte {
	if len(rules) == 0 {
		return b
	}
	b = append(b, secRules)
	b = binary.AppendUvarint(b, uint64(4*len(rules)))
	for _, r := range rules {
		b = le.AppendUint32(b, r)
	}
	return b
}

func propertiesSize(p *message.Properties) int {
	n := sectionSize(len(p.ContentType)) + sectionSize(len(p.ResponseTopic))
	if p.HasPayloadFormat {
		n += 3
	}
	if p.HasMessageExpiry {
		n += 6
	}
	if p.CorrelationData != nil {
		n += 1 + uvarintSize(uint64(len(p.CorrelationData))) + len(p.CorrelationData)
	}
	for i := range p.UserProperties {
		n += sectionSize(userSize(&p.UserProperties[i]))
	}
	return n
}

func userSize(u *message.UserProperty) int {
	return uvarintSize(uint64(len(u.Name))) + len(u.Name) + len(u.Value)
}

func appendProperties(b []byte, p *message.Properties) []byte {
	if p.HasPayloadFormat {
		b = append(b, propFormat, 1, p.PayloadFormat)
	}
	if p.HasMessageExpiry {
		b = append(b, propExpiry, 4)
		b = le.AppendUint32(b, p.MessageExpiry)
	}
	b = appendSection(b, propContentType, p.ContentType)
	b = appendSection(b, propResponse, p.ResponseTopic)
	if p.CorrelationData != nil {
		b = appendSectionBytes(b, propCorrelation, p.CorrelationData)
	}
	for i := range p.UserProperties {
		u := &p.UserProperties[i]
		b = append(b, propUser)
		b = binary.AppendUvarint(b, uint64(userSize(u)))
		b = binary.AppendUvarint(b, uint64(len(u.Name)))
		b = append(b, u.Name...)
		b = append(b, u.Value...)
	}
	return b
}
