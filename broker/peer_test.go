package broker_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/broker/packet"
)

// pipes is a listener whose connections are net.Pipes, so that a test can run
// on a fake clock.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// house is a server on pipes.
type house struct {
	t      *testing.T
	srv    *broker.Server
	ln     *pipes
	cancel context.CancelFunc
	ended  chan struct{}
}

// newHouse starts a server; the test's end stops it.
func newHouse(t *testing.T, o broker.Options) *house {
	ln := newPipes()
	h := &house{t: t, srv: broker.NewOn(o, ln, true), ln: ln, ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	h.cancel = cancel
	go func() {
		defer close(h.ended)
		if err := h.srv.Serve(ctx); err != nil {
			t.Errorf("serve: %v", err)
		}
	}()
	return h
}

func (h *house) stop() {
	h.cancel()
	<-h.ended
}

// A peer is a client that sends and expects packets one by one.
type peer struct {
	t  *testing.T
	nc net.Conn
	v  packet.Version

	mu   sync.Mutex
	cond *sync.Cond
	in   []byte // received and not looked at
	gone bool
	hold bool // received bytes are not taken from the connection
}

func (h *house) dial() *peer {
	ours, theirs := net.Pipe()
	select {
	case h.ln.conns <- theirs:
	case <-h.ln.done:
		h.t.Fatal("the listener is closed")
	}
	return newPeer(h.t, ours)
}

// newPeer reads all the time, so that the server never waits for the test.
func newPeer(t *testing.T, nc net.Conn) *peer {
	p := &peer{t: t, nc: nc, v: packet.V311}
	p.cond = sync.NewCond(&p.mu)
	go p.read()
	return p
}

func (p *peer) read() {
	buf := make([]byte, 64<<10)
	for {
		n, err := p.nc.Read(buf)
		p.mu.Lock()
		p.in = append(p.in, buf[:n]...)
		p.gone = err != nil
		p.cond.Broadcast()
		for p.hold && !p.gone {
			p.cond.Wait()
		}
		gone := p.gone
		p.mu.Unlock()
		if gone {
			return
		}
	}
}

func (p *peer) close() { _ = p.nc.Close() }

// next returns the next packet as text, or "closed".
func (p *peer) next() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		first, body, n, err := packet.Next(p.in, 0)
		if err != nil {
			return "bad packet: " + err.Error()
		}
		if n > 0 {
			text := describe(p.v, first, body)
			p.in = p.in[n:]
			return text
		}
		if p.gone {
			return "closed"
		}
		p.cond.Wait()
	}
}

// want expects packets, in order.
func (p *peer) want(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		if got := p.next(); got != text {
			p.t.Fatalf("got  %s\nwant %s", got, text)
		}
	}
}

// nothing expects that no packet has come so far.
func (p *peer) nothing() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.in) > 0 {
		t, body, _, _ := packet.Next(p.in, 0)
		p.t.Fatalf("got %s, want nothing", describe(p.v, t, body))
	}
}

type encoder interface {
	AppendTo(dst []byte, v packet.Version) []byte
}

// send sends packets in one write.
func (p *peer) send(packets ...encoder) {
	p.t.Helper()
	var b []byte
	for _, e := range packets {
		b = e.AppendTo(b, p.v)
	}
	p.sendBytes(b)
}

func (p *peer) sendBytes(b []byte) {
	p.t.Helper()
	if _, err := p.nc.Write(b); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

// sendHex sends bytes written as hexadecimal digits, spaces ignored. That the
// server closes in the middle is no error.
func (p *peer) sendHex(s string) {
	p.t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		p.t.Fatal(err)
	}
	_, _ = p.nc.Write(b)
}

// connect sends a CONNECT and expects its acceptance.
func (h *house) connect(v packet.Version, id string, edit ...func(*packet.Connect)) *peer {
	h.t.Helper()
	p := h.dial()
	p.v = v
	c := packet.Connect{CleanStart: true, ClientID: []byte(id)}
	for _, f := range edit {
		f(&c)
	}
	p.send(&c)
	if got := p.next(); !strings.HasPrefix(got, "CONNACK Success") {
		h.t.Fatalf("connect %s: %s", id, got)
	}
	return p
}

func resume(c *packet.Connect) { c.CleanStart = false }

func expiry(seconds uint32) func(*packet.Connect) {
	return func(c *packet.Connect) {
		c.Properties.SessionExpiry = seconds
		c.Properties.Add(packet.PropSessionExpiry)
	}
}

func keepAlive(seconds uint16) func(*packet.Connect) {
	return func(c *packet.Connect) { c.KeepAlive = seconds }
}

func withWill(topic, payload string, delay uint32) func(*packet.Connect) {
	return func(c *packet.Connect) {
		c.HasWill = true
		c.Will = packet.Will{Topic: []byte(topic), Payload: []byte(payload), QoS: 1}
		if delay > 0 {
			c.Will.Properties.WillDelay = delay
			c.Will.Properties.Add(packet.PropWillDelay)
		}
	}
}

