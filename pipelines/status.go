package pipelines

import (
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/internal/message"
)

// A LaneState says in a word how a lane is.
type LaneState string

// The states of a lane. All but Running and Paused deserve a look.
const (
	Opening     LaneState = "opening"     // the sink is being opened for the first time
	Running     LaneState = "running"     // nothing is wrong
	Paused      LaneState = "paused"      // until somebody resumes it
	Unavailable LaneState = "unavailable" // the sink says it cannot be reached
	Stalled     LaneState = "stalled"     // the sink confirms nothing, whatever it says
	Blocked     LaneState = "blocked"     // there is no room for what the sink refused
	Stopped     LaneState = "stopped"     // Run has returned
)

// A LaneStatus is how a lane is at one moment.
type LaneStatus struct {
	Name   string
	State  LaneState
	Reason string    // of a state that is not well, for people
	Since  time.Time // of State and Reason

	Messages, Bytes int64     // the backlog
	Oldest          time.Time // when the oldest message of it was received; zero for none
	Full            time.Time // since when the intake refuses for it, zero while it does not
	InFlight        int       // records

	Breaker       string    // closed, open, probing
	LastConfirmed time.Time // zero before the first
	LastError     string    // of the sink, "" for none
	LastErrorAt   time.Time
}

// Healthy reports whether the lane does what it should.
func (s *LaneStatus) Healthy() bool {
	return s.State == Running || s.State == Paused || s.State == Opening
}

// A status is what the lane's goroutine tells others, without a lock.
type status struct {
	condition atomic.Pointer[condition]
	oldest    atomic.Int64 // Unix milliseconds, 0 for none
	flying    atomic.Int64 // records
	confirmed atomic.Int64 // Unix nanoseconds, 0 for never
}

// A condition is what rarely changes; it never does once it is shown.
type condition struct {
	state   LaneState
	reason  string
	breaker breakerState
	since   time.Time
}

func (b breakerState) String() string {
	return [...]string{"closed", "open", "probing"}[b]
}

// Status returns how the lane is. It may be called at any time.
func (l *Lane) Status() LaneStatus {
	s := LaneStatus{
		Name: l.name, State: Opening,
		Messages: l.Backlog().Messages(), Bytes: l.Backlog().Bytes(), Full: l.Backlog().FullSince(),
		InFlight: int(l.status.flying.Load()), Breaker: closed.String(),
	}
	if c := l.status.condition.Load(); c != nil {
		s.State, s.Reason, s.Since, s.Breaker = c.state, c.reason, c.since, c.breaker.String()
	}
	if at := l.status.oldest.Load(); at != 0 {
		s.Oldest = time.UnixMilli(at)
	}
	if at := l.status.confirmed.Load(); at != 0 {
		s.LastConfirmed = time.Unix(0, at)
	}
	if e := l.errors.last.Load(); e != nil {
		s.LastError, s.LastErrorAt = e.text, e.at
	}
	return s
}

func stopReason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// report makes the present state visible.
func (l *Lane) report() {
	if n := int64(l.schedule.flying); n != l.status.flying.Load() {
		l.status.flying.Store(n)
	}
	var oldest int64
	if at := l.oldest(); !at.IsZero() {
		oldest = at.UnixMilli()
	}
	if oldest != l.status.oldest.Load() {
		l.status.oldest.Store(oldest)
	}
	l.become(l.judgeState())
}

// become shows a new state.
func (l *Lane) become(state LaneState, reason string) {
	old := l.status.condition.Load()
	if old != nil && old.state == state && old.reason == reason && old.breaker == l.breaker.state {
		return
	}
	c := &condition{state: state, reason: reason, breaker: l.breaker.state, since: l.now}
	if old != nil && old.state == state && old.reason == reason {
		c.since = old.since
	}
	l.status.condition.Store(c)
}

// judgeState finds the worst that can be said of the lane.
func (l *Lane) judgeState() (LaneState, string) {
	k := &l.link
	switch {
	case l.paused.Load():
		return Paused, ""
	case l.breaker.state != closed:
		return Unavailable, "the sink cannot be reached"
	case !l.watchdog.stalled.IsZero():
		return Stalled, "no confirmation for " + l.watchdog.every.String()
	case k.failed > 0:
		return Unavailable, "the sink cannot be opened"
	case k.state != up && k.epoch == 0:
		return Opening, ""
	case l.letters.full():
		return Blocked, "the dead letters have no room"
	case l.keeper.err != nil:
		return Blocked, "the cursor cannot be stored"
	}
	return Running, ""
}

// oldest returns when the oldest message that is not settled was received, zero
// when the lane knows of none.
func (l *Lane) oldest() time.Time {
	if w := &l.ledger.window; w.size > 0 {
		if at := w.slots[w.head].received; at != 0 {
			return time.UnixMilli(at)
		}
		return time.Time{}
	}
	return l.lookout.oldest
}

// lookoutsPerTurn is how many messages a lookout passes in one turn.
const lookoutsPerTurn = 1024

// A lookout finds the message a lane that may not read would read next, for the
// age of its backlog.
type lookout struct {
	reader   Reader
	position uint64 // the lane's, when it was sent
	oldest   time.Time
	busy     bool // there is more to pass at once
	numbers  []uint32
	rules    []int32
	message  message.Message
}

// lookAhead sends a lookout while the lane holds nothing and may not read, and
// forgets what it saw when the lane has moved on.
func (l *Lane) lookAhead() {
	o := &l.lookout
	needed := l.barred() && l.ledger.window.size == 0
	if !needed || o.position != l.ledger.position {
		o.rest(l.ledger.position)
	}
	if !needed || !o.oldest.IsZero() || l.Backlog().Messages() == 0 {
		return
	}
	if o.reader == nil {
		o.reader = l.journal.NewReader(o.position)
	}
	o.busy = l.search(o)
	if !o.oldest.IsZero() {
		o.reader.Close()
		o.reader = nil
	}
}

// search goes on until the lookout has found something, and reports whether
// there is more to pass at once.
func (l *Lane) search(o *lookout) (more bool) {
	for range lookoutsPerTurn {
		offset, ok, err := o.reader.Next()
		if !ok || err != nil {
			return false
		}
		if l.isOwed(o, offset) {
			o.oldest = o.message.Time()
			return false
		}
	}
	return true
}

// isOwed reports whether the lookout has come to a message the lane is owed.
func (l *Lane) isOwed(o *lookout, offset uint64) bool {
	o.numbers = o.reader.Rules(o.numbers[:0])
	o.rules = l.ledger.wanted(offset, o.numbers, o.rules[:0])
	return len(o.rules) > 0 && !covered(l.beyond(), offset) && o.reader.Message(&o.message) == nil
}

// rest calls the lookout back.
func (o *lookout) rest(position uint64) {
	if o.reader != nil {
		o.reader.Close()
		o.reader = nil
	}
	o.position, o.oldest, o.busy = position, time.Time{}, false
}
