package pipelines

import (
	"context"
	"time"
)

// wait blocks until something may have changed.
func (l *Lane) wait(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-l.alarm():
	case <-l.kick:
	case <-l.reader.Ready():
	case <-l.aheadReady():
	case err := <-l.link.done:
		l.now = time.Now()
		l.linked(err)
	case r := <-l.results:
		l.now = time.Now()
		l.finish(r)
	case c := <-l.letters.done:
		l.now = time.Now()
		l.letters.returned(c, l.now, l.buried)
	case r := <-l.requests:
		r.serve()
	case b := <-l.crew.done:
		b.done = true
	}
	if l.timer != nil {
		l.timer.Stop()
	}
}

// alarm returns a channel that is signalled when the lane must look again, nil
// for never.
func (l *Lane) alarm() <-chan time.Time {
	at := l.wake()
	switch {
	case at.IsZero():
		return nil
	case l.timer == nil:
		l.timer = time.NewTimer(time.Until(at))
	default:
		l.timer.Reset(time.Until(at))
	}
	return l.timer.C
}

// wake returns when the lane must look again though nothing else happened;
// zero for never.
func (l *Lane) wake() time.Time {
	var at time.Time
	for _, t := range [...]time.Time{
		l.wakeToWrite(), l.wakeToRead(), l.wakeToKeep(), l.wakeToShed(), l.wakeToDrain(), l.wakeToWatch(), l.wakeToConnect(),
	} {
		at = sooner(at, t)
	}
	if l.letters.state == blocked && !l.letters.busy {
		at = sooner(at, l.letters.retryAt)
	}
	return at
}

// sooner returns the earlier of two times, of which zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (l *Lane) wakeToWrite() time.Time {
	var at time.Time
	if len(l.schedule.waits) > 0 {
		at = l.schedule.waits[0].deadline
	}
	if l.breaker.state == open && l.now.Before(l.breaker.until) {
		at = sooner(at, l.breaker.until)
	}
	return at
}

func (l *Lane) wakeToRead() time.Time {
	switch {
	case l.now.Before(l.readAt):
		return l.readAt
	case !l.mayRead():
		return l.schedule.markStalled(l.now)
	}
	return time.Time{}
}

func (l *Lane) wakeToKeep() time.Time {
	var at time.Time
	if l.keeper.changed(l.ledger) {
		at = l.keeper.at.Add(cursorEvery)
	}
	if len(l.keeper.pending) > 0 && l.mayWrite() {
		at = sooner(at, l.now.Add(pollStored))
	}
	return at
}
