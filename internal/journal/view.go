package journal

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/penstock/penstock/internal/message"
)

// A Frame is a stored entry as it lies in the journal: a view into an
// immutable block, valid for as long as somebody holds it.
type Frame struct {
	b       []byte
	journal uint64
}

// Offset returns the entry's place in the journal.
func (f Frame) Offset() uint64 { return frameOffset(f.b) }

// Size returns the bytes the frame takes.
func (f Frame) Size() int { return len(f.b) }

// ID returns the message's id.
func (f Frame) ID() message.ID {
	return message.ID{Journal: f.journal, Epoch: frameEpoch(f.b), Offset: frameOffset(f.b)}
}

// Rules appends the numbers of the rules that want the message, without
// decoding more.
func (f Frame) Rules(dst []uint32) []uint32 {
	for rest := f.b[frameHead:]; ; {
		k, body, next, ok := nextSection(rest)
		if !ok {
			return dst
		}
		if k == secRules {
			for ; len(body) >= 4; body = body[4:] {
				dst = append(dst, le.Uint32(body))
			}
			return dst
		}
		rest = next
	}
}

// HasMessage reports whether the entry has a message; if not, it is a change
// of state only.
func (f Frame) HasMessage() bool { return frameKind(f.b) == kindMessage }

// RetainedSet reports whether the message became the retained one of its topic.
func (f Frame) RetainedSet() bool {
	k, body, _, ok := nextSection(f.b[frameHead:])
	return ok && k == secMeta && len(body) >= metaSize && f.HasMessage() && body[8]&metaRetainedSet != 0
}

// Deliveries appends the durable sessions that must get the message, with
// their queue positions, without decoding more.
func (f Frame) Deliveries(dst []Delivery) []Delivery {
	body, _ := f.section(secDeliveries)
	for ; len(body) >= deliverySize; body = body[deliverySize:] {
		dst = append(dst, Delivery{le.Uint32(body), le.Uint64(body[4:])})
	}
	return dst
}

// Change returns the change of state that goes with the entry; false for none.
func (f Frame) Change() ([]byte, bool) { return f.section(secChange) }

// section returns the first section of a kind.
func (f Frame) section(want byte) ([]byte, bool) {
	for rest := f.b[frameHead:]; ; {
		k, body, next, ok := nextSection(rest)
		if !ok || k == want {
			return body, ok
		}
		rest = next
	}
}

// PacketID returns the publisher's packet id, 0 when it was not QoS 2.
func (f Frame) PacketID() uint16 {
	for rest := f.b[frameHead:]; ; {
		k, body, next, ok := nextSection(rest)
		if !ok {
			return 0
		}
		if k == secMeta && len(body) >= metaSize {
			return le.Uint16(body[10:])
		}
		rest = next
	}
}

// Message decodes the frame into m, whose text and bytes are views into the
// journal's immutable block. It allocates nothing but room for user
// properties, and reuses what m had of that.
func (f Frame) Message(m *message.Message) error {
	users := m.Properties.UserProperties[:0]
	*m = message.Message{ID: f.ID()}
	m.Properties.UserProperties = users
	rest := f.b[frameHead:]
	for len(rest) > 0 {
		k, body, next, ok := nextSection(rest)
		if !ok || !setSection(m, k, body) {
			return fmt.Errorf("decode offset %d: %w", f.Offset(), errMalformed)
		}
		rest = next
	}
	return nil
}

// setSection puts one section into m; it reports whether the section is sound.
func setSection(m *message.Message, k byte, body []byte) bool {
	switch k {
	case secMeta:
		return setMeta(m, body)
	case secClient:
		m.Client = view(body)
	case secUser:
		m.User = view(body)
	case secTopic:
		m.Topic = view(body)
	case secSource:
		m.Source = view(body)
	case secPayload:
		m.Payload = body
	case secProperties:
		return setProperties(&m.Properties, body)
	}
	return true
}

func setMeta(m *message.Message, body []byte) bool {
	if len(body) < metaSize {
		return false
	}
	m.Received = int64(le.Uint64(body))
	m.QoS, m.Retain, m.Hops = body[8]&3, body[8]&metaRetain != 0, body[9]
	return true
}

func setProperties(p *message.Properties, rest []byte) bool {
	for len(rest) > 0 {
		k, body, next, ok := nextSection(rest)
		if !ok || !setProperty(p, k, body) {
			return false
		}
		rest = next
	}
	return true
}

func setProperty(p *message.Properties, k byte, body []byte) bool {
	switch k {
	case propFormat:
		if len(body) != 1 {
			return false
		}
		p.PayloadFormat, p.HasPayloadFormat = body[0], true
	case propExpiry:
		if len(body) != 4 {
			return false
		}
		p.MessageExpiry, p.HasMessageExpiry = le.Uint32(body), true
	case propContentType:
		p.ContentType = view(body)
	case propResponse:
		p.ResponseTopic = view(body)
	case propCorrelation:
		p.CorrelationData = body
	case propUser:
		n, w := binary.Uvarint(body)
		if w <= 0 || n > uint64(len(body)-w) {
			return false
		}
		name, value := body[w:w+int(n)], body[w+int(n):]
		p.UserProperties = append(p.UserProperties, message.UserProperty{Name: view(name), Value: view(value)})
	}
	return true
}

// view is the text of b without a copy: blocks never change.
func view(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // b is a part of an immutable block
}
