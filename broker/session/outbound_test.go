package session_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/broker/session"
)

func msg(n int) *session.Message {
	return &session.Message{Topic: "t", Payload: fmt.Append(nil, n), ExpiryAt: -1}
}

var roomy = session.Bounds{Messages: 1 << 20, Bytes: 1 << 30}

// sending is one message of the model on its way.
type sending struct {
	payload string
	qos     byte
	id      uint16 // 0: not sent yet
	rec     bool   // PUBREC received
	due     bool   // to be sent again on this connection
	counted bool
}

// machine checks an Outbound against a plain list of messages, oldest first.
type machine struct {
	s       session.Session
	flight  []*sending // in order of first sending
	waiting []*sending
	limit   int
	bound   int
	n       int
	open    bool
}

func (m *machine) window() (n int) {
	for _, f := range m.flight {
		if f.counted {
			n++
		}
	}
	return n
}

func (m *machine) pick(t *rapid.T, want func(*sending) bool) *sending {
	var fit []*sending
	for _, f := range m.flight {
		if want(f) {
			fit = append(fit, f)
		}
	}
	if len(fit) == 0 {
		t.Skip("nothing fits")
	}
	return fit[rapid.IntRange(0, len(fit)-1).Draw(t, "which")]
}

func (m *machine) end(f *sending) {
	m.flight = slices.DeleteFunc(m.flight, func(o *sending) bool { return o == f })
}

// Send publishes a message: directly if the session says so, else it waits.
func (m *machine) Send(t *rapid.T) {
	if !m.open && !m.s.Persistent() {
		t.Skip("the session has ended")
	}
	m.n++
	f := &sending{payload: fmt.Sprint(m.n), qos: byte(rapid.IntRange(1, 2).Draw(t, "qos"))}
	d := session.Delivery{Message: msg(m.n), QoS: f.qos}
	if m.s.Direct() > 0 {
		if len(m.waiting) > 0 {
			t.Fatal("overtaken: messages wait")
		}
		if m.s.Keeps() {
			f.id = m.s.BeginKept(d)
		} else {
			f.id = m.s.Begin(f.qos)
		}
		m.sent(t, f)
		return
	}
	fits := len(m.flight)+len(m.waiting) < m.bound
	if got := m.s.Push(d); got != fits {
		t.Fatalf("push: %v with %d of %d kept", got, len(m.flight)+len(m.waiting), m.bound)
	}
	if fits {
		m.waiting = append(m.waiting, f)
	}
}

func (m *machine) sent(t *rapid.T, f *sending) {
	for _, o := range m.flight {
		if o.id == f.id {
			t.Fatalf("packet identifier %d is in use", f.id)
		}
	}
	if f.id == 0 {
		t.Fatal("packet identifier 0")
	}
	f.counted = true
	m.flight = append(m.flight, f)
	if m.window() > m.limit {
		t.Fatalf("%d in flight, %d allowed", m.window(), m.limit)
	}
}

// Next asks what is to be sent and compares it with what the model expects.
func (m *machine) Next(t *rapid.T) {
	d, _, ok := m.s.Next(0)
	i := slices.IndexFunc(m.flight, func(f *sending) bool { return f.due })
	switch {
	case !m.open:
		if ok {
			t.Fatal("something to send without a connection")
		}
	case i >= 0 && m.flight[i].rec:
		if !ok || !d.Release || d.ID != m.flight[i].id {
			t.Fatalf("got %+v, want PUBREL %d", d, m.flight[i].id)
		}
		m.flight[i].due = false
	case m.window() >= m.limit || i < 0 && len(m.waiting) == 0:
		if ok {
			t.Fatalf("got %+v, want nothing", d)
		}
	case i >= 0:
		if f := m.flight[i]; !ok || !d.Dup || d.ID != f.id || string(d.Message.Payload) != f.payload {
			t.Fatalf("got %+v, want %+v again", d, f)
		}
		m.flight[i].due, m.flight[i].counted = false, true
	default:
		f := m.waiting[0]
		if !ok || d.Dup || string(d.Message.Payload) != f.payload || d.QoS != f.qos {
			t.Fatalf("got %+v, want %+v", d, f)
		}
		m.waiting = m.waiting[1:]
		f.id = d.ID
		m.sent(t, f)
	}
}