// subscribe subscribes and expects to be granted the QoS.
func (p *peer) subscribe(filter string, qos byte, edit ...func(*packet.Subscription)) {
	p.t.Helper()
	s := packet.Subscription{Filter: []byte(filter), QoS: qos}
	for _, f := range edit {
		f(&s)
	}
	p.send(&packet.Subscribe{ID: 9, Subscriptions: packet.AppendSubscription(nil, s)})
	p.want(fmt.Sprintf("SUBACK 9 [%d]", qos))
}

func pub(topic string, qos byte, id uint16, payload string, edit ...func(*packet.Publish)) *packet.Publish {
	m := &packet.Publish{Topic: []byte(topic), QoS: qos, ID: id, Payload: []byte(payload)}
	for _, f := range edit {
		f(m)
	}
	return m
}

func dup(m *packet.Publish)      { m.Dup = true }
func retained(m *packet.Publish) { m.Retain = true }

func alias(n uint16) func(*packet.Publish) {
	return func(m *packet.Publish) {
		m.Properties.TopicAlias = n
		m.Properties.Add(packet.PropTopicAlias)
	}
}

func expires(seconds uint32) func(*packet.Publish) {
	return func(m *packet.Publish) {
		m.Properties.MessageExpiry = seconds
		m.Properties.Add(packet.PropMessageExpiry)
	}
}

// describe writes a packet as one line.
func describe(v packet.Version, first byte, body []byte) string {
	t := packet.TypeOf(first)
	switch t {
	case packet.TypePublish:
		var m packet.Publish
		if err := m.Decode(v, first, body); err != nil {
			return "bad PUBLISH: " + err.Error()
		}
		return describePublish(&m)
	case packet.TypePuback, packet.TypePubrec, packet.TypePubrel, packet.TypePubcomp:
		return describeAck(v, first, body)
	case packet.TypeConnack:
		var m packet.Connack
		if err := m.Decode(v, first, body); err != nil {
			return "bad CONNACK: " + err.Error()
		}
		text := "CONNACK " + m.Reason.String()
		if m.SessionPresent {
			text += " present"
		}
		return text
	case packet.TypeSuback:
		var m packet.Suback
		if err := m.Decode(v, first, body); err != nil {
			return "bad SUBACK: " + err.Error()
		}
		return fmt.Sprintf("SUBACK %d %d", m.ID, m.Codes)
	case packet.TypeUnsuback:
		var m packet.Unsuback
		if err := m.Decode(v, first, body); err != nil {
			return "bad UNSUBACK: " + err.Error()
		}
		return fmt.Sprintf("UNSUBACK %d %d", m.ID, m.Codes)
	case packet.TypeDisconnect:
		var m packet.Disconnect
		if err := m.Decode(v, first, body); err != nil {
			return "bad DISCONNECT: " + err.Error()
		}
		return "DISCONNECT " + m.Reason.String()
	}
	return t.String()
}

func describePublish(m *packet.Publish) string {
	text := fmt.Sprintf("PUBLISH %s q%d", m.Topic, m.QoS)
	if m.QoS > 0 {
		text += fmt.Sprintf(" id=%d", m.ID)
	}
	if m.Dup {
		text += " dup"
	}
	if m.Retain {
		text += " retain"
	}
	if m.Properties.Has(packet.PropMessageExpiry) {
		text += fmt.Sprintf(" expiry=%d", m.Properties.MessageExpiry)
	}
	for id, rest, ok := m.Properties.SubscriptionIDs.Next(); ok; id, rest, ok = rest.Next() {
		text += fmt.Sprintf(" sub=%d", id)
	}
	for name, value := range m.Properties.User.All() {
		text += fmt.Sprintf(" %s=%s", name, value)
	}
	if m.Properties.Has(packet.PropTopicAlias) {
		text += " alias"
	}
	return text + fmt.Sprintf(" %q", m.Payload)
}

func describeAck(v packet.Version, first byte, body []byte) string {
	var a packet.Puback
	var err error
	switch packet.TypeOf(first) {
	case packet.TypePuback:
		err = a.Decode(v, first, body)
	case packet.TypePubrec:
		err = (*packet.Pubrec)(&a).Decode(v, first, body)
	case packet.TypePubrel:
		err = (*packet.Pubrel)(&a).Decode(v, first, body)
	default:
		err = (*packet.Pubcomp)(&a).Decode(v, first, body)
	}
	if err != nil {
		return "bad " + packet.TypeOf(first).String() + ": " + err.Error()
	}
	text := fmt.Sprintf("%s %d", packet.TypeOf(first), a.ID)
	if a.Reason != packet.Success {
		text += " " + a.Reason.String()
	}
	if a.Properties.Has(packet.PropReasonString) {
		text += ": " + string(a.Properties.ReasonString)
	}
	return text
}

// pass lets the fake clock of a synctest bubble run; it takes no time.
func pass(d time.Duration) { <-time.After(d) }
