package broker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/broker/packet"
)

// What waits for the journal, and what does not.
func TestAcknowledgements(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(h *house, l *fakeLog)
	}{
		{"an acknowledgement waits until its message is stored (C10)", ackWaits},
		{"acknowledgements leave in PUBLISH order (C12)", ackOrder},
		{"received ones do not wait behind stored ones (C12)", ackLevels},
		{"subscribers get QoS 0 and 1 before the sync (C10)", beforeSync},
		{"one burst is one append", oneAppend},
		{"what the journal is told (C1)", entryFields},
		{"a QoS 2 resend appends nothing (C11)", resendQoS2},
		{"a QoS 1 resend joins its offset (C11)", resendQoS1},
		{"also across a reconnect (C11)", resendReconnect},
		{"the same identifier with another payload is a new message (C11)", resendOther},
		{"a 5.0 client exceeds the receive maximum [MQTT-3.3.4-9]", tooManyUnacked},
		{"the socket of a 3.x client is not read meanwhile (C12)", notRead},
		{"a full journal: 5.0 is told so", full5},
		{"a full journal: 3.x waits for room, in order", full3},
		{"a full journal: 3.x is closed after 30 s", full3Closed},
		{"a full journal: QoS 0 waits up to 1 s (C8)", full0},
		{"a full journal: what has room goes on", fullPartly},
		{"a will is journaled", willJournaled},
		{"a will to a full journal is counted", willFull},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newFakeLog()
				h := newHouse(t, broker.Options{ReceiveMaximum: 3, Intake: l})
				synctest.Wait()
				c.run(h, l)
				h.stop()
			})
		})
	}
}

func (p *peer) quiet() {
	p.t.Helper()
	synctest.Wait()
	p.nothing()
}

func ackWaits(h *house, l *fakeLog) {
	p := h.connect(packet.V311, "p")
	p.send(pub("s/a", 1, 1, "x"))
	p.quiet()
	l.store(1)
	p.want("PUBACK 1")
	p.send(pub("s/a", 2, 2, "y"))
	p.quiet()
	l.store(2)
	p.want("PUBREC 2")
	p.send(&packet.Pubrel{ID: 2})
	p.want("PUBCOMP 2")
	p.send(pub("s/a", 2, 3, "z"))
	p.quiet()
	p.send(&packet.Pubrel{ID: 3}) // too early: its PUBCOMP waits as well
	p.quiet()
	l.store(3)
	p.want("PUBREC 3", "PUBCOMP 3")
	l.want(h, "1 p q1 s/a x [1]", "2 p q2 s/a y [1] id=2", "3 p q2 s/a z [1] id=3")
}

func ackOrder(h *house, l *fakeLog) {
	p, q := h.connect(packet.V311, "p"), h.connect(packet.V311, "q")
	p.send(pub("s/a", 1, 3, "x"), pub("s/b", 1, 1, "x"))
	synctest.Wait()
	q.send(pub("s/a", 1, 9, "x"))
	synctest.Wait()
	p.send(pub("s/a", 2, 2, "x"))
	synctest.Wait()
	l.store(2)
	p.want("PUBACK 3", "PUBACK 1")
	p.quiet()
	q.quiet()
	l.store(4)
	q.want("PUBACK 9")
	p.want("PUBREC 2")
}

func ackLevels(h *house, l *fakeLog) {
	p := h.connect(packet.V5, "p")
	p.send(pub("s/a", 1, 1, "x"), pub("r/a", 1, 2, "x"), pub("nobody", 1, 3, "x"))
	p.want("PUBACK 2", "PUBACK 3 No matching subscribers")
	l.store(1)
	p.want("PUBACK 1")
}

func beforeSync(h *house, l *fakeLog) {
	s, p := h.connect(packet.V311, "s"), h.connect(packet.V311, "p")
	s.subscribe("#", 2)
	p.send(pub("s/a", 0, 0, "0"), pub("s/a", 1, 1, "1"))
	s.want(`PUBLISH s/a q0 "0"`, `PUBLISH s/a q1 id=1 "1"`)
	p.quiet()
}