func (m *machine) Ack(t *rapid.T) {
	f := m.pick(t, func(f *sending) bool { return f.qos == 1 })
	if !m.s.Ack(f.id) || m.s.Ack(f.id) {
		t.Fatalf("PUBACK %d", f.id)
	}
	m.end(f)
}

func (m *machine) Rec(t *rapid.T) {
	f := m.pick(t, func(f *sending) bool { return f.qos == 2 })
	refused := !f.rec && rapid.Bool().Draw(t, "refused")
	if !m.s.Rec(f.id, refused) {
		t.Fatalf("PUBREC %d is unknown", f.id)
	}
	f.rec = true
	if refused {
		m.end(f)
	}
}

func (m *machine) Comp(t *rapid.T) {
	f := m.pick(t, func(f *sending) bool { return f.qos == 2 })
	if got := m.s.Comp(f.id); got != f.rec {
		t.Fatalf("PUBCOMP %d: %v", f.id, got)
	}
	if f.rec {
		m.end(f)
	}
}

// Stray acknowledges what was never sent.
func (m *machine) Stray(t *rapid.T) {
	id := rapid.Uint16().Draw(t, "id")
	if slices.ContainsFunc(m.flight, func(f *sending) bool { return f.id == id }) {
		t.Skip("in use")
	}
	if m.s.Ack(id) || m.s.Rec(id, false) || m.s.Comp(id) {
		t.Fatalf("packet identifier %d was never sent", id)
	}
}

// Reconnect ends the connection, and begins one with another window.
func (m *machine) Reconnect(t *rapid.T) {
	if m.open {
		m.s.Close(0, 10)
		m.open, m.limit = false, 0
		if !m.s.Persistent() {
			m.flight, m.waiting = nil, nil
		}
		for _, f := range m.flight {
			f.counted = false
		}
		return
	}
	m.open, m.limit = true, rapid.IntRange(1, 40).Draw(t, "receive maximum")
	m.s.Open(m.limit, session.Bounds{Messages: m.bound, Bytes: 1 << 30})
	for _, f := range m.flight {
		f.due = true
	}
}

func (m *machine) Check(t *rapid.T) {
	if m.s.InFlight() != len(m.flight) || m.s.Len() != len(m.flight)+len(m.waiting) {
		t.Fatalf("in flight %d, all %d; want %d and %d", m.s.InFlight(), m.s.Len(), len(m.flight), len(m.flight)+len(m.waiting))
	}
	bytes := 0
	for _, f := range m.waiting {
		bytes += (&session.Message{Topic: "t", Payload: []byte(f.payload)}).Size()
	}
	for _, f := range m.flight {
		if m.s.Persistent() && !f.rec {
			bytes += (&session.Message{Topic: "t", Payload: []byte(f.payload)}).Size()
		}
	}
	if m.s.Bytes() != bytes {
		t.Fatalf("%d bytes kept, want %d", m.s.Bytes(), bytes)
	}
}

func TestOutboundModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{bound: rapid.IntRange(1, 60).Draw(t, "bound")}
		if rapid.Bool().Draw(t, "persistent") {
			m.s.Expiry = 60
		}
		m.Reconnect(t)
		t.Repeat(map[string]func(*rapid.T){
			"send": m.Send, "send2": m.Send, "send3": m.Send, "next": m.Next, "next2": m.Next,
			"ack": m.Ack, "rec": m.Rec, "comp": m.Comp, "stray": m.Stray, "reconnect": m.Reconnect, "": m.Check,
		})
	})
}

