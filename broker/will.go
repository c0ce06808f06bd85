package broker

import (
	"errors"
	"slices"
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
	p, in := &b.publish, inPublish{raw: w.packet, at: -1}
	head := headSize(w.packet)
	if err := p.Decode(packet.V5, w.packet[0], w.packet[head:]); err != nil {
		panic("BUG: a will that was encoded cannot be decoded: " + err.Error())
	}
	in.id, in.qos, in.retain = p.ID, p.QoS, p.Retain
	in.topicEnd = head + 2 + len(p.Topic)
	in.payload = len(in.raw) - len(p.Payload)
	in.findProps()
	in.expires = p.Properties.Has(packet.PropMessageExpiry)
	in.route = s.newRoute(string(p.Topic), nil)
	if in.route.refused {
		s.counts.drop(dropRefused, 1)
		return
	}
	b.pubs = append(b.pubs, in)
	s.settleWill(b, patient)
	b.reset()
}

func (s *Server) settleWill(b *burst, patient bool) {
	if b.pubs[0].isWanted() && !s.logWill(b, patient) {
		b.pubs[0].verdict = noRoom
		b.drops[dropJournal]++
	}
	s.retainAll(b, b.pubs)
	s.deliver(b, b.pubs)
	b.startWriters()
	clear(b.slow)
	b.slow = b.slow[:0]
	s.counts.burst(b)
}

// logWill appends the will to the journal and reports whether it could.
func (s *Server) logWill(b *burst, patient bool) bool {
	b.entries = b.entries[:0]
	b.makeEntries(b.pubs)
	e := slices.Clone(b.entries)
	until := time.Now().Add(fullPatience0)
	for {
		room := s.o.Log.Room()
		_, err := s.o.Log.Append(e)
		if err == nil {
			s.counts.journaled.Add(1)
			return true
		}
		if !patient || !errors.Is(err, journal.ErrFull) {
			return false
		}
		t := time.NewTimer(time.Until(until))
		select {
		case <-room:
			t.Stop()
		case <-t.C:
			return false
		}
	}
}
