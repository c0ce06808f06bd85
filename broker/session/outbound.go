package session

// Bounds limit what is kept for one session (I6).
type Bounds struct {
	Messages int // waiting and in flight
	Bytes    int
}

// Outbound is the sending half of a session: the messages that wait, the
// packet identifiers in flight, and what has to be sent again after a new
// connection. The zero value is a session that ends with its connection and
// whose window is closed until Attach opens it.
type Outbound struct {
	flight inflight
	queue  queue
	resend []uint16 // in flight when the last connection ended, not sent again yet
	bounds Bounds
	limit  int // Receive Maximum of the connected client
	window int // of it in use
	bytes  int // of everything kept
	queued int // of it in the queue
	keep   bool
}

// Attach begins a connection whose client takes limit messages at a time
// [MQTT-3.3.4-7]. keep says that the session outlives it. What is in flight
// from the connection before becomes due to be sent again [MQTT-4.4.0-1].
func (o *Outbound) Attach(limit int, keep bool, b Bounds) {
	o.bounds = b
	o.limit, o.window = min(limit, maxIDs), 0
	if keep && !o.keep {
		o.startKeeping()
	}
	o.keep = o.keep || keep // what is in flight from before is kept in any case
	if o.flight.used > 0 {
		o.resend = o.flight.order()
	}
}

// startKeeping makes room beside slots that so far held no messages.
func (o *Outbound) startKeeping() {
	o.flight = inflight{last: o.flight.last}
}

// Detach ends the connection. What remains gets memory of its own, since
// nobody knows how long it will wait.
func (o *Outbound) Detach() {
	o.limit, o.window, o.resend = 0, 0, nil
	if !o.keep {
		*o = Outbound{}
		return
	}
	alone := func(d *Delivery) {
		if d.Message != nil {
			d.Message = d.Message.Alone()
		}
	}
	for i := range o.flight.slots {
		if s := &o.flight.slots[i]; s.state != free {
			s.counted = false
			alone(&o.flight.kept[i].Delivery)
		}
	}
	o.queue.each(alone)
}

// Direct returns how many messages may be sent at once, without the queue:
// none while others wait.
func (o *Outbound) Direct() int {
	if o.queue.n > 0 || len(o.resend) > 0 {
		return 0
	}
	return o.room()
}

func (o *Outbound) room() int {
	return min(o.limit-o.window, maxIDs-o.flight.used)
}

// Keeps reports whether messages sent directly have to be kept: the session
// outlives its connection.
func (o *Outbound) Keeps() bool { return o.keep }

// Begin takes a packet identifier for a message that is sent directly and of
// which nothing is kept. Direct must have allowed it.
func (o *Outbound) Begin(qos byte) uint16 {
	o.window++
	return o.flight.take(sent(qos), false)
}

// BeginKept is Begin for sessions that outlive their connection.
func (o *Outbound) BeginKept(d Delivery) uint16 {
	o.window++
	o.bytes += d.Message.Size()
	id := o.flight.take(sent(d.QoS), true)
	o.flight.keep(id, d)
	return id
}

func sent(qos byte) state {
	if qos == 2 {
		return wantsRec
	}
	return wantsAck
}

// Fits reports whether a message may be kept under the session's bounds.
func (o *Outbound) Fits(size int) bool {
	return o.Len() < o.bounds.Messages && o.bytes+size <= o.bounds.Bytes
}

// Push makes a message wait. It reports false, and keeps nothing, when the
// session's bounds are reached: the newest is dropped.
func (o *Outbound) Push(d Delivery) bool {
	size := d.Message.Size()
	if !o.Fits(size) {
		return false
	}
	o.bytes += size
	o.queued += size
	o.queue.push(d)
	return true
}

// Next returns the next thing to send, if something waits and the window
// allows it: what was in flight on an earlier connection in its old order and
// with its old identifiers, then what waits. Messages whose expiry has passed
// are dropped, and counted in expired. A QoS 0 delivery takes no window.
func (o *Outbound) Next(now int64) (d Delivery, expired int, ok bool) {
	for len(o.resend) > 0 {
		d, wait := o.again()
		if wait {
			return Delivery{}, 0, false
		}
		if d.ID != 0 {
			return d, 0, true
		}
	}
	for o.queue.n > 0 {
		front := o.queue.front()
		if front.Message.Expired(now) {
			o.pop()
			expired++
			continue
		}
		if front.QoS > 0 && o.room() <= 0 {
			break
		}
		return o.start(o.pop()), expired, true
	}
	return Delivery{}, expired, false
}

