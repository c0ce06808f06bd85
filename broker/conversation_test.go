package broker_test

import (
	"testing"
	"testing/synctest"

	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/broker/packet"
)

// conversations are what one server and a few clients say to each other, on a
// fake clock. Each is named after the clause it shows.
func TestConversations(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(h *house)
	}{
		{"QoS 0 reaches a subscriber [MQTT-4.3.1-1]", qos0},
		{"QoS 1 is acknowledged [MQTT-4.3.2-4]", qos1},
		{"QoS 2 is delivered once [MQTT-4.3.3-10]", qos2},
		{"a subscription lowers the QoS [MQTT-3.8.4-8]", lowerQoS},
		{"a 3.1 and a 5.0 client understand each other", versions},
		{"overlapping subscriptions: one copy, highest QoS, all identifiers [MQTT-3.3.4-2]", overlap},
		{"No Local [MQTT-3.8.3-3]", noLocal},
		{"Retain As Published [MQTT-3.3.1-13]", retainAsPublished},
		{"Retain Handling [MQTT-3.3.1-9]", retainHandling},
		{"an empty payload removes a retained message [MQTT-3.3.1-6]", retainedDelete},
		{"shared subscriptions take turns [MQTT-4.8.2-4]", sharedTurns},
		{"a shared subscription prefers who is connected", sharedAway},
		{"UNSUBACK says what was there [MQTT-3.11.3-2]", unsubscribe},
		{"invalid filters are refused [MQTT-4.7.1-1]", badFilters},
		{"topic aliases [MQTT-3.3.2-12]", aliases},
		{"an alias above the maximum [MQTT-3.3.2-9]", aliasTooHigh},
		{"more than the receive maximum [MQTT-3.3.4-9]", receiveMaximum},
		{"the client's receive maximum [MQTT-3.3.4-7]", clientWindow},
		{"the client's maximum packet size [MQTT-3.1.2-24]", clientMaxPacket},
		{"no matching subscribers", noSubscribers},
		{"$SYS is not for clients", sysRefused},
		{"PUBREL for an unknown packet identifier", unknownPubrel},
		{"PUBREC with an error ends the delivery [MQTT-4.3.3-4]", pubrecError},
		{"keep alive [MQTT-3.1.2-22]", keepAliveEnds},
		{"a PINGREQ keeps the connection [MQTT-3.12.4-1]", pingKeeps},
		{"no CONNECT in time", lateConnect},
		{"a second CONNECT [MQTT-3.1.0-2]", secondConnect},
		{"AUTH without enhanced authentication", strayAuth},
		{"enhanced authentication is refused [MQTT-4.12.0-1]", enhancedAuth},
		{"client identifiers that are left out [MQTT-3.1.3-8]", emptyIDs},
		{"session taken over [MQTT-3.1.4-3]", takenOver},
		{"a session is resumed with what it missed [MQTT-4.4.0-1]", resumed},
		{"unacknowledged messages are sent again in order [MQTT-4.6.0-1]", resent},
		{"QoS 2 goes on after a reconnect [MQTT-4.4.0-1]", resumedQoS2},
		{"a session expires [MQTT-3.1.2-23]", sessionExpiry},
		{"a clean start ends the session [MQTT-3.1.2-4]", cleanStart},
		{"DISCONNECT changes the expiry [MQTT-3.14.2-2]", expiryAtEnd},
		{"message expiry while waiting [MQTT-3.3.2-5]", messageExpiry},
		{"a will is published [MQTT-3.1.2-8]", willSent},
		{"no will after DISCONNECT [MQTT-3.1.2-10]", willDropped},
		{"DISCONNECT with will [MQTT-3.14.4-3]", willAsked},
		{"will delay [MQTT-3.1.3-9]", willDelay},
		{"a client that is back in time has no will [MQTT-3.1.3-9]", willCancelled},
		{"the session's end ends the will's delay [MQTT-3.1.2-8]", willSessionEnd},
		{"the server shuts down", shutdown},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, broker.Options{ReceiveMaximum: 3})
				c.run(h)
				h.stop()
			})
		})
	}
}

func qos0(h *house) {
	s, p := h.connect(packet.V311, "s"), h.connect(packet.V311, "p")
	s.subscribe("a/+", 0)
	p.send(pub("a/b", 0, 0, "1"), pub("a/b", 0, 0, "2"), pub("b", 0, 0, "x"), pub("a/c", 0, 0, "3"))
	s.want(`PUBLISH a/b q0 "1"`, `PUBLISH a/b q0 "2"`, `PUBLISH a/c q0 "3"`)
}

