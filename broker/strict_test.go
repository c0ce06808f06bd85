package broker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/broker/packet"
)

// One order for all that answers a PUBLISH, whatever it waits for (C12).
func TestStrictOrder(t *testing.T) {
	play(t, []conversation{
		{"stored and received wait behind delivered", strictLevels},
		{"what waits for nothing waits for its turn", strictAtOnce},
		{"a limit is kept where it is its turn", strictWithin},
		{"PUBCOMP answers PUBREL, and holds nothing back", strictQoS2},
		{"after a reconnect", strictReconnect},
	})
}

func strictLevels(h *house, l *fakeLog) {
	h.srv.SetStrict()
	p := h.connect(packet.V311, "p")
	p.send(pub("d/1", 1, 1, "x"), pub("s/1", 1, 2, "x"), pub("r/1", 1, 3, "x"))
	l.store(3)
	p.quiet()
	l.deliver(h, 1, true)
	p.want("PUBACK 1", "PUBACK 2", "PUBACK 3")
	p.send(pub("r/1", 1, 4, "x"))
	p.want("PUBACK 4")
}

func strictAtOnce(h *house, l *fakeLog) {
	h.srv.SetStrict()
	p := h.connect(packet.V5, "p")
	l.fill("r")
	p.send(pub("s/1", 1, 1, "x"), pub("nobody", 1, 2, "x"), pub("r/1", 1, 3, "x"))
	p.quiet()
	l.store(1)
	p.want("PUBACK 1", "PUBACK 2 No matching subscribers", "PUBACK 3 Quota exceeded")
}

func strictWithin(h *house, l *fakeLog) {
	h.srv.SetStrict()
	p := h.connect(packet.V5, "p")
	p.send(pub("s/1", 1, 1, "x"), pub("w/1", 1, 2, "x"), pub("s/2", 1, 3, "x"))
	pass(10 * time.Second)
	p.quiet()
	l.store(3)
	p.want("PUBACK 1", "PUBACK 2 Implementation specific error: stored, not yet delivered: 2000000000000-1-2", "PUBACK 3")
	p.send(pub("w/1", 1, 4, "x"), pub("s/2", 1, 5, "x"))
	l.store(5)
	start := time.Now()
	p.want("PUBACK 4 Implementation specific error: stored, not yet delivered: 2000000000000-1-4", "PUBACK 5")
	if got := time.Since(start); got != 5*time.Second {
		h.t.Errorf("told after %v, want 5s", got)
	}
}

func strictQoS2(h *house, l *fakeLog) {
	h.srv.SetStrict()
	p := h.connect(packet.V311, "p")
	p.send(pub("d/1", 2, 1, "x"))
	l.store(1)
	p.want("PUBREC 1")
	p.send(&packet.Pubrel{ID: 1}, pub("s/1", 1, 2, "x"))
	l.store(2)
	p.want("PUBACK 2")
	p.quiet()
	l.deliver(h, 1, true)
	p.want("PUBCOMP 1")
}

func strictReconnect(h *house, l *fakeLog) {
	h.srv.SetStrict()
	p := h.connect(packet.V311, "p", resume)
	p.send(pub("d/1", 1, 1, "x"), pub("s/1", 1, 2, "x"), pub("nobody", 1, 3, "x"))
	l.store(2)
	p.quiet()
	p.close()
	p = h.again(packet.V311, "p")
	p.send(pub("d/1", 1, 1, "x", dup), pub("s/1", 1, 2, "x", dup))
	p.quiet()
	l.deliver(h, 1, true)
	p.want("PUBACK 1", "PUBACK 2")
	synctest.Wait()
	l.want(h, "1 p q1 d/1 x [3]", "2 p q1 s/1 x [1]")
}
