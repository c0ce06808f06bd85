package pipelines

import (
	"hash/maphash"
	"time"

	"github.com/penstock/penstock/internal/message"
)

// A policy says what becomes of a lane's messages when a bound is reached.
type policy uint8

const (
	refuse     policy = iota // block: the intake refuses what the lane's rules want
	dropOldest               // the oldest are given up
	dropNewest               // what comes is given up until there is room
	keepLatest               // of each topic only the newest record stays
	policies
)

func (p policy) String() string {
	return [...]string{"block", "drop_oldest", "drop_newest", "keep_latest"}[p]
}

// policyOf returns the policy of a name, of which "" is block.
func policyOf(name string) (policy, bool) {
	for p := range policies {
		if p.String() == name {
			return p, true
		}
	}
	return refuse, name == ""
}

// An overflow is what a lane may be owed, and what it does beyond that.
type overflow struct {
	policy policy
	max    count         // 0: no bound
	age    time.Duration // 0: no bound
	topics maphash.Seed  // of the topics' hashes in keep_latest

	filled bool   // drop_newest gives up what comes until there is room
	read   uint64 // messages evaluated
	looked uint64 // of these, when keepLatest last looked

	settled uint64 // records settled when shedAgain last looked
}

// newOverflow joins the configuration with the lane's share of the journal,
// which bounds the bytes unless the configuration says otherwise (C7).
func newOverflow(c DeliveryConfig, share int64) overflow {
	p, _ := policyOf(c.OnFull)
	o := overflow{
		policy: p, max: count{c.Max.Records, c.Max.Bytes}, age: c.Max.Age,
		topics: maphash.MakeSeed(),
	}
	if o.max.bytes == 0 {
		o.max.bytes = share
	}
	if p == keepLatest {
		o.max.messages = smaller(o.max.messages, maxLatestRecords)
		o.max.bytes = smaller(o.max.bytes, maxLatestBytes)
	}
	return o
}

// smaller returns the smaller of two bounds, of which zero is none.
func smaller(a, b int64) int64 {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// bound puts the bounds into the backlog, which only refuses with block.
func (o *overflow) bound(b *Backlog) {
	if o.policy == refuse {
		b.bound(o.max.messages, o.max.bytes)
		return
	}
	b.bound(0, 0)
}

// excess returns by how much n is above the bounds, negative below them.
func (o *overflow) excess(n count) count {
	e := count{-1, -1}
	if o.max.messages > 0 {
		e.messages = n.messages - o.max.messages
	}
	if o.max.bytes > 0 {
		e.bytes = n.bytes - o.max.bytes
	}
	return e
}

func (c count) positive() bool { return c.messages > 0 || c.bytes > 0 }

// note keeps of a message what the policies ask for later.
func (o *overflow) note(e *entry, m *message.Message) {
	e.received = m.Received
	if o.policy == keepLatest {
		e.topic = maphash.String(o.topics, m.Topic)
	}
	o.read++
}

// excess returns by how much the lane is owed more than it may be. What a
// policy could not give up (it is in flight, or its outcome is open) does not
// count: the newest that fit are kept, not what is left beside it.
func (l *Lane) excess() count {
	total := l.ledger.owed.total()
	if l.overflow.policy != dropNewest { // which keeps what is there anyway
		total.take(l.ledger.pinned.messages, l.ledger.pinned.bytes)
	}
	return l.overflow.excess(total)
}

// certain reports whether the lane knows what it is owed well enough to give
// something up. A guess that is too high would cost messages there is room for,
// so what the journal held at the start is counted first.
func (l *Lane) certain() bool {
	if l.ledger.owed.exact {
		return true
	}
	l.openScout()
	return false
}

// hungry reports whether the lane must read on though there is work enough at
// hand: a bound is reached, and what has to go, or with keep_latest what it has
// to give way to, is not read yet.
func (l *Lane) hungry() bool {
	switch l.overflow.policy {
	case keepLatest:
		return l.excess().positive()
	case dropOldest:
		return l.ledger.window.cut == none && l.excess().positive()
	default:
		return false
	}
}

// overrun enforces the bounds (I6). It comes before dispatch, so that what is
// too old is not written.
func (l *Lane) overrun() {
	o := &l.overflow
	if o.policy == refuse {
		l.ageBacklog()
		if l.ledger.owed.guess.messages > 0 && l.Backlog().Full() {
			l.openScout() // it may not be full at all
		}
		return
	}
	if o.age > 0 {
		l.expire()
	}
	l.shedAgain()
	if !l.excess().positive() || !l.certain() {
		return
	}
	switch o.policy {
	case dropNewest:
		l.openScout()
	case keepLatest:
		l.keepLatest()
	default:
		l.shedOldest(l.excess())
	}
}

// ageBacklog tells the backlog whether its oldest message is at its bound. It
// is young enough again below nine tenths of it.
func (l *Lane) ageBacklog() {
	age := l.overflow.age
	if age == 0 {
		return
	}
	oldest := l.oldest()
	if l.Backlog().late.Load() {
		age -= age / 10
	}
	l.Backlog().age(!oldest.IsZero() && l.now.Sub(oldest) >= age)
}

// wakeToShed returns when the next message reaches its age.
func (l *Lane) wakeToShed() time.Time {
	age := l.overflow.age
	if age == 0 {
		return time.Time{}
	}
	if l.overflow.policy == refuse {
		if oldest := l.oldest(); !oldest.IsZero() && !l.Backlog().late.Load() {
			return oldest.Add(age)
		}
		return time.Time{}
	}
	w := &l.ledger.window
	if w.cut == none {
		return time.Time{}
	}
	return time.UnixMilli(w.slots[w.cut].received).Add(age)
}

// overdue reports whether the lane must read though it may not deliver: what it
// has to give up is not read yet.
func (l *Lane) overdue() bool {
	p := l.overflow.policy
	return (p == dropOldest || p == keepLatest) && l.excess().positive()
}
