package broker_test

import (
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/broker/packet"
)

func resumed(h *house) {
	s, p := h.connect(packet.V311, "s", resume), h.connect(packet.V5, "p")
	s.subscribe("#", 1)
	s.send(&packet.Disconnect{})
	s.want("closed")
	p.send(pub("a", 1, 1, "1"), pub("a", 0, 0, "0"), pub("a", 2, 2, "2"))
	p.want("PUBACK 1", "PUBREC 2")
	s = h.dial()
	s.send(&packet.Connect{ClientID: []byte("s")})
	s.want("CONNACK Success present", `PUBLISH a q1 id=1 "1"`, `PUBLISH a q1 id=2 "2"`)
}

func resent(h *house) {
	s, p := h.connect(packet.V5, "s", expiry(60)), h.connect(packet.V5, "p")
	s.subscribe("#", 2)
	p.send(pub("a", 1, 1, "1"), pub("a", 2, 2, "2"), pub("a", 1, 3, "3"))
	s.want(`PUBLISH a q1 id=1 "1"`, `PUBLISH a q2 id=2 "2"`, `PUBLISH a q1 id=3 "3"`)
	s.send(&packet.Puback{ID: 1})
	synctest.Wait()
	s.close()
	synctest.Wait()
	s = h.dial()
	s.v = packet.V5
	c := packet.Connect{ClientID: []byte("s")}
	expiry(60)(&c)
	s.send(&c)
	s.want("CONNACK Success present", `PUBLISH a q2 id=2 dup "2"`, `PUBLISH a q1 id=3 dup "3"`)
}

func resumedQoS2(h *house) {
	s, p := h.connect(packet.V311, "s", resume), h.connect(packet.V311, "p", resume)
	s.subscribe("#", 2)
	p.send(pub("a", 2, 7, "1"))
	p.want("PUBREC 7")
	s.want(`PUBLISH a q2 id=1 "1"`)
	s.send(&packet.Pubrec{ID: 1})
	s.want("PUBREL 1")
	s.close()
	p.close()
	synctest.Wait()
	s, p = h.dial(), h.dial()
	s.send(&packet.Connect{ClientID: []byte("s")})
	s.want("CONNACK Success present", "PUBREL 1")
	p.send(&packet.Connect{ClientID: []byte("p")})
	p.want("CONNACK Success present")
	p.send(pub("a", 2, 7, "1", dup))
	p.want("PUBREC 7")
	s.send(&packet.Pubcomp{ID: 1})
	synctest.Wait()
	s.nothing()
}

func sessionExpiry(h *house) {
	s := h.connect(packet.V5, "s", expiry(10))
	s.subscribe("#", 1)
	s.send(&packet.Disconnect{})
	s.want("closed")
	pass(9 * time.Second)
	if n := h.srv.Stats().Sessions; n != 1 {
		h.t.Errorf("%d sessions after 9 s, want 1", n)
	}
	pass(1100 * time.Millisecond)
	if st := h.srv.Stats(); st.Sessions != 0 || st.Subscriptions != 0 {
		h.t.Errorf("after 10 s: %+v", st)
	}
	s = h.dial()
	s.v = packet.V5
	s.send(&packet.Connect{ClientID: []byte("s")})
	s.want("CONNACK Success")
}

func cleanStart(h *house) {
	s := h.connect(packet.V311, "s", resume)
	s.subscribe("#", 1)
	s.close()
	synctest.Wait()
	h.connect(packet.V311, "p").send(pub("a", 1, 1, "1"))
	synctest.Wait()
	s = h.connect(packet.V311, "s")
	s.send(&packet.Pingreq{})
	s.want("PINGRESP")
}

func expiryAtEnd(h *house) {
	set := func(seconds uint32) *packet.Disconnect {
		d := &packet.Disconnect{}
		d.Properties.SessionExpiry = seconds
		d.Properties.Add(packet.PropSessionExpiry)
		return d
	}
	a, b := h.connect(packet.V5, "a", expiry(60)), h.connect(packet.V5, "b")
	a.send(set(0))
	a.want("closed")
	b.send(set(10))
	b.want("DISCONNECT Protocol Error", "closed")
	synctest.Wait()
	if n := h.srv.Stats().Sessions; n != 0 {
		h.t.Errorf("%d sessions, want none", n)
	}
}

