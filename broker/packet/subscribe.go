package packet

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// Subscribe is a SUBSCRIBE packet.
type Subscribe struct {
	ID            uint16
	Properties    Properties
	Subscriptions Subscriptions // at least one
}

// A Subscription is one topic filter of a SUBSCRIBE with its options. All
// options but QoS are 5.0 only.
type Subscription struct {
	Filter            []byte // checked as UTF-8 and not empty; its wildcards are not checked
	QoS               byte   // the highest the client wants
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    byte // 0: send retained messages, 1: only if the subscription is new, 2: never
}

// Subscriptions are the subscriptions of a packet as they stand on the wire.
// AppendSubscription builds one to send.
type Subscriptions []byte

// Decode takes a SUBSCRIBE apart.
func (s *Subscribe) Decode(v Version, first byte, body []byte) error {
	s.Subscriptions = nil
	if err := checkFirst(v, first, TypeSubscribe); err != nil {
		return err
	}
	r := reader{rest: body, v: v}
	s.ID = r.id()
	s.Properties.decode(&r, subscribeProps)
	list := r.rest
	if r.err == nil && len(list) == 0 {
		r.fail(protocolError(v.clause("MQTT-3.8.3-2", "MQTT-3.8.3-3"), "SUBSCRIBE without a topic filter"))
	}
	for len(r.rest) > 0 {
		filter := r.filter()
		options := r.byte("subscription options")
		if r.err == nil {
			r.check(checkOptions(v, filter, options))
		}
	}
	if r.err == nil {
		s.Subscriptions = Subscriptions(list)
	}
	return r.err
}

// filter reads a topic filter of at least one character.
func (r *reader) filter() []byte {
	b := r.text("topic filter")
	if r.err == nil && len(b) == 0 {
		r.fail(protocolError("MQTT-4.7.3-1", "topic filter is empty"))
	}
	return b
}

func checkOptions(v Version, filter []byte, options byte) error {
	switch {
	case v < V5 && options > 2:
		return malformed("MQTT-3.8.3-4", "subscription options other than QoS 0, 1 or 2")
	case options&0xc0 != 0:
		return malformed("MQTT-3.8.3-5", "reserved subscription option is set")
	case options&3 == 3:
		return protocolError("MQTT 5.0 3.8.3.1", "QoS 3")
	case options&0x30 == 0x30:
		return protocolError("MQTT 5.0 3.8.3.1", "retain handling 3")
	case options&4 != 0 && bytes.HasPrefix(filter, []byte("$share/")):
		return protocolError("MQTT-3.8.3-4", "No Local on a shared subscription")
	}
	return nil
}

// AppendTo appends the packet in the form of version v.
func (s *Subscribe) AppendTo(dst []byte, v Version) []byte {
	dst, mark := openLength(append(dst, TypeSubscribe.first()))
	dst = binary.BigEndian.AppendUint16(dst, s.ID)
	dst = s.Properties.appendTo(dst, v, subscribeProps)
	if v >= V5 {
		return closeLength(append(dst, s.Subscriptions...), mark)
	}
	for sub := range s.Subscriptions.All() {
		dst = append(appendBinary(dst, sub.Filter), sub.QoS)
	}
	return closeLength(dst, mark)
}

// Next returns the first subscription and the rest; ok is false when there is
// none.
func (s Subscriptions) Next() (sub Subscription, rest Subscriptions, ok bool) {
	n := binarySize(s)
	if n >= len(s) {
		return Subscription{}, nil, false
	}
	options := s[n]
	return Subscription{
		Filter:            s[2:n:n],
		QoS:               options & 3,
		NoLocal:           options&4 != 0,
		RetainAsPublished: options&8 != 0,
		RetainHandling:    options >> 4 & 3,
	}, s[n+1:], true
}

// All returns an iterator over the subscriptions.
func (s Subscriptions) All() iter.Seq[Subscription] {
	return func(yield func(Subscription) bool) {
		for sub, rest, ok := s.Next(); ok; sub, rest, ok = rest.Next() {
			if !yield(sub) {
				return
			}
		}
	}
}

// AppendSubscription appends a subscription to send.
func AppendSubscription(dst Subscriptions, s Subscription) Subscriptions {
	options := s.QoS | s.RetainHandling<<4
	if s.NoLocal {
		options |= 4
	}
	if s.RetainAsPublished {
		options |= 8
	}
	return append(appendBinary(dst, s.Filter), options)
}
