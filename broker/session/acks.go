package session

import (
	"cmp"
	"slices"
)

// An AckKind is the packet that acknowledges.
type AckKind uint8

// The acknowledgements that may have to wait for the journal.
const (
	PubAck AckKind = iota
	PubRec
	PubComp
)

// An Outcome is what is known of the delivery of a message.
type Outcome uint8

// Outcomes.
const (
	Undecided Outcome = iota
	Delivered         // every required output confirmed it
	Failed            // one of them did not, and never will
)

// An Ack is an acknowledgement that waits: until the journal has stored Offset
// (C10), and if Delivery says so, until it is known whether the message was
// delivered (C13).
type Ack struct {
	Offset   uint64
	Since    int64  // when it began to wait, by the server's own clock in ns
	Hash     uint64 // of topic and payload, to know a resend by; PubAck only
	Until    int64  // Unix milliseconds at which an undecided one is due all the same; 0: never
	Within   int32  // milliseconds from the PUBLISH to Until
	ID       uint16
	Kind     AckKind
	Delivery bool // it waits for the outcome
	Outcome  Outcome
	Reason   byte // reason code of one that waits for nothing but its turn
}

// Acks are the acknowledgements that wait for the journal, in the order of
// their PUBLISH packets (C12), and, for a session that outlives its
// connection, those its client was never sent.
//
// They stand in lines: one for all that wait for the journal only, one for each
// QoS and time limit of those that wait for delivery, so that these never hold
// back others and each limit is kept.
type Acks struct {
	// Strict makes one line of all that answers a PUBLISH. It is set while no
	// acknowledgement waits.
	Strict bool

	stored line
	more   []line // of those that wait for delivery; as many as there are limits
	n      int
	acks   int   // of them PUBACKs
	lost   []Ack // PUBACKs that were due on an earlier connection (C11)
}

// A line is acknowledgements that leave in their order.
type line struct {
	ring []Ack // length is 0 or a power of two
	head int
	n    int

	kind   AckKind
	within int32
}

func (l *line) at(i int) *Ack { return &l.ring[(l.head+i)&(len(l.ring)-1)] }

func (l *line) push(k Ack) {
	if l.n == len(l.ring) {
		ring := make([]Ack, max(8, 2*len(l.ring)))
		k := copy(ring, l.ring[l.head:])
		copy(ring[k:], l.ring[:l.head])
		l.ring, l.head = ring, 0
	}
	l.n++
	*l.at(l.n - 1) = k
}

func (l *line) pop() Ack {
	k := *l.at(0)
	l.head = (l.head + 1) & (len(l.ring) - 1)
	l.n--
	return k
}

// due reports whether the first in the line is to be sent.
func (l *line) due(stored uint64, now int64) bool {
	if l.n == 0 {
		return false
	}
	k := l.at(0)
	return k.Offset <= stored && (!k.Delivery || k.Outcome != Undecided || k.Until != 0 && now >= k.Until)
}

func (l *line) resolve(offset uint64, o Outcome) bool {
	for i := range l.n {
		if k := l.at(i); k.Offset == offset && k.Delivery {
			k.Outcome = o
			return true
		}
	}
	return false
}

// line returns the line for an acknowledgement. A PUBCOMP answers a PUBREL: it
// has a line of its own where all else is in one.
func (a *Acks) line(k *Ack) *line {
	within := k.Within
	switch {
	case a.Strict && k.Kind == PubComp:
		within = 0
	case a.Strict, !k.Delivery:
		return &a.stored
	}
	for i := range a.more {
		if l := &a.more[i]; l.kind == k.Kind && l.within == within {
			return l
		}
	}
	a.more = append(a.more, line{kind: k.Kind, within: within})
	return &a.more[len(a.more)-1]
}

// Wait puts an acknowledgement behind those that wait.
func (a *Acks) Wait(k Ack) {
	a.line(&k).push(k)
	a.n++
	if k.Kind == PubAck {
		a.acks++
	}
}

// Pop returns the next acknowledgement that is due when everything up to stored
// is stored: one whose Delivery is Undecided then is late. now is Unix
// milliseconds.
func (a *Acks) Pop(stored uint64, now int64) (Ack, bool) {
	if a.stored.due(stored, now) {
		return a.pop(&a.stored), true
	}
	for i := range a.more {
		if a.more[i].due(stored, now) {
			return a.pop(&a.more[i]), true
		}
	}
	return Ack{}, false
}

