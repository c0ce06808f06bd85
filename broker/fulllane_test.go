package broker_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/broker/packet"
)

// A lane whose share of the journal is full refuses what its rules want, and
// nothing else (C7).
func TestFullLane(t *testing.T) {
	play(t, []conversation{
		{"5.0 is told so, and the rest goes on", fullLane5},
		{"3.x waits for room", fullLane3},
		{"3.x is closed after 30 s", fullLane3Closed},
		{"QoS 0 is dropped at once and counted", fullLane0},
		{"others are not held up (I7)", fullLaneOthers},
		{"a device that floods it is read slowly (I7)", fullLaneFlood},
		{"a will is dropped and counted", fullLaneWill},
	})
}

func dropped(h *house, reason string) uint64 {
	synctest.Wait()
	return h.srv.Stats().Dropped[reason]
}

func fullLane5(h *house, l *fakeLog) {
	p := h.connect(packet.V5, "p")
	l.fill("d")
	p.send(pub("d/1", 1, 1, "x"), pub("s/1", 1, 2, "x"), pub("d/1", 2, 3, "x"))
	p.want("PUBACK 1 Quota exceeded", "PUBREC 3 Quota exceeded")
	l.store(1)
	p.want("PUBACK 2")
	l.want(h, "1 p q1 s/1 x [1]")
	if n := dropped(h, "lane_full"); n != 2 {
		h.t.Errorf("counted %d, want 2", n)
	}
	l.drain()
	p.send(pub("d/1", 2, 3, "x"))
	l.store(2)
	p.want("PUBREC 3")
}

func fullLane3(h *house, l *fakeLog) {
	p := h.connect(packet.V311, "p", keepAlive(10))
	l.fill("d")
	p.send(pub("s/1", 1, 1, "x"), pub("d/1", 1, 2, "x"), pub("s/1", 1, 3, "x"))
	l.want(h, "1 p q1 s/1 x [1]")
	l.store(1)
	p.want("PUBACK 1")
	pass(29 * time.Second)
	p.quiet()
	l.drain()
	l.want(h, "2 p q1 d/1 x [3]", "3 p q1 s/1 x [1]")
	l.store(3)
	p.want("PUBACK 3")
	l.deliver(h, 2, true)
	p.want("PUBACK 2")
}

func fullLane3Closed(h *house, l *fakeLog) {
	p := h.connect(packet.V311, "p")
	l.fill("s")
	start := time.Now()
	p.send(pub("s/1", 1, 1, "x"))
	p.want("closed")
	if got := time.Since(start); got != 30*time.Second {
		h.t.Errorf("closed after %v, want 30s", got)
	}
	l.want(h)
}

func fullLane0(h *house, l *fakeLog) {
	s, p := h.connect(packet.V311, "s"), h.connect(packet.V311, "p")
	s.subscribe("#", 0)
	l.fill("s")
	start := time.Now()
	p.send(pub("s/1", 0, 0, "1"), pub("r/1", 0, 0, "2"), pub("s/1", 0, 0, "3"))
	l.want(h, "1 p q0 r/1 2 [2] nowait")
	s.want(`PUBLISH r/1 q0 "2"`)
	if n := dropped(h, "lane_full"); n != 2 || !time.Now().Equal(start) {
		h.t.Errorf("counted %d after %v, want 2 at once", n, time.Since(start))
	}
}

func fullLaneOthers(h *house, l *fakeLog) {
	p, q := h.connect(packet.V311, "p"), h.connect(packet.V311, "q")
	l.fill("d")
	p.send(pub("d/1", 1, 1, "x")) // waits
	synctest.Wait()
	start := time.Now()
	q.send(pub("s/1", 1, 1, "x"))
	l.want(h, "1 q q1 s/1 x [1]")
	l.store(1)
	q.want("PUBACK 1")
	if !time.Now().Equal(start) {
		h.t.Errorf("acknowledged after %v, want at once", time.Since(start))
	}
}

func fullLaneFlood(h *house, l *fakeLog) {
	p := h.connect(packet.V5, "p")
	l.fill("d")
	start := time.Now()
	p.send(pub("d/1", 0, 0, "small"))
	p.send(&packet.Pingreq{})
	p.want("PINGRESP")
	if got := time.Since(start); got != 0 {
		h.t.Errorf("one message held up the next for %v", got)
	}
	p.send(pub("d/1", 1, 1, strings.Repeat("x", 40<<10)))
	p.send(&packet.Pingreq{})
	p.want("PUBACK 1 Quota exceeded", "PINGRESP")
	if got := time.Since(start); got != time.Millisecond {
		h.t.Errorf("a flood was read on after %v, want 1ms", got)
	}
}

func fullLaneWill(h *house, l *fakeLog) {
	l.fill("d")
	h.connect(packet.V5, "p", withWill("d/will", "gone", 0)).close()
	l.want(h)
	if n := dropped(h, "lane_full"); n != 1 {
		h.t.Errorf("counted %d, want 1", n)
	}
}

// What a connection knows of the rules is out of date when they change (C16).
func TestRulesChange(t *testing.T) {
	play(t, []conversation{
		{"between two bursts", func(h *house, l *fakeLog) {
			p := h.connect(packet.V5, "p")
			p.send(pub("s/1", 1, 1, "x"), pub("s/2", 0, 0, "x"))
			l.want(h, "1 p q1 s/1 x [1]", "2 p q0 s/2 x [1] nowait")
			l.swap()
			p.send(pub("s/2", 0, 0, "x"), pub("s/1", 1, 2, "x"))
			l.want(h, "3 p q0 s/2 x [10] nowait", "4 p q1 s/1 x [10]")
		}},
		{"within a burst", func(h *house, l *fakeLog) {
			p := h.connect(packet.V5, "p")
			l.swapNext = true
			p.send(pub("s/1", 1, 1, "x"), pub("r/1", 1, 2, "x"))
			p.want("PUBACK 2")
			l.store(2)
			p.want("PUBACK 1")
			l.want(h, "1 p q1 s/1 x [10]", "2 p q1 r/1 x [2]")
		}},
		{"while 3.x waits for room", func(h *house, l *fakeLog) {
			p := h.connect(packet.V311, "p")
			l.fill("s")
			p.send(pub("r/1", 1, 9, "x"), pub("s/1", 1, 1, "x"), pub("s/1", 1, 2, "y"))
			p.want("PUBACK 9")
			l.swap()
			l.drain()
			l.want(h, "1 p q1 r/1 x [2]", "2 p q1 s/1 x [10]", "3 p q1 s/1 y [10]")
			l.store(3)
			p.want("PUBACK 1", "PUBACK 2")
		}},
		{"while a will is on its way", func(h *house, l *fakeLog) {
			p := h.connect(packet.V311, "p", withWill("s/will", "gone", 0))
			l.swapNext = true
			p.close()
			l.want(h, "1 p q1 s/will gone [10]")
		}},
	})
}
