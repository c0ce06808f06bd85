package broker_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/broker/packet"
)

// play runs conversations, each on a server and an intake of its own that lets
// 3 acknowledgements wait for one connection.
func play(t *testing.T, conversations []conversation) {
	t.Helper()
	for _, c := range conversations {
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

type conversation struct {
	name string
	run  func(h *house, l *fakeLog)
}

// Each level in each version at each QoS: what comes when (I1, C10, C13).
func TestLevels(t *testing.T) {
	for _, level := range []string{"r", "s", "d"} {
		for v := packet.V31; v <= packet.V5; v++ {
			for qos := range byte(3) {
				play(t, []conversation{{fmt.Sprintf("%s version %d QoS %d", level, v, qos), func(h *house, l *fakeLog) {
					levels(h, l, level, v, qos)
				}}})
			}
		}
	}
}

func levels(h *house, l *fakeLog, level string, v packet.Version, qos byte) {
	p := h.connect(v, "p")
	// expect waits for a packet after as much has happened as the level asks for.
	expect := func(text string, delivery bool) {
		if level != "r" && l.Stored() == 0 {
			p.quiet()
			l.store(1)
		}
		if level == "d" && delivery {
			p.quiet()
			l.deliver(h, 1, true)
		}
		p.want(text)
	}
	p.send(pub(level+"/a", qos, 7*uint16(min(qos, 1)), "x"))
	switch qos {
	case 1:
		expect("PUBACK 7", true)
	case 2:
		expect("PUBREC 7", false)
		p.send(&packet.Pubrel{ID: 7})
		expect("PUBCOMP 7", true)
	}
	p.quiet()
}

func TestDelivered(t *testing.T) {
	play(t, []conversation{
		{"delivered never holds back stored, nor received (C12)", deliveredOrder},
		{"PUBCOMP of what was delivered before PUBREL", deliveredEarly},
		{"PUBREL before PUBREC waits for both (C10)", releasedEarly},
		{"a 5.0 client is told when it takes too long (C13)", within},
		{"3.x and QoS 2 keep waiting (C13)", withinOthers},
		{"each limit is kept beside those without (C13)", withinBeside},
		{"a limit that passes before the sync waits for the sync", withinUnstored},
		{"what failed is said at once at QoS 1 in 5.0 (C13)", failed},
		{"and nowhere else, but counted (C13)", concealed},
		{"a client that wants no texts gets none [MQTT-3.1.2-29]", noText},
		{"a text that makes the packet too large is left out [MQTT-3.4.2-2]", textTooLong},
		{"a 3.x client is read until 3 wait (C12)", deliveredReads},
		{"a 5.0 client exceeds the receive maximum [MQTT-3.3.4-9]", deliveredTooMany},
		{"other packets go on", othersGoOn},
		{"a resend joins (C11)", deliveredResend},
		{"a resend after a reconnect joins (C11)", deliveredReconnect},
		{"what was decided while the client was away (C11)", deliveredAway},
		{"a limit that passed while the client was away", withinAway},
		{"PUBREL sent again, also after a reconnect (C11)", releasedAgain},
		{"an outcome for a session that is gone", deliveredGone},
		{"a will waits for nobody", deliveredWill},
		{"what is recorded only is stored, not delivered (C9)", recorded},
	})
}

func deliveredOrder(h *house, l *fakeLog) {
	p := h.connect(packet.V5, "p")
	p.send(pub("d/1", 1, 1, "x"), pub("s/1", 1, 2, "x"), pub("r/1", 1, 3, "x"))
	p.want("PUBACK 3")
	l.store(3)
	p.want("PUBACK 2")
	p.send(pub("d/2", 1, 4, "x"))
	l.store(4)
	l.deliver(h, 4, true)
	p.quiet() // behind the first of its level
	l.deliver(h, 1, true)
	p.want("PUBACK 1", "PUBACK 4")
	l.want(h, "1 p q1 d/1 x [3]", "2 p q1 s/1 x [1]", "3 p q1 r/1 x [2]", "4 p q1 d/2 x [3]")
}

func deliveredEarly(h *house, l *fakeLog) {
	p := h.connect(packet.V311, "p")
	p.send(pub("d/1", 2, 1, "x"))
	p.quiet()
	l.store(1)
	p.want("PUBREC 1")
	l.deliver(h, 1, true)
	p.quiet()
	p.send(&packet.Pubrel{ID: 1})
	p.want("PUBCOMP 1")
}

func releasedEarly(h *house, l *fakeLog) {
	p := h.connect(packet.V311, "p")
	p.send(pub("d/1", 2, 1, "x"), &packet.Pubrel{ID: 1})
	l.deliver(h, 1, true) // lanes read what is stored only, but a reload decides before
	p.quiet()
	l.store(1)
	p.want("PUBREC 1", "PUBCOMP 1")
}

func within(h *house, l *fakeLog) {
	p := h.connect(packet.V5, "p")
	start := time.Now()
	p.send(pub("w/1", 1, 1, "x"))
	l.store(1)
	p.want("PUBACK 1 Implementation specific error: stored, not yet delivered: 2000000000000-1-1")
	if got := time.Since(start); got != 5*time.Second {
		h.t.Errorf("told after %v, want 5s", got)
	}
	l.deliver(h, 1, true) // it is delivered all the same; nobody is told
	p.quiet()
	p.send(pub("w/1", 1, 1, "y")) // the identifier is free
	l.store(2)
	l.deliver(h, 2, true)
	p.want("PUBACK 1")
	if n := h.srv.Stats().Late; n != 1 {
		h.t.Errorf("counted %d late, want 1", n)
	}
}

func withinOthers(h *house, l *fakeLog) {
	old, five := h.connect(packet.V311, "old"), h.connect(packet.V5, "five")
	old.send(pub("w/1", 1, 1, "x"))
	synctest.Wait()
	five.send(pub("w/1", 2, 1, "x"), &packet.Pubrel{ID: 1})
	synctest.Wait()
	l.store(2)
	five.want("PUBREC 1")
	pass(time.Hour)
	old.quiet()
	five.quiet()
	l.deliver(h, 1, true)
	l.deliver(h, 2, true)
	old.want("PUBACK 1")
	five.want("PUBCOMP 1")
}

func withinBeside(h *house, l *fakeLog) {
	p := h.connect(packet.V5, "p")
	p.send(pub("d/1", 1, 1, "x"), pub("w/1", 1, 2, "x"))
	pass(2 * time.Second)
	p.send(pub("w/2", 1, 3, "x"))
	l.store(3)
	start := time.Now()
	p.want(
		"PUBACK 2 Implementation specific error: stored, not yet delivered: 2000000000000-1-2",
		"PUBACK 3 Implementation specific error: stored, not yet delivered: 2000000000000-1-3",
	)
	if got := time.Since(start); got != 5*time.Second {
		h.t.Errorf("told after %v, want 5s", got)
	}
	p.quiet()
	l.deliver(h, 1, true)
	p.want("PUBACK 1")
}

func withinUnstored(h *house, l *fakeLog) {
	p := h.connect(packet.V5, "p")
	p.send(pub("w/1", 1, 1, "x"))
	pass(10 * time.Second)
	p.quiet()
	l.store(1)
	p.want("PUBACK 1 Implementation specific error: stored, not yet delivered: 2000000000000-1-1")
}

func failed(h *house, l *fakeLog) {
	p := h.connect(packet.V5, "p")
	p.send(pub("d/1", 1, 1, "x"))
	l.store(1)
	l.deliver(h, 1, false)
	p.want("PUBACK 1 Implementation specific error: not delivered: 2000000000000-1-1")
	if st := h.srv.Stats(); st.Failed != 1 || st.Concealed != 0 {
		h.t.Errorf("counted %d failed and %d concealed", st.Failed, st.Concealed)
	}
}

func concealed(h *house, l *fakeLog) {
	old, five := h.connect(packet.V311, "old"), h.connect(packet.V5, "five")
	old.send(pub("d/1", 1, 1, "x"))
	synctest.Wait()
	five.send(pub("d/1", 2, 1, "x"), &packet.Pubrel{ID: 1})
	synctest.Wait()
	l.store(2)
	l.deliver(h, 1, false)
	l.deliver(h, 2, false)
	old.want("PUBACK 1")
	five.want("PUBREC 1", "PUBCOMP 1")
	if st := h.srv.Stats(); st.Failed != 0 || st.Concealed != 2 {
		h.t.Errorf("counted %d failed and %d concealed", st.Failed, st.Concealed)
	}
}

func noText(h *house, l *fakeLog) {
	p := h.connect(packet.V5, "p", func(c *packet.Connect) { c.Properties.Add(packet.PropRequestProblemInfo) })
	p.send(pub("d/1", 1, 1, "x"))
	l.store(1)
	l.deliver(h, 1, false)
	p.want("PUBACK 1 Implementation specific error")
}

func textTooLong(h *house, l *fakeLog) {
	p := h.connect(packet.V5, "p", func(c *packet.Connect) {
		c.Properties.MaximumPacketSize = 20
		c.Properties.Add(packet.PropMaximumPacketSize)
	})
	p.send(pub("d/1", 1, 1, "x"))
	l.store(1)
	l.deliver(h, 1, false)
	p.want("PUBACK 1 Implementation specific error")
}

func deliveredReads(h *house, l *fakeLog) {
	p := h.connect(packet.V311, "p", keepAlive(10))
	p.send(pub("d/1", 1, 1, "x"), pub("s/1", 1, 2, "x"), pub("d/2", 1, 3, "x"), &packet.Pingreq{})
	p.quiet()
	l.store(3) // two wait: it is read again
	p.want("PUBACK 2", "PINGRESP")
	p.send(pub("d/3", 1, 4, "x"), &packet.Pingreq{})
	l.store(4)
	p.quiet()
	pass(time.Minute) // its keep-alive clock stands still
	l.deliver(h, 1, true)
	p.want("PUBACK 1", "PINGRESP")
}

func deliveredTooMany(h *house, _ *fakeLog) {
	p := h.connect(packet.V5, "p")
	p.send(pub("d/1", 1, 1, "x"), pub("d/1", 1, 2, "x"), pub("d/1", 1, 3, "x"))
	p.quiet()
	p.send(pub("d/1", 1, 4, "x"))
	p.want("DISCONNECT Receive Maximum exceeded", "closed")
}

func othersGoOn(h *house, l *fakeLog) {
	for v := packet.V31; v <= packet.V5; v++ {
		p := h.connect(v, fmt.Sprint(v), keepAlive(10))
		p.send(pub("d/1", 1, 1, "x"))
		for range 3 {
			pass(8 * time.Second)
			p.send(&packet.Pingreq{})
			p.want("PINGRESP")
		}
		p.subscribe("own/"+fmt.Sprint(v), 0)
		p.send(pub("own/"+fmt.Sprint(v), 0, 0, "x"), pub("s/1", 1, 2, "x"))
		p.want(fmt.Sprintf(`PUBLISH own/%s q0 "x"`, v))
		synctest.Wait()
		l.store(1 << 20)
		p.want("PUBACK 2")
	}
}

func deliveredResend(h *house, l *fakeLog) {
	p := h.connect(packet.V311, "p")
	p.send(pub("d/1", 1, 1, "x"), pub("d/1", 1, 1, "x", dup))
	l.store(1)
	p.send(pub("d/1", 1, 1, "x", dup))
	p.quiet()
	l.deliver(h, 1, true)
	p.want("PUBACK 1")
	p.quiet()
	l.want(h, "1 p q1 d/1 x [3]")
}

// again connects a client to its session once more.
func (h *house) again(v packet.Version, id string) *peer {
	h.t.Helper()
	synctest.Wait()
	p := h.dial()
	p.v = v
	c := packet.Connect{ClientID: []byte(id)}
	if v == packet.V5 {
		expiry(60)(&c)
	}
	p.send(&c)
	p.want("CONNACK Success present")
	return p
}

func deliveredReconnect(h *house, l *fakeLog) {
	p := h.connect(packet.V5, "p", expiry(60))
	p.send(pub("d/1", 1, 1, "x"), pub("d/1", 1, 2, "y"))
	l.store(2)
	p.quiet()
	p.close()
	p = h.again(packet.V5, "p")
	p.send(pub("d/1", 1, 1, "x", dup), pub("d/1", 1, 2, "y", dup))
	p.quiet()
	l.deliver(h, 2, false)
	l.deliver(h, 1, true)
	p.want("PUBACK 1", "PUBACK 2 Implementation specific error: not delivered: 2000000000000-1-2")
	l.want(h, "1 p q1 d/1 x [3]", "2 p q1 d/1 y [3]")
}

func deliveredAway(h *house, l *fakeLog) {
	p := h.connect(packet.V311, "p", resume)
	p.send(pub("d/1", 1, 1, "x"), pub("d/1", 2, 2, "y"))
	l.store(2)
	p.want("PUBREC 2")
	p.close()
	l.deliver(h, 1, true)
	l.deliver(h, 2, true)
	p = h.again(packet.V311, "p")
	p.quiet()
	p.send(pub("d/1", 1, 1, "x", dup), &packet.Pubrel{ID: 2})
	p.want("PUBACK 1", "PUBCOMP 2")
	l.want(h, "1 p q1 d/1 x [3]", "2 p q2 d/1 y [3] id=2")
}

func withinAway(h *house, l *fakeLog) {
	p := h.connect(packet.V5, "p", expiry(60))
	p.send(pub("w/1", 1, 1, "x"), pub("w/1", 1, 2, "x"))
	l.store(2)
	p.quiet()
	p.close()
	pass(10 * time.Second)
	p = h.again(packet.V5, "p")
	p.send(pub("w/1", 1, 1, "x", dup))
	p.want("PUBACK 1 Implementation specific error: stored, not yet delivered: 2000000000000-1-1")
	p.close()
	p = h.again(packet.V311, "p") // who cannot be told keeps waiting
	p.send(pub("w/1", 1, 2, "x", dup))
	pass(10 * time.Second)
	p.quiet()
	l.deliver(h, 2, true)
	p.want("PUBACK 2")
}

func releasedAgain(h *house, l *fakeLog) {
	p := h.connect(packet.V311, "p", resume)
	p.send(pub("d/1", 2, 1, "x"))
	l.store(1)
	p.want("PUBREC 1")
	p.send(pub("d/1", 2, 1, "x", dup))
	p.want("PUBREC 1")
	p.send(&packet.Pubrel{ID: 1}, &packet.Pubrel{ID: 1})
	p.quiet()
	p.close()
	p = h.again(packet.V311, "p")
	p.send(&packet.Pubrel{ID: 1})
	p.quiet()
	l.deliver(h, 1, true)
	p.want("PUBCOMP 1")
	p.quiet()
	p.send(&packet.Pubrel{ID: 1})
	p.want("PUBCOMP 1")
	l.want(h, "1 p q2 d/1 x [3] id=1")
}

func deliveredGone(h *house, l *fakeLog) {
	p := h.connect(packet.V311, "p", resume)
	p.send(pub("d/1", 1, 1, "x"), pub("d/1", 2, 2, "x"))
	l.store(2)
	p.want("PUBREC 2")
	p.close()
	synctest.Wait()
	p = h.connect(packet.V311, "p") // a clean start
	p.send(pub("d/1", 1, 1, "x"))
	l.deliver(h, 1, true)
	l.deliver(h, 2, true)
	p.quiet()
	l.store(3)
	l.deliver(h, 3, true)
	p.want("PUBACK 1")
	p.close()
	synctest.Wait()
	h.srv.Stats()
}

func deliveredWill(h *house, l *fakeLog) {
	h.connect(packet.V5, "p", withWill("d/will", "gone", 0)).close()
	l.want(h, "1 p q1 d/will gone [3]")
	l.deliver(h, 1, false)
}

func recorded(h *house, l *fakeLog) {
	p := h.connect(packet.V5, "p")
	p.send(pub("rec/1", 1, 1, "x"), pub("rec/1", 2, 2, "x"), pub("rec/1", 0, 0, "x"))
	p.quiet()
	l.store(3)
	p.want("PUBACK 1", "PUBREC 2") // and not that nobody wants it
	l.want(h, "1 p q1 rec/1 x []", "2 p q2 rec/1 x [] id=2", "3 p q0 rec/1 x [] nowait")
}
