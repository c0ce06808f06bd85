package broker_test

import (
	"time"

	"github.com/penstock/penstock/broker/packet"
)

func keepAliveEnds(h *house) {
	a, b := h.connect(packet.V5, "a", keepAlive(10)), h.connect(packet.V311, "b", keepAlive(10))
	start := time.Now()
	a.want("DISCONNECT Keep Alive timeout", "closed")
	b.want("closed")
	if got := time.Since(start); got != 15*time.Second {
		h.t.Errorf("closed after %v, want 15s", got)
	}
}

func pingKeeps(h *house) {
	a := h.connect(packet.V311, "a", keepAlive(10))
	for range 5 {
		pass(14 * time.Second)
		a.send(&packet.Pingreq{})
		a.want("PINGRESP")
	}
	start := time.Now()
	a.want("closed")
	if got := time.Since(start); got != 15*time.Second {
		h.t.Errorf("closed after %v, want 15s", got)
	}
}

func lateConnect(h *house) {
	a, start := h.dial(), time.Now()
	a.sendHex("10")
	a.want("closed")
	if got := time.Since(start); got != 10*time.Second {
		h.t.Errorf("closed after %v, want 10s", got)
	}
}

func secondConnect(h *house) {
	a := h.connect(packet.V5, "a")
	a.send(&packet.Connect{ClientID: []byte("a")})
	a.want("DISCONNECT Protocol Error", "closed")
}

func strayAuth(h *house) {
	a := h.connect(packet.V5, "a")
	a.send(&packet.Auth{})
	a.want("DISCONNECT Protocol Error", "closed")
}

func enhancedAuth(h *house) {
	a := h.dial()
	a.v = packet.V5
	c := packet.Connect{ClientID: []byte("a")}
	c.Properties.AuthMethod = []byte("SCRAM-SHA-1")
	c.Properties.Add(packet.PropAuthMethod)
	a.send(&c)
	a.want("CONNACK Bad authentication method", "closed")
}

func emptyIDs(h *house) {
	h.connect(packet.V5, "", resume)
	h.connect(packet.V311, "")
	for _, v := range []packet.Version{packet.V311, packet.V31} {
		a := h.dial()
		a.v = v
		a.send(&packet.Connect{CleanStart: v == packet.V31})
		a.want("CONNACK Client Identifier not valid", "closed")
	}
}

func takenOver(h *house) {
	a := h.connect(packet.V5, "x", expiry(60))
	a.subscribe("t", 1)
	b := h.dial()
	b.v = packet.V5
	b.send(&packet.Connect{ClientID: []byte("x")})
	a.want("DISCONNECT Session taken over", "closed")
	b.want("CONNACK Success present")
	b.send(pub("t", 1, 1, "1"))
	if got := []string{b.next(), b.next()}; !(got[0] == "PUBACK 1" && got[1] == `PUBLISH t q1 id=1 "1"` || got[1] == "PUBACK 1" && got[0] == `PUBLISH t q1 id=1 "1"`) {
		h.t.Fatal(got)
	}
	c := h.connect(packet.V311, "x")
	b.want("DISCONNECT Session taken over", "closed")
	c.send(&packet.Pingreq{})
	c.want("PINGRESP")
}
