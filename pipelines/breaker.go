package pipelines

import (
	"math/rand/v2"
	"time"
)

// The back-off of a shard and of a lane: full jitter below a ceiling that
// doubles from the first to the second.
const (
	firstBackOff = 100 * time.Millisecond
	lastBackOff  = 5 * time.Second
)

// backOff returns how long to wait after the nth failure in a row, n from 1.
func backOff(n int) time.Duration {
	ceiling := lastBackOff
	if n < 8 {
		ceiling = min(lastBackOff, firstBackOff<<(n-1))
	}
	return time.Millisecond + rand.N(ceiling-time.Millisecond+1)
}

// A breaker holds back a whole lane while its sink is unavailable. When a
// pause is over one write goes ahead as a probe; its end decides.
type breaker struct {
	state    breakerState
	failures int       // in a row
	until    time.Time // open: no probe before
	since    time.Time // not closed: when the outage began
	outages  time.Duration
}

type breakerState uint8

const (
	closed breakerState = iota
	open
	probing
)

// allows reports whether a write may begin; when it is the probe of an open
// breaker, admit must follow.
func (b *breaker) allows(now time.Time) bool {
	return b.state == closed || b.state == open && !now.Before(b.until)
}

// admit lets the write begin that allows spoke of, and reports whether it is
// the probe.
func (b *breaker) admit() bool {
	if b.state == open {
		b.state = probing
	}
	return b.state == probing
}

// trip enters that a write that began at began found the sink unavailable.
// Writes that were in flight when the breaker opened say nothing new.
func (b *breaker) trip(began, now time.Time, probe bool) {
	if b.state == closed {
		b.since, b.failures = began, 0
	} else if !probe {
		return
	}
	b.failures++
	b.state, b.until = open, now.Add(backOff(b.failures))
}

// mend enters that the probe reached the sink.
func (b *breaker) mend(now time.Time) {
	b.outages = b.downtime(now)
	b.state, b.failures = closed, 0
}

// downtime is how long the sink has been unavailable in all.
func (b *breaker) downtime(now time.Time) time.Duration {
	if b.state == closed {
		return b.outages
	}
	return b.outages + now.Sub(b.since)
}