func (a *Acks) pop(l *line) Ack {
	k := l.pop()
	a.n--
	if k.Kind == PubAck {
		a.acks--
	}
	return k
}

// Resolve notes the outcome of the message at offset, wherever its PUBACK or
// PUBCOMP waits, and reports whether one does.
func (a *Acks) Resolve(offset uint64, o Outcome) bool {
	if a.Strict && a.stored.resolve(offset, o) {
		return true
	}
	for i := range a.more {
		if a.more[i].resolve(offset, o) {
			return true
		}
	}
	for i := range a.lost {
		if k := &a.lost[i]; k.Offset == offset && k.Delivery {
			k.Outcome = o
			return true
		}
	}
	return false
}

// all yields everything that waits, line by line.
func (a *Acks) all(yield func(*Ack) bool) {
	for i := range a.stored.n {
		if !yield(a.stored.at(i)) {
			return
		}
	}
	for i := range a.more {
		l := &a.more[i]
		for j := range l.n {
			if !yield(l.at(j)) {
				return
			}
		}
	}
}

// AwaitsStored reports whether an advance of the watermark beyond stored may
// make something due.
func (a *Acks) AwaitsStored(stored uint64) bool {
	if a.stored.n > 0 && a.stored.at(0).Offset > stored {
		return true
	}
	for i := range a.more {
		if l := &a.more[i]; l.n > 0 && l.at(0).Offset > stored {
			return true
		}
	}
	return false
}

// Deadline returns when, in Unix milliseconds, something that is stored is due
// whatever happens; 0 for never.
func (a *Acks) Deadline(stored uint64) int64 {
	first := a.stored.deadline(stored)
	for i := range a.more {
		if d := a.more[i].deadline(stored); d != 0 && (first == 0 || d < first) {
			first = d
		}
	}
	return first
}

func (l *line) deadline(stored uint64) int64 {
	if l.n == 0 || l.at(0).Offset > stored {
		return 0
	}
	return l.at(0).Until
}

// Len returns how many acknowledgements wait.
func (a *Acks) Len() int { return a.n }

// PubAcks returns how many PUBACKs wait.
func (a *Acks) PubAcks() int { return a.acks }

// Knows reports whether a PUBACK waits, or was never sent, for a message with
// this packet identifier, topic and payload: then a resend appends nothing
// (C11).
func (a *Acks) Knows(id uint16, hash uint64) bool {
	for k := range a.all {
		if k.ID == id && k.Kind == PubAck && k.Hash == hash {
			return true
		}
	}
	return a.indexLost(id, hash) >= 0
}

func (a *Acks) indexLost(id uint16, hash uint64) int {
	return slices.IndexFunc(a.lost, func(k Ack) bool { return k.ID == id && k.Hash == hash })
}

// Rejoin takes back a PUBACK that an earlier connection did not send, with what
// became of its message since, for the resend to wait with (C11).
func (a *Acks) Rejoin(id uint16, hash uint64) (k Ack, ok bool) {
	i := a.indexLost(id, hash)
	if i < 0 {
		return Ack{}, false
	}
	k = a.lost[i]
	a.lost = slices.Delete(a.lost, i, i+1)
	return k, true
}

// Waits reports whether this acknowledgement for id waits: then a resend on
// the same connection needs no second one.
func (a *Acks) Waits(id uint16, kind AckKind) bool {
	for k := range a.all {
		if k.ID == id && k.Kind == kind {
			return true
		}
	}
	return false
}

// Forget drops what is remembered of id from earlier connections: its client
// uses it for a new message.
func (a *Acks) Forget(id uint16) {
	for i, k := range a.lost {
		if k.ID == id {
			a.lost = slices.Delete(a.lost, i, i+1)
			return
		}
	}
}

// Detach ends the connection: nothing waits any more, and a client that comes
// back to its session sends again what it was not acknowledged. At most limit
// PUBACKs are remembered for that, the newest.
func (a *Acks) Detach(keep bool, limit int) {
	var lost []Ack
	if keep {
		lost = a.lost
		for k := range a.all {
			if k.Kind == PubAck && k.Offset != 0 {
				lost = append(lost, *k)
			}
		}
		slices.SortFunc(lost, func(a, b Ack) int { return cmp.Compare(a.Offset, b.Offset) })
		lost = lost[max(0, len(lost)-limit):]
	}
	*a = Acks{lost: lost}
}
