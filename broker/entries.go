package broker

import (
	"unsafe"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// makeEntries makes the journal entries of what a rule wants. Their text and
// bytes are views into the burst, which Append copies.
func (b *burst) makeEntries(pubs []inPublish) {
	if cap(b.logged) < len(pubs) {
		b.logged = make([]message.Message, 0, max(len(pubs), maxPublishes))
		b.entries = make([]journal.Entry, 0, max(len(pubs), maxPublishes))
	}
	b.entries, b.logged, b.users = b.entries[:0], b.logged[:0], b.users[:0]
	for i := range pubs {
		p := &pubs[i]
		if !p.isWanted() {
			continue
		}
		b.logged = append(b.logged, message.Message{
			Client:  b.client,
			User:    b.user,
			Topic:   p.route.topic,
			QoS:     p.qos,
			Retain:  p.retain,
			Payload: p.raw[p.payload:],
		})
		m := &b.logged[len(b.logged)-1]
		e := journal.Entry{Message: m, Rules: p.route.rules, NoWait: p.qos == 0}
		if p.qos == 2 {
			e.PacketID = p.id
		}
		if b.family == 1 && p.props < p.payload {
			b.viewProperties(m, p)
		}
		b.entries = append(b.entries, e)
	}
}

// viewProperties decodes the packet's properties once more.
func (b *burst) viewProperties(m *message.Message, p *inPublish) {
	d := &b.publish
	if d.Decode(packet.V5, p.raw[0], p.raw[headSize(p.raw):]) != nil {
		panic("BUG: a packet that was decoded cannot be decoded")
	}
	q := &d.Properties
	out := &m.Properties
	out.HasPayloadFormat, out.PayloadFormat = q.Has(packet.PropPayloadFormat), q.PayloadFormat
	out.HasMessageExpiry, out.MessageExpiry = q.Has(packet.PropMessageExpiry), q.MessageExpiry
	out.ContentType, out.ResponseTopic = view(q.ContentType), view(q.ResponseTopic)
	if q.Has(packet.PropCorrelationData) {
		out.CorrelationData = q.CorrelationData
	}
	start := len(b.users)
	for name, value := range q.User.All() {
		b.users = append(b.users, message.UserProperty{Name: view(name), Value: view(value)})
	}
	out.UserProperties = b.users[start:len(b.users):len(b.users)]
}

// view is b as text, without a copy: it holds only as long as the burst does.
func view(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // the journal copies it before the buffer is read into again
}