func messageExpiry(h *house) {
	s, p := h.connect(packet.V5, "s", expiry(60)), h.connect(packet.V5, "p")
	s.subscribe("#", 1)
	p.send(pub("now", 1, 1, "x", expires(5)))
	s.want(`PUBLISH now q1 id=1 expiry=5 "x"`)
	s.send(&packet.Puback{ID: 1}, &packet.Disconnect{})
	s.want("closed")
	p.send(pub("short", 1, 2, "x", expires(2)), pub("long", 1, 3, "x", expires(9)), pub("kept", 1, 4, "x", expires(3), retained))
	pass(4 * time.Second)
	s = h.dial()
	s.v = packet.V5
	c := packet.Connect{ClientID: []byte("s")}
	expiry(60)(&c)
	s.send(&c)
	s.want("CONNACK Success present", `PUBLISH long q1 id=2 expiry=5 "x"`)
	s.subscribe("kept", 1)
	synctest.Wait()
	s.nothing()
	if n := h.srv.Stats().Dropped["expired"]; n != 2 {
		h.t.Errorf("counted %d expired, want 2", n)
	}
}

func willSent(h *house) {
	s := h.connect(packet.V5, "s")
	s.subscribe("will/#", 2)
	a := h.connect(packet.V311, "a", withWill("will/a", "gone", 0))
	a.close()
	s.want(`PUBLISH will/a q1 id=1 "gone"`)
	b := h.connect(packet.V5, "b", withWill("will/b", "late", 0), keepAlive(2))
	b.want("DISCONNECT Keep Alive timeout", "closed")
	s.want(`PUBLISH will/b q1 id=2 "late"`)
}

func willDropped(h *house) {
	s := h.connect(packet.V311, "s")
	s.subscribe("will/#", 1)
	a := h.connect(packet.V311, "a", withWill("will/a", "gone", 0))
	a.send(&packet.Disconnect{})
	a.want("closed")
	synctest.Wait()
	s.nothing()
}

func willAsked(h *house) {
	s := h.connect(packet.V311, "s")
	s.subscribe("will/#", 1)
	a := h.connect(packet.V5, "a", withWill("will/a", "gone", 0))
	a.send(&packet.Disconnect{Reason: packet.DisconnectWithWillMessage})
	s.want(`PUBLISH will/a q1 id=1 "gone"`)
}

func willDelay(h *house) {
	s := h.connect(packet.V311, "s")
	s.subscribe("will/#", 1)
	a := h.connect(packet.V5, "a", expiry(60), withWill("will/a", "gone", 5))
	a.close()
	pass(4900 * time.Millisecond)
	s.nothing()
	s.want(`PUBLISH will/a q1 id=1 "gone"`)
	pass(100 * time.Second) // the session's end does not repeat it
	s.nothing()
}

func willCancelled(h *house) {
	s := h.connect(packet.V311, "s")
	s.subscribe("will/#", 1)
	h.connect(packet.V5, "a", expiry(60), withWill("will/a", "gone", 5)).close()
	pass(3 * time.Second)
	h.connect(packet.V5, "a", expiry(60), resume)
	pass(10 * time.Second)
	s.nothing()
}

func willSessionEnd(h *house) {
	s := h.connect(packet.V311, "s")
	s.subscribe("will/#", 1)
	h.connect(packet.V5, "a", expiry(3), withWill("will/a", "1", 60)).close()
	h.connect(packet.V5, "b", withWill("will/b", "2", 60)).close()
	s.want(`PUBLISH will/b q1 id=1 "2"`) // its session ended with its connection
	start := time.Now()
	s.want(`PUBLISH will/a q1 id=2 "1"`)
	if got := time.Since(start).Round(100 * time.Millisecond); got != 3*time.Second {
		h.t.Errorf("will after %v, want 3s", got)
	}
	h.connect(packet.V5, "c", expiry(60), withWill("will/c", "3", 60)).close()
	synctest.Wait()
	h.connect(packet.V5, "c") // a clean start ends the session
	s.want(`PUBLISH will/c q1 id=3 "3"`)
}

func shutdown(h *house) {
	a, b, c := h.connect(packet.V5, "a"), h.connect(packet.V311, "b"), h.dial()
	h.stop()
	a.want("DISCONNECT Server shutting down", "closed")
	b.want("closed")
	c.want("closed")
}