func qos1(h *house) {
	s, p := h.connect(packet.V311, "s"), h.connect(packet.V311, "p")
	s.subscribe("#", 1)
	p.send(pub("a", 1, 7, "1"), pub("b", 1, 8, "2"))
	p.want("PUBACK 7", "PUBACK 8")
	s.want(`PUBLISH a q1 id=1 "1"`, `PUBLISH b q1 id=2 "2"`)
	s.send(&packet.Puback{ID: 1}, &packet.Puback{ID: 2})
}

func qos2(h *house) {
	s, p := h.connect(packet.V311, "s"), h.connect(packet.V311, "p")
	s.subscribe("#", 2)
	p.send(pub("a", 2, 7, "1"))
	p.want("PUBREC 7")
	p.send(pub("a", 2, 7, "1", dup)) // the PUBREC was lost
	p.want("PUBREC 7")
	p.send(&packet.Pubrel{ID: 7})
	p.want("PUBCOMP 7")
	p.send(pub("a", 2, 7, "2"), pub("a", 2, 7, "2", dup)) // a new one, and twice in one burst
	p.want("PUBREC 7", "PUBREC 7")
	s.want(`PUBLISH a q2 id=1 "1"`, `PUBLISH a q2 id=2 "2"`)
	s.send(&packet.Pubrec{ID: 1})
	s.want("PUBREL 1")
	s.send(&packet.Pubcomp{ID: 1})
	synctest.Wait()
	s.nothing()
}

func lowerQoS(h *house) {
	s, p := h.connect(packet.V311, "s"), h.connect(packet.V311, "p")
	s.subscribe("a", 0)
	s.subscribe("b", 1)
	p.send(pub("a", 1, 1, "1"), pub("b", 2, 2, "2"))
	s.want(`PUBLISH a q0 "1"`, `PUBLISH b q1 id=1 "2"`)
}

func versions(h *house) {
	s3, s5 := h.connect(packet.V31, "s3"), h.connect(packet.V5, "s5")
	p3, p5 := h.connect(packet.V31, "p3"), h.connect(packet.V5, "p5")
	s3.subscribe("#", 1)
	s5.subscribe("#", 1)
	p3.send(pub("a", 1, 1, "1"))
	s3.want(`PUBLISH a q1 id=1 "1"`)
	s5.want(`PUBLISH a q1 id=1 "1"`)
	p5.send(pub("b", 1, 1, "2", func(m *packet.Publish) {
		m.Properties.User = packet.AppendUser(nil, "site", "x")
		m.Properties.Add(packet.PropUser)
	}))
	s3.want(`PUBLISH b q1 id=2 "2"`)
	s5.want(`PUBLISH b q1 id=2 site=x "2"`)
}

func overlap(h *house) {
	s, p := h.connect(packet.V5, "s"), h.connect(packet.V5, "p")
	for i, f := range []string{"a/#", "a/+"} {
		sub := packet.Subscribe{ID: 9, Subscriptions: packet.AppendSubscription(nil, packet.Subscription{Filter: []byte(f), QoS: byte(i)})}
		sub.Properties.SubscriptionIDs = packet.AppendSubscriptionID(nil, uint32(i+1))
		sub.Properties.Add(packet.PropSubscriptionID)
		s.send(&sub)
		s.next()
	}
	p.send(pub("a/b", 1, 1, "1"))
	got := s.next()
	if got != `PUBLISH a/b q1 id=1 sub=1 sub=2 "1"` && got != `PUBLISH a/b q1 id=1 sub=2 sub=1 "1"` {
		h.t.Fatal(got)
	}
	synctest.Wait()
	s.nothing()
}

func noLocal(h *house) {
	a, b := h.connect(packet.V5, "a"), h.connect(packet.V5, "b")
	own := func(s *packet.Subscription) { s.NoLocal = true }
	a.subscribe("#", 0, own)
	b.subscribe("#", 0, own)
	a.send(pub("t", 0, 0, "1"))
	b.want(`PUBLISH t q0 "1"`)
	synctest.Wait()
	a.nothing()
}

func retainAsPublished(h *house) {
	a, b, p := h.connect(packet.V5, "a"), h.connect(packet.V5, "b"), h.connect(packet.V5, "p")
	a.subscribe("#", 0, func(s *packet.Subscription) { s.RetainAsPublished = true })
	b.subscribe("#", 0)
	p.send(pub("t", 0, 0, "1", retained))
	a.want(`PUBLISH t q0 retain "1"`)
	b.want(`PUBLISH t q0 "1"`)
}