func oneAppend(h *house, l *fakeLog) {
	p := h.connect(packet.V311, "p")
	p.send(pub("s/a", 0, 0, "0"), pub("r/a", 1, 1, "1"), pub("x", 0, 0, "not this"), pub("s/b", 1, 2, "2"))
	p.want("PUBACK 1")
	l.want(h, "1 p q0 s/a 0 [1] nowait", "2 p q1 r/a 1 [2]", "3 p q1 s/b 2 [1]")
	if l.calls != 1 {
		h.t.Errorf("%d appends, want 1", l.calls)
	}
	l.store(3)
	p.want("PUBACK 2")
}

func entryFields(h *house, l *fakeLog) {
	p := h.connect(packet.V5, "p")
	m := pub("s/a", 0, 0, "x", retained, expires(7), alias(1))
	m.Properties.ContentType = []byte("text/plain")
	m.Properties.ResponseTopic = []byte("re")
	m.Properties.CorrelationData = []byte("co")
	m.Properties.User = packet.AppendUser(packet.AppendUser(nil, "k", "v"), "k", "w")
	m.Properties.Add(packet.PropContentType | packet.PropResponseTopic | packet.PropCorrelationData | packet.PropUser)
	p.send(m, pub("", 0, 0, "y", alias(1)))
	l.want(h, "1 p q0 s/a x [1] nowait retain text/plain re co 7 [{k v} {k w}]", "2 p q0 s/a y [1] nowait")
}

func resendQoS2(h *house, l *fakeLog) {
	p := h.connect(packet.V311, "p", resume)
	p.send(pub("s/a", 2, 5, "x"))
	p.send(pub("s/a", 2, 5, "x", dup))
	p.quiet()
	p.close()
	synctest.Wait()
	p = h.dial()
	p.send(&packet.Connect{ClientID: []byte("p")})
	p.want("CONNACK Success present")
	p.send(pub("s/a", 2, 5, "x", dup))
	p.quiet()
	l.store(1)
	p.want("PUBREC 5")
	l.want(h, "1 p q2 s/a x [1] id=5")
}

func resendQoS1(h *house, l *fakeLog) {
	p := h.connect(packet.V311, "p")
	p.send(pub("s/a", 1, 5, "x"), pub("s/a", 1, 5, "x", dup))
	p.quiet()
	l.store(1)
	p.want("PUBACK 5")
	p.quiet()
	l.want(h, "1 p q1 s/a x [1]")
}

func resendReconnect(h *house, l *fakeLog) {
	p := h.connect(packet.V311, "p", resume)
	p.send(pub("s/a", 1, 5, "x"), pub("s/a", 1, 6, "y"))
	p.quiet()
	p.close()
	synctest.Wait()
	p = h.dial()
	p.send(&packet.Connect{ClientID: []byte("p")})
	p.want("CONNACK Success present")
	l.store(1)
	p.quiet() // it says first that it waits
	p.send(pub("s/a", 1, 5, "x", dup), pub("s/a", 1, 6, "y", dup))
	p.want("PUBACK 5")
	p.quiet()
	l.store(2)
	p.want("PUBACK 6")
	l.want(h, "1 p q1 s/a x [1]", "2 p q1 s/a y [1]")
}

func resendOther(h *house, l *fakeLog) {
	p := h.connect(packet.V311, "p")
	p.send(pub("s/a", 1, 5, "x"))
	p.send(pub("s/a", 1, 5, "other", dup))
	l.want(h, "1 p q1 s/a x [1]", "2 p q1 s/a other [1]")
	l.store(2)
	p.want("PUBACK 5", "PUBACK 5")
}

func tooManyUnacked(h *house, l *fakeLog) {
	p := h.connect(packet.V5, "p")
	p.send(pub("s/a", 1, 1, "1"), pub("s/a", 1, 2, "2"), pub("s/a", 1, 3, "3"))
	p.quiet()
	l.store(1)
	p.want("PUBACK 1")
	p.send(pub("s/a", 1, 4, "4"))
	p.quiet()
	p.send(pub("s/a", 1, 5, "5"))
	p.want("DISCONNECT Receive Maximum exceeded", "closed")
}

func notRead(h *house, l *fakeLog) {
	p := h.connect(packet.V311, "p", keepAlive(10))
	p.send(pub("s/a", 1, 1, "1"), pub("s/a", 1, 2, "2"), pub("s/a", 1, 3, "3"), pub("s/a", 1, 4, "4"), pub("s/a", 1, 5, "5"))
	l.want(h, "1 p q1 s/a 1 [1]", "2 p q1 s/a 2 [1]", "3 p q1 s/a 3 [1]")
	pass(time.Minute) // its keep-alive clock stands still
	l.store(2)
	p.want("PUBACK 1", "PUBACK 2")
	l.want(h, "4 p q1 s/a 4 [1]", "5 p q1 s/a 5 [1]")
	l.store(5)
	p.want("PUBACK 3", "PUBACK 4", "PUBACK 5")
	start := time.Now()
	p.want("closed")
	if got := time.Since(start); got < 14*time.Second || got > 15*time.Second {
		h.t.Errorf("closed after %v, want 15s", got)
	}
}

