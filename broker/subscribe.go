package broker

import (
	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/broker/session"
	"github.com/penstock/penstock/broker/topic"
)

// subscribe answers a SUBSCRIBE, then sends the retained messages that match.
func (c *conn) subscribe(b *burst, first byte, body []byte) error {
	var p packet.Subscribe
	if err := p.Decode(c.version, first, body); err != nil {
		return err
	}
	id := p.Properties.SubscriptionIDs.First()
	answer := packet.Suback{ID: p.ID}
	var send []session.Delivery
	for req := range p.Subscriptions.All() {
		code, existed := c.subscribeOne(&req, id)
		if c.version == packet.V31 && code.IsError() { // 3.1 has no way to say so
			return &packet.Error{Reason: code, Clause: "MQTT-3.8.3-1", Detail: "topic filter that cannot be subscribed to"}
		}
		answer.Codes = append(answer.Codes, code)
		if !code.IsError() && wantsRetained(&req, existed) {
			send = c.appendRetained(send, &req, id, b.now)
		}
	}
	c.answer(answer.AppendTo(nil, c.version), send, b)
	return nil
}

// subscribeOne makes one subscription and returns its code for SUBACK.
func (c *conn) subscribeOne(req *packet.Subscription, id uint32) (code packet.ReasonCode, existed bool) {
	filter := string(req.Filter)
	if topic.ValidFilter(filter) != nil {
		return packet.TopicFilterInvalid, false
	}
	sub := &subscription{
		filter: filter, client: c.client, id: id, qos: req.QoS,
		noLocal: req.NoLocal, rap: req.RetainAsPublished,
	}
	existed, ok := c.srv.subs.add(sub)
	if !ok {
		return packet.QuotaExceeded, false
	}
	return packet.ReasonCode(req.QoS), existed
}

// wantsRetained reports whether a subscription gets retained messages: always,
// if it is new, or never ([MQTT-3.3.1-9], [MQTT-3.3.1-10], [MQTT-3.3.1-11]). A
// shared one never does.
func wantsRetained(req *packet.Subscription, existed bool) bool {
	if share, _ := topic.SplitShare(string(req.Filter)); share != "" {
		return false
	}
	return req.RetainHandling == 0 || req.RetainHandling == 1 && !existed
}

func (c *conn) appendRetained(send []session.Delivery, req *packet.Subscription, id uint32, t int64) []session.Delivery {
	var ids []uint32
	if id != 0 {
		ids = []uint32{id}
	}
	for _, m := range c.srv.retained.match(string(req.Filter), t) {
		send = append(send, session.Delivery{
			Message: m, IDs: ids, QoS: min(m.QoS, req.QoS),
			Retain: true, // [MQTT-3.3.1-8]
		})
	}
	return send
}

// answer sends a packet, and messages behind it as the client's window allows.
func (c *conn) answer(p []byte, send []session.Delivery, b *burst) {
	cl := c.client
	cl.mu.Lock()
	defer cl.mu.Unlock()
	c.out.append(&c.srv.pool, p)
	for _, d := range send {
		if !cl.session.Push(d) {
			b.drops[dropQueueFull]++
		}
	}
	c.refill()
}

// unsubscribe answers an UNSUBSCRIBE. Messages that are on their way are still
// delivered [MQTT-3.10.4-3].
func (c *conn) unsubscribe(first byte, body []byte) error {
	var p packet.Unsubscribe
	if err := p.Decode(c.version, first, body); err != nil {
		return err
	}
	answer := packet.Unsuback{ID: p.ID}
	for filter := range p.Filters.All() {
		code := packet.Success
		switch {
		case c.srv.subs.remove(c.client, string(filter)):
		case topic.ValidFilter(string(filter)) != nil:
			code = packet.TopicFilterInvalid
		default:
			code = packet.NoSubscriptionExisted
		}
		answer.Codes = append(answer.Codes, code)
	}
	c.answer(answer.AppendTo(nil, c.version), nil, nil)
	return nil
}
