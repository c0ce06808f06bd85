package broker

import (
	"errors"
	"time"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/internal/journal"
)

// A will is what is published when a client is lost.
type will struct {
	packet []byte // the 5.0 PUBLISH, as if the client sent it
	user   string
	delay  uint32 // seconds
}

// newWill copies the will out of a CONNECT.
func newWill(p *packet.Connect, user string) *will {
	w := &p.Will
	pub := packet.Publish{QoS: w.QoS, Retain: w.Retain, Topic: w.Topic, Properties: w.Properties, Payload: w.Payload}
	if w.QoS > 0 {
		pub.ID = 1
	}
	pub.Properties.Remove(packet.PropWillDelay)
	made := &will{packet: pub.AppendTo(nil, packet.V5), user: user}
	if w.Properties.Has(packet.PropWillDelay) {
		made.delay = w.Properties.WillDelay
	}
	return made
}

// publishWill publishes a will of a client that is gone [MQTT-3.1.2-8]. patient
// says that it may wait for a journal that is full, for as long as a QoS 0
// message would (C8).
func (s *Server) publishWill(cl *client, w *will, patient bool) {
	b := s.pool.burst()
	defer s.pool.putBurst(b)
	b.from, b.client, b.user, b.family, b.now = nil, cl.id, w.user, 1, now()
	in := b.view(w.packet)
	in.route = s.routeWill(b, string(b.publish.Topic))
	if in.route.refused {
		s.counts.drop(dropRefused, 1)
		return
	}
	b.pubs = append(b.pubs, in)
	if in.isWanted() {
		s.logWill(b, patient)
	}
	s.spread(b)
	b.reset()
}

// view takes apart a 5.0 PUBLISH that the server has made.
func (b *burst) view(raw []byte) inPublish {
	p, in := &b.publish, inPublish{raw: raw, at: -1}
	head := headSize(raw)
	if err := p.Decode(packet.V5, raw[0], raw[head:]); err != nil {
		panic("BUG: a message that was encoded cannot be decoded: " + err.Error())
	}
	in.id, in.qos, in.retain = p.ID, p.QoS, p.Retain
	in.topicEnd = head + 2 + len(p.Topic)
	in.payload = len(raw) - len(p.Payload)
	in.findProps()
	in.expires = p.Properties.Has(packet.PropMessageExpiry)
	return in
}

// spread passes messages of nobody connected to their subscribers. Nobody waits
// for slow ones.
func (s *Server) spread(b *burst) {
	s.retainAll(b, b.pubs)
	s.deliver(b, b.pubs)
	b.startWriters()
	clear(b.slow)
	b.slow = b.slow[:0]
	s.show(b, b.pubs)
	s.counts.burst(b)
}

// logWill appends the will to the journal.
func (s *Server) logWill(b *burst, patient bool) {
	p := &b.pubs[0]
	b.makeEntries(b.pubs)
	first, err := s.appendWill(b, patient)
	for errors.Is(err, journal.ErrStale) {
		if p.route = s.routeWill(b, p.route.topic); !p.isWanted() {
			return
		}
		b.makeEntries(b.pubs)
		first, err = s.appendWill(b, patient)
	}
	if err != nil {
		p.verdict = noRoom
		b.drops[dropFor(err)]++
		return
	}
	s.appended(b.entries)
	p.offset = first
	if p.qos > 0 && p.waitsForDelivery() { // the lanes report it, and nobody waits
		s.o.Intake.Await(first, p.route.rules, func(uint64, bool) {})
	}
}

// routeWill finds who wants a will, and notes by which rules.
func (s *Server) routeWill(b *burst, name string) *route {
	if s.o.Intake != nil {
		b.rules = s.o.Intake.Generation()
	}
	return s.newRoute(name, nil)
}

func (s *Server) appendWill(b *burst, patient bool) (first uint64, err error) {
	until := time.Now().Add(fullPatience0)
	for {
		room := s.o.Intake.Room()
		first, err = s.o.Intake.Append(b.entries, b.rules)
		if err == nil || !patient || !errors.Is(err, journal.ErrFull) || ofLane(err) != nil {
			return first, err
		}
		t := time.NewTimer(time.Until(until))
		select {
		case <-room:
			t.Stop()
		case <-t.C:
			return 0, err
		}
	}
}
