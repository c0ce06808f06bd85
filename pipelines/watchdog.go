package pipelines

import (
	"context"
	"log/slog"
	"time"
)

// A watchdog looks for progress where there is work: a sink that says nothing
// for too long is opened anew, whatever its socket says, and again after each
// such time.
type watchdog struct {
	every   time.Duration
	since   time.Time // since when the sink owes an answer, zero while it does not
	stalled time.Time // since when the lane is stalled, zero while it is not
}

// watch starts, stops and heeds the watchdog.
func (l *Lane) watch(ctx context.Context) {
	w := &l.watchdog
	switch {
	case !l.expectant():
		w.since = time.Time{}
	case w.since.IsZero():
		w.since = l.now
	case l.now.Sub(w.since) >= w.every:
		if w.stalled.IsZero() {
			w.stalled = l.now
			l.log.Error("sink confirms nothing, opened again", slog.Int("count", l.schedule.flying))
		}
		w.since = l.now
		l.redial(ctx)
	}
}

// expectant reports whether the sink owes the lane an answer. A lane that waits
// for its cursor, for room in the dead letters or for its drain rate owes
// itself.
func (l *Lane) expectant() bool {
	return l.link.state == up && (l.schedule.flying > 0 || !l.barred() && (l.failing > 0 || l.breaker.state != closed))
}

// barred reports whether the lane would not write though the sink were well.
func (l *Lane) barred() bool { return l.paused.Load() || l.lettersHold() }

// answered enters that the sink has settled something.
func (l *Lane) answered() {
	w := &l.watchdog
	w.since = time.Time{}
	l.status.confirmed.Store(l.now.UnixNano())
	if !w.stalled.IsZero() {
		w.stalled = time.Time{}
		l.log.Info("sink confirms again")
	}
}

// wakeToWatch returns when the sink will have owed an answer for too long.
func (l *Lane) wakeToWatch() time.Time {
	if w := &l.watchdog; !w.since.IsZero() {
		return w.since.Add(w.every)
	}
	return time.Time{}
}