// pop takes the next delivery out of the queue.
func (o *Outbound) pop() Delivery {
	d := *o.queue.front()
	o.queue.drop()
	o.bytes -= d.Message.Size()
	o.queued -= d.Message.Size()
	return d
}

// start gives a message that waited its packet identifier.
func (o *Outbound) start(d Delivery) Delivery {
	switch {
	case d.QoS == 0:
	case o.keep:
		d.ID = o.BeginKept(d)
	default:
		d.ID = o.Begin(d.QoS)
	}
	return d
}

// again returns the next delivery to be sent again; its ID is 0 when it has
// been acknowledged meanwhile. wait is true when the window is closed.
func (o *Outbound) again() (d Delivery, wait bool) {
	id := o.resend[0]
	s := o.flight.find(id)
	switch {
	case s == nil:
	case s.state == wantsComp:
		d = Delivery{ID: id, QoS: 2, Release: true}
	case o.window >= o.limit:
		return Delivery{}, true
	default:
		s.counted = true
		o.window++
		d = *o.flight.delivery(id)
		d.Dup = true
	}
	o.resend = o.resend[1:]
	if len(o.resend) == 0 {
		o.resend = nil
	}
	return d, false
}

// Ack ends the delivery of a QoS 1 message. It reports false when no PUBACK
// was expected for id.
func (o *Outbound) Ack(id uint16) bool {
	s := o.flight.find(id)
	if s == nil || s.state != wantsAck {
		return false
	}
	o.end(s)
	return true
}

// Rec notes the PUBREC of a QoS 2 message, after which only its PUBREL is sent
// [MQTT-4.3.3-5]. refused, a reason code of 0x80 and above, ends the delivery. It
// reports false when no PUBREC was expected for id.
func (o *Outbound) Rec(id uint16, refused bool) bool {
	s := o.flight.find(id)
	switch {
	case s == nil || s.state == wantsAck:
		return false
	case s.state == wantsComp:
	case refused:
		o.end(s)
	default:
		s.state = wantsComp
		o.forget(id) // the message is the receiver's now, the identifier still ours
	}
	return true
}

// Comp ends the delivery of a QoS 2 message. It reports false when no PUBCOMP
// was expected for id.
func (o *Outbound) Comp(id uint16) bool {
	s := o.flight.find(id)
	if s == nil || s.state != wantsComp {
		return false
	}
	o.end(s)
	return true
}

func (o *Outbound) end(s *slot) {
	if s.counted {
		o.window--
	}
	if o.keep {
		o.forget(s.id)
		o.flight.kept[int(s.id)&(len(o.flight.slots)-1)] = kept{}
	}
	*s = slot{}
	o.flight.used--
}

// forget lets the message go that is kept beside id.
func (o *Outbound) forget(id uint16) {
	if !o.keep {
		return
	}
	if d := o.flight.delivery(id); d.Message != nil {
		o.bytes -= d.Message.Size()
		d.Message, d.IDs = nil, nil
	}
}

// Len returns how many messages wait or are in flight.
func (o *Outbound) Len() int { return o.queue.n + o.flight.used }

// Waiting returns how many messages wait to be sent, for the first time or
// again.
func (o *Outbound) Waiting() int { return o.queue.n + len(o.resend) }

// InFlight returns how many packet identifiers are in use.
func (o *Outbound) InFlight() int { return o.flight.used }

// Bytes returns what is kept, in bytes.
func (o *Outbound) Bytes() int { return o.bytes }

// Backlog returns how far the client is behind, in bytes: what waits, and what
// is in flight beyond half of what may be kept.
func (o *Outbound) Backlog() int {
	return o.queued + max(0, o.bytes-o.queued-o.bounds.Bytes/2)
}