func retainHandling(h *house) {
	p, s := h.connect(packet.V5, "p"), h.connect(packet.V5, "s")
	p.send(pub("t/1", 1, 1, "1", retained))
	p.want("PUBACK 1 No matching subscribers")
	handling := func(n byte) func(*packet.Subscription) {
		return func(s *packet.Subscription) { s.RetainHandling = n }
	}
	s.subscribe("t/#", 1, handling(2))
	s.subscribe("t/#", 1, handling(1)) // not new any more
	s.subscribe("t/+", 1, handling(1))
	s.want(`PUBLISH t/1 q1 id=1 retain "1"`)
	s.subscribe("t/+", 0, handling(0))
	s.want(`PUBLISH t/1 q0 retain "1"`)
}

func retainedDelete(h *house) {
	p := h.connect(packet.V311, "p")
	p.send(pub("t", 1, 1, "1", retained), pub("t", 1, 2, "2", retained), pub("u", 1, 3, "3", retained))
	p.want("PUBACK 1", "PUBACK 2", "PUBACK 3")
	p.send(pub("u", 1, 4, "", retained))
	p.want("PUBACK 4")
	s := h.connect(packet.V311, "s")
	s.subscribe("#", 0)
	s.want(`PUBLISH t q0 retain "2"`)
	synctest.Wait()
	s.nothing()
}

func sharedTurns(h *house) {
	a, b, p := h.connect(packet.V5, "a"), h.connect(packet.V5, "b"), h.connect(packet.V5, "p")
	a.subscribe("$share/g/t/#", 0)
	b.subscribe("$share/g/t/#", 0)
	p.send(pub("t/1", 0, 0, "1"), pub("t/1", 0, 0, "2"), pub("t/1", 0, 0, "3"), pub("t/1", 0, 0, "4"))
	synctest.Wait()
	first := map[bool]*peer{true: a, false: b}[a.nextPayloadIs(`"1"`)]
	second := map[*peer]*peer{a: b, b: a}[first]
	first.want(`PUBLISH t/1 q0 "1"`, `PUBLISH t/1 q0 "3"`)
	second.want(`PUBLISH t/1 q0 "2"`, `PUBLISH t/1 q0 "4"`)
}

// nextPayloadIs looks at the packet that has come, and leaves it.
func (p *peer) nextPayloadIs(quoted string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	first, body, n, err := packet.Next(p.in, 0)
	return err == nil && n > 0 && describe(p.v, first, body) == `PUBLISH t/1 q0 `+quoted
}

func sharedAway(h *house) {
	a, b := h.connect(packet.V5, "a", expiry(60)), h.connect(packet.V5, "b", expiry(60))
	p := h.connect(packet.V5, "p")
	a.subscribe("$share/g/t", 1)
	b.subscribe("$share/g/t", 1)
	a.send(&packet.Disconnect{})
	a.want("closed")
	p.send(pub("t", 1, 1, "1"), pub("t", 1, 2, "2"))
	b.want(`PUBLISH t q1 id=1 "1"`, `PUBLISH t q1 id=2 "2"`)
}

func unsubscribe(h *house) {
	a := h.connect(packet.V5, "a")
	a.subscribe("x", 0)
	u := packet.Unsubscribe{ID: 3, Filters: packet.AppendFilter(packet.AppendFilter(nil, "x"), "y")}
	a.send(&u, pub("x", 0, 0, "1"), &packet.Pingreq{})
	a.want("UNSUBACK 3 [0 17]", "PINGRESP")
}

func badFilters(h *house) {
	subs := packet.AppendSubscription(nil, packet.Subscription{Filter: []byte("a#")})
	subs = packet.AppendSubscription(subs, packet.Subscription{Filter: []byte("ok"), QoS: 1})
	a, b, c := h.connect(packet.V5, "a"), h.connect(packet.V311, "b"), h.connect(packet.V31, "c")
	a.send(&packet.Subscribe{ID: 1, Subscriptions: subs})
	a.want("SUBACK 1 [143 1]")
	b.send(&packet.Subscribe{ID: 1, Subscriptions: subs})
	b.want("SUBACK 1 [128 1]")
	c.send(&packet.Subscribe{ID: 1, Subscriptions: subs})
	c.want("closed")
}