// An acknowledgement that never comes costs its slot and nothing else, however
// often the identifiers go around [MQTT-4.3.2-5].
func TestStuckIdentifier(t *testing.T) {
	var s session.Session
	s.Open(10, roomy)
	stuck := s.Begin(1)
	for range 200_000 {
		id := s.Begin(1)
		if id == stuck || id == 0 {
			t.Fatalf("packet identifier %d given out again", id)
		}
		s.Ack(id)
	}
	if !s.Ack(stuck) {
		t.Error("the stuck one is forgotten")
	}
}

func TestFullWindow(t *testing.T) {
	var s session.Session
	s.Open(1<<17, roomy) // more than there are identifiers
	seen := make(map[uint16]bool)
	for s.Direct() > 0 {
		id := s.Begin(2)
		if seen[id] {
			t.Fatalf("%d twice", id)
		}
		seen[id] = true
	}
	if len(seen) != 65535 {
		t.Errorf("%d identifiers, want 65535", len(seen))
	}
}

func TestBounds(t *testing.T) {
	var s session.Session
	s.Expiry = session.NeverExpires
	one := msg(1).Size()
	s.Open(0, session.Bounds{Messages: 100, Bytes: 3*one + 1})
	var got []bool
	for range 4 {
		got = append(got, s.Push(session.Delivery{Message: msg(1), QoS: 1}))
	}
	if diff := cmp.Diff([]bool{true, true, true, false}, got); diff != "" {
		t.Error(diff)
	}
	if got, want := s.Backlog(), 3*one; got != want {
		t.Errorf("backlog %d, want %d", got, want)
	}
}

func TestExpiry(t *testing.T) {
	var s session.Session
	s.Open(10, roomy)
	old := &session.Message{Properties: []byte{2, 0, 0, 0, 5}, ExpiryAt: 1, Arrived: 1000}
	s.Push(session.Delivery{Message: old, QoS: 1})
	s.Push(session.Delivery{Message: old})
	s.Push(session.Delivery{Message: msg(2), QoS: 1})
	if left, ok := old.Remaining(3900); !ok || left != 3 {
		t.Errorf("%d seconds remain, want 3", left)
	}
	if old.Expired(5999) || !old.Expired(6000) {
		t.Error("a message of 5 s expires after 5 s")
	}
	d, expired, ok := s.Next(6000)
	if !ok || expired != 2 || string(d.Message.Payload) != "2" {
		t.Errorf("got %+v, %d expired", d, expired)
	}
}

// What waits for long shares memory with nobody.
func TestAlone(t *testing.T) {
	var s session.Session
	s.Expiry = 60
	s.Open(1, roomy)
	chunk := []byte("propspayload and more")
	m := &session.Message{Topic: "t", Properties: chunk[:5], Payload: chunk[5:12], ExpiryAt: -1, Chunked: true}
	s.BeginKept(session.Delivery{Message: m, QoS: 1})
	s.Push(session.Delivery{Message: m, QoS: 1})
	s.Close(0, 10)
	clear(chunk)
	s.Open(2, roomy)
	for range 2 {
		d, _, ok := s.Next(0)
		if !ok || string(d.Message.Payload) != "payload" || string(d.Message.Properties) != "props" {
			t.Errorf("got %+v", d.Message)
		}
	}
}

func TestSessionEnd(t *testing.T) {
	for _, c := range []struct {
		expiry uint32
		ends   int64
	}{{0, 0}, {10, 11_000}, {session.NeverExpires, 0}} {
		s := session.Session{Expiry: c.expiry}
		s.Open(1, roomy)
		if got := s.Close(1000, 10); got != c.ends {
			t.Errorf("expiry %d: ends at %d, want %d", c.expiry, got, c.ends)
		}
		if s.Ended(10_999) || s.Ended(11_000) != (c.ends != 0) {
			t.Errorf("expiry %d: wrong end", c.expiry)
		}
	}
}

func BenchmarkBeginAck(b *testing.B) {
	var s session.Session
	s.Open(1000, roomy)
	b.ReportAllocs()
	for b.Loop() {
		s.Ack(s.Begin(1))
	}
}
