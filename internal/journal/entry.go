package journal

import (
	"encoding/binary"

	"github.com/penstock/penstock/internal/message"
)

// An Entry is one message and what the journal keeps with it (C1).
type Entry struct {
	Message  *message.Message
	Rules    []uint32 // numbers of the rules that want it
	PacketID uint16   // the publisher's, for QoS 2
	// NoWait: nobody waits for the sync (C8), so that it may wait a moment for
	// company.
	NoWait bool
}

// Sections of a message frame, in the order they are written.
const (
	secMeta       = 1 // received (8), QoS and retain (1), hops (1), packet id (2)
	secRules      = 2 // 4 bytes each
	secClient     = 3
	secUser       = 4
	secTopic      = 5
	secSource     = 6
	secProperties = 7 // sections of its own
	secPayload    = 8
)

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
	n := frameHead + 2 + metaSize + sectionSize(4*len(e.Rules)) + sectionSize(len(m.Client)) +
		sectionSize(len(m.User)) + sectionSize(len(m.Topic)) + sectionSize(len(m.Source)) +
		sectionSize(len(m.Payload))
	if !m.Properties.IsZero() {
		n += sectionSize(propertiesSize(&m.Properties))
	}
	return n
}

// appendTo appends the sections of the entry. m.Received is set.
func (e *Entry) appendTo(b []byte) []byte {
	m := e.Message
	b = append(b, secMeta, metaSize)
	b = le.AppendUint64(b, uint64(m.Received))
	b = append(b, metaFlags(m), m.Hops)
	b = le.AppendUint16(b, e.PacketID)
	b = appendRules(b, e.Rules)
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
		b = appendSectionBytes(b, secPayload, m.Payload)
	}
	return b
}

func metaFlags(m *message.Message) byte {
	f := m.QoS & 3
	if m.Retain {
		f |= 4
	}
	return f
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
