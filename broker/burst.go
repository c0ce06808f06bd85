package broker

import (
	"time"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/broker/session"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// burstBytes is the size of a read buffer, and maxPublishes how many PUBLISH
// packets of it are handled together.
const (
	burstBytes   = 64 << 10
	maxPublishes = 512
)

// A burst is a read buffer with what handling its packets needs. A connection
// borrows one while there is something to read.
type burst struct {
	buf  []byte
	r, w int // buf[r:w] is not handled yet

	// The publisher.
	from   *client // nil for a will
	client string
	user   string
	family int
	now    int64  // Unix milliseconds, read once per burst
	rules  uint64 // generation of the rules in the routes

	pubs     []inPublish
	wanted   int  // of pubs, for the journal
	awaits   int  // of those, with an acknowledgement that waits for delivery
	unacked  int  // QoS 1 and 2 messages of the client without an acknowledgement
	unroomy  bool // something was refused for want of room
	acks     []subAck
	waits    int    // acknowledgements of the client that wait for the journal
	topic    []byte // behind an alias
	side     []byte // packets that had to be written anew
	forms    [shapes]form
	messages messageChunk

	logged  []message.Message // for the journal, beside entries
	entries []journal.Entry
	users   []message.UserProperty

	starts []*conn // writers to start
	slow   []*conn // subscribers to wait for
	sent   [3]int
	drops  [dropReasons]int

	publish packet.Publish
	puback  packet.Puback
	timer   *time.Timer
}

func newBurst() *burst {
	b := &burst{buf: make([]byte, burstBytes), timer: time.NewTimer(time.Hour)}
	b.timer.Stop()
	return b
}

// A verdict says what became of a received PUBLISH.
type verdict uint8

const (
	accepted verdict = iota
	refused          // to a topic clients may not publish to
	noRoom           // in the journal
	resent           // it was accepted before: only its acknowledgement is owed
)

// inPublish is a received PUBLISH. raw is the packet without a topic alias and
// with a remaining length of no more bytes than needed, so that it can be
// passed on as it is.
type inPublish struct {
	raw      []byte
	at       int // where raw begins in the read buffer; below 0: elsewhere
	topicEnd int // index in raw; the packet identifier follows at QoS 1 and 2
	props    int // index in raw of the properties without their length
	payload  int // index in raw
	route    *route
	shared   *session.Message // its copy for sessions that are going to send it soon
	alone    *session.Message // its copy for sessions that may keep it for long
	offset   uint64           // in the journal, when it was appended
	hash     uint64           // of topic and payload, when a resend has to be known by it
	id       uint16
	qos      byte
	retain   bool
	expires  bool // it has a Message Expiry Interval
	verdict  verdict
}

// subAck is an acknowledgement from the client as a subscriber.
type subAck struct {
	id     uint16
	kind   packet.Type
	failed bool
}

// space returns where to read to, growing the buffer when a packet fills it.
// It grows with what arrives, not with what a length field says.
func (b *burst) space() []byte {
	if b.r > 0 {
		b.w = copy(b.buf, b.buf[b.r:b.w])
		b.r = 0
	}
	if b.w == len(b.buf) {
		b.buf = append(b.buf, make([]byte, len(b.buf))...)
	}
	return b.buf[b.w:]
}

// reset forgets the publishes that are settled.
func (b *burst) reset() {
	clear(b.pubs)
	b.pubs, b.wanted, b.awaits = b.pubs[:0], 0, 0
	b.side = b.side[:0]
}

// A shape is what an outgoing PUBLISH looks like beside its packet identifier:
// bit 0 the retain flag, bits 1 and 2 the QoS, bit 3 the family, 5.0 or 3.x.
const shapes = 16

func shape(family int, qos byte, retain bool) int {
	n := family<<3 | int(qos)<<1
	if retain {
		n |= 1
	}
	return n
}

func family(v packet.Version) int {
	if v >= packet.V5 {
		return 1
	}
	return 0
}

// A form is a run of publishes in one shape, made for the first subscriber and
// copied for all others.
type form struct {
	made    bool
	views   [][]byte // one packet each
	idAt    []int    // where its packet identifier is
	whole   []byte   // all views in one piece, when they are
	longest int
}

// form returns the run in a shape.
func (b *burst) form(run []inPublish, fam int, qos byte, retain bool) *form {
	f := &b.forms[shape(fam, qos, retain)]
	if f.made {
		return f
	}
	f.made, f.longest = true, 0
	f.views, f.idAt = f.views[:0], f.idAt[:0]
	if fam == b.family && qos == run[0].qos && retain == run[0].retain {
		b.viewRaw(f, run)
	} else {
		b.rewrite(f, run, fam, qos, retain)
	}
	for _, v := range f.views {
		f.longest = max(f.longest, len(v))
	}
	return f
}

// viewRaw makes a form of the packets as they were received.
func (b *burst) viewRaw(f *form, run []inPublish) {
	end, together := run[0].at, true
	for i := range run {
		p := &run[i]
		f.views = append(f.views, p.raw)
		f.idAt = append(f.idAt, p.topicEnd)
		together = together && p.at >= 0 && p.at == end
		end += len(p.raw)
	}
	f.whole = nil
	if together {
		f.whole = b.buf[run[0].at:end]
	}
}

func (b *burst) span(run []inPublish) (n int) {
	for i := range run {
		n += len(run[i].raw)
	}
	return n
}

// rewrite writes the run's packets anew.
func (b *burst) rewrite(f *form, run []inPublish, fam int, qos byte, retain bool) {
	b.reserve(b.span(run) + 8*len(run))
	start := len(b.side)
	for i := range run {
		p := &run[i]
		at := len(b.side)
		var idAt int
		b.side, idAt = appendPublish(b.side, publishParts{
			family: fam, qos: qos, retain: retain,
			topic: p.route.topic, props: p.properties(b.family), payload: p.raw[p.payload:],
		})
		f.views = append(f.views, b.side[at:len(b.side):len(b.side)])
		f.idAt = append(f.idAt, idAt-at)
	}
	f.whole = b.side[start:len(b.side):len(b.side)]
}

// reserve makes room for n bytes in side. What lies there already stays where
// it is: views point to it.
func (b *burst) reserve(n int) {
	if cap(b.side)-len(b.side) < n {
		b.side = make([]byte, 0, max(n, burstBytes))
	}
}

// properties returns the encoded properties to pass on.
func (p *inPublish) properties(family int) []byte {
	if family == 0 {
		return nil
	}
	return p.raw[p.props:p.payload]
}

// messageChunk makes messages that are kept: one allocation for many messages'
// bytes, and one for many messages.
type messageChunk struct {
	bytes    []byte
	messages []session.Message
}

// Sizes of the chunks that kept messages are cut from.
const (
	chunkBytes    = 64 << 10
	chunkMessages = 32
)

// message returns the copy of a received PUBLISH that sessions keep. All of them
// share it. soon says that the session is being sent to, so that the copy may
// lie in a chunk with others.
func (b *burst) message(p *inPublish, soon bool) *session.Message {
	kept := &p.alone
	if soon {
		kept = &p.shared
	}
	if *kept == nil {
		*kept = b.messages.message(p, b.family, soon, b.now)
	}
	return *kept
}

// message copies a received PUBLISH, into a chunk or into memory of its own.
func (m *messageChunk) message(p *inPublish, fam int, chunked bool, t int64) *session.Message {
	props, payload := p.properties(fam), p.raw[p.payload:]
	n := len(props) + len(payload)
	if n > chunkBytes/4 {
		chunked = false
	}
	var bytes []byte
	var out *session.Message
	if chunked {
		bytes, out = m.cut(n)
	} else {
		bytes, out = make([]byte, 0, n), new(session.Message)
	}
	bytes = append(append(bytes, props...), payload...)
	*out = session.Message{
		Topic:      p.route.topic,
		Properties: bytes[:len(props):len(props)],
		Payload:    bytes[len(props):],
		ExpiryAt:   -1,
		QoS:        p.qos,
		Retain:     p.retain,
		Chunked:    chunked,
		Arrived:    t,
	}
	if p.expires {
		out.ExpiryAt = int32(expiryIndex(out.Properties))
	}
	return out
}

func (m *messageChunk) cut(n int) ([]byte, *session.Message) {
	if cap(m.bytes)-len(m.bytes) < n {
		m.bytes = make([]byte, 0, chunkBytes)
	}
	if len(m.messages) == 0 {
		m.messages = make([]session.Message, chunkMessages)
	}
	at := len(m.bytes)
	m.bytes = m.bytes[:at+n]
	out := &m.messages[0]
	m.messages = m.messages[1:]
	return m.bytes[at : at : at+n], out
}