func aliases(h *house) {
	s, p := h.connect(packet.V5, "s"), h.connect(packet.V5, "p")
	s.subscribe("#", 0)
	p.send(pub("long/topic", 0, 0, "1", alias(2)), pub("", 0, 0, "2", alias(2)), pub("b", 0, 0, "3", alias(2)), pub("", 0, 0, "4", alias(2)))
	s.want(`PUBLISH long/topic q0 "1"`, `PUBLISH long/topic q0 "2"`, `PUBLISH b q0 "3"`, `PUBLISH b q0 "4"`)
	p.send(pub("", 0, 0, "5", alias(1)))
	p.want("DISCONNECT Protocol Error", "closed")
}

func aliasTooHigh(h *house) {
	p := h.connect(packet.V5, "p")
	p.send(pub("a", 0, 0, "1", alias(65)))
	p.want("DISCONNECT Topic Alias invalid", "closed")
}

func receiveMaximum(h *house) {
	p := h.connect(packet.V5, "p")
	for id := uint16(1); id <= 3; id++ {
		p.send(pub("a", 2, id, "x"))
		p.want("PUBREC " + string('0'+rune(id)) + " No matching subscribers")
	}
	p.send(pub("a", 2, 4, "x"))
	p.want("DISCONNECT Receive Maximum exceeded", "closed")
}

func clientWindow(h *house) {
	s := h.connect(packet.V5, "s", func(c *packet.Connect) {
		c.Properties.ReceiveMaximum = 2
		c.Properties.Add(packet.PropReceiveMaximum)
	})
	p := h.connect(packet.V311, "p")
	s.subscribe("#", 1)
	p.send(pub("a", 1, 1, "1"), pub("a", 1, 2, "2"), pub("a", 1, 3, "3"), pub("a", 0, 0, "0"))
	s.want(`PUBLISH a q1 id=1 "1"`, `PUBLISH a q1 id=2 "2"`, `PUBLISH a q0 "0"`)
	synctest.Wait()
	s.nothing()
	s.send(&packet.Puback{ID: 2})
	s.want(`PUBLISH a q1 id=3 "3"`)
}

func clientMaxPacket(h *house) {
	s := h.connect(packet.V5, "s", func(c *packet.Connect) {
		c.Properties.MaximumPacketSize = 20
		c.Properties.Add(packet.PropMaximumPacketSize)
	})
	p := h.connect(packet.V5, "p")
	s.subscribe("#", 1)
	p.send(pub("a", 1, 1, "short"), pub("a", 1, 2, "much too long for it"), pub("a", 0, 0, "also much too long"), pub("a", 1, 3, "end"))
	s.want(`PUBLISH a q1 id=1 "short"`, `PUBLISH a q1 id=2 "end"`)
	synctest.Wait()
	if n := h.srv.Stats().Dropped["too_large"]; n != 2 {
		h.t.Errorf("dropped %d too large messages, want 2", n)
	}
}

func noSubscribers(h *house) {
	p := h.connect(packet.V5, "p")
	p.send(pub("a", 1, 1, "x"), pub("a", 2, 2, "x"))
	p.want("PUBACK 1 No matching subscribers", "PUBREC 2 No matching subscribers")
}

func sysRefused(h *house) {
	p, q := h.connect(packet.V5, "p"), h.connect(packet.V311, "q")
	p.send(pub("$SYS/x", 1, 1, "x"), pub("$SYS/x", 2, 2, "x"), pub("$SYS/x", 0, 0, "x"))
	p.want("PUBACK 1 Not authorized", "PUBREC 2 Not authorized")
	q.send(pub("$SYS/x", 1, 1, "x"))
	q.want("PUBACK 1")
	synctest.Wait()
	if n := h.srv.Stats().Dropped["refused"]; n != 4 {
		h.t.Errorf("counted %d refused, want 4", n)
	}
}

func unknownPubrel(h *house) {
	p, q := h.connect(packet.V5, "p"), h.connect(packet.V311, "q")
	p.send(&packet.Pubrel{ID: 5}, &packet.Pubrec{ID: 6})
	p.want("PUBCOMP 5 Packet Identifier not found", "PUBREL 6 Packet Identifier not found")
	q.send(&packet.Pubrel{ID: 5})
	q.want("PUBCOMP 5")
}

func pubrecError(h *house) {
	s, p := h.connect(packet.V5, "s"), h.connect(packet.V5, "p")
	s.subscribe("#", 2)
	p.send(pub("a", 2, 1, "1"))
	s.want(`PUBLISH a q2 id=1 "1"`)
	s.send(&packet.Pubrec{ID: 1, Reason: packet.QuotaExceeded}, &packet.Pingreq{})
	s.want("PINGRESP")
}