func full5(h *house, l *fakeLog) {
	p := h.connect(packet.V5, "p")
	l.allow(0)
	p.send(pub("s/a", 1, 1, "1"), pub("s/a", 2, 2, "2"), pub("x", 1, 3, "3"))
	p.want("PUBACK 1 Quota exceeded", "PUBREC 2 Quota exceeded", "PUBACK 3 No matching subscribers")
	l.allow(-1)
	p.send(pub("s/a", 2, 2, "2")) // the identifier is free again
	l.want(h, "1 p q2 s/a 2 [1] id=2")
	l.store(1)
	p.want("PUBREC 2")
	if n := h.srv.Stats().Dropped["journal_full"]; n != 2 {
		h.t.Errorf("counted %d, want 2", n)
	}
}

func full3(h *house, l *fakeLog) {
	s, p := h.connect(packet.V311, "s"), h.connect(packet.V311, "p", keepAlive(10))
	s.subscribe("#", 0)
	l.allow(0)
	p.send(pub("x", 1, 9, "before"), pub("s/a", 1, 1, "1"), pub("s/a", 2, 2, "2"))
	p.want("PUBACK 9") // what comes before is not held up
	s.want(`PUBLISH x q0 "before"`)
	pass(25 * time.Second)
	s.quiet()
	l.allow(1)
	pass(25 * time.Second)
	l.allow(-1)
	l.want(h, "1 p q1 s/a 1 [1]", "2 p q2 s/a 2 [1] id=2")
	s.want(`PUBLISH s/a q0 "1"`, `PUBLISH s/a q0 "2"`)
	l.store(2)
	p.want("PUBACK 1", "PUBREC 2")
	p.send(&packet.Pingreq{})
	p.want("PINGRESP")
}

func full3Closed(h *house, l *fakeLog) {
	p := h.connect(packet.V311, "p")
	l.allow(0)
	start := time.Now()
	p.send(pub("s/a", 1, 1, "1"))
	p.want("closed")
	if got := time.Since(start); got != 30*time.Second {
		h.t.Errorf("closed after %v, want 30s", got)
	}
	l.want(h)
}

func full0(h *house, l *fakeLog) {
	p := h.connect(packet.V5, "p")
	l.allow(0)
	p.send(pub("s/a", 0, 0, "1"), pub("s/a", 0, 0, "2"))
	dropped := func() uint64 { return h.srv.Stats().Dropped["journal_full"] }
	pass(999 * time.Millisecond)
	if n := dropped(); n != 0 {
		h.t.Errorf("dropped %d before the second was over", n)
	}
	pass(2 * time.Millisecond) // for both together
	if n := dropped(); n != 2 {
		h.t.Errorf("counted %d, want 2", n)
	}
	p.send(pub("s/a", 0, 0, "3"))
	pass(500 * time.Millisecond)
	l.allow(-1)
	l.want(h, "1 p q0 s/a 3 [1] nowait")
}

func fullPartly(h *house, l *fakeLog) {
	p := h.connect(packet.V5, "p")
	l.allow(1)
	p.send(pub("s/a", 1, 1, "1"), pub("s/a", 1, 2, "2"))
	p.want("PUBACK 2 Quota exceeded")
	l.store(1)
	p.want("PUBACK 1")
	l.want(h, "1 p q1 s/a 1 [1]")
}

func willJournaled(h *house, l *fakeLog) {
	p := h.connect(packet.V5, "p", withWill("s/will", "gone", 0))
	p.close()
	l.want(h, "1 p q1 s/will gone [1]")
}

func willFull(h *house, l *fakeLog) {
	l.allow(0)
	p := h.connect(packet.V5, "p", withWill("s/will", "gone", 0))
	p.close()
	pass(2 * time.Second)
	l.want(h)
	if n := h.srv.Stats().Dropped["journal_full"]; n != 1 {
		h.t.Errorf("counted %d, want 1", n)
	}
}
