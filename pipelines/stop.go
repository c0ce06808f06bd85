package pipelines

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// drain ends the lane: no new write begins, those in flight have stopTime
// before cancel ends them, and what they settled is stored. What does not end
// then either is left behind: its records are written again after a restart.
func (l *Lane) drain(cancel context.CancelFunc) {
	l.crew.drop() // it is read again in the next life
	end := time.NewTimer(stopTime)
	defer end.Stop()
	told := false
	for l.now = time.Now(); l.settling(told); l.now = time.Now() {
		if l.awaitEnd(end.C) {
			continue
		}
		if told && !l.letters.busy { // letters we write ourselves, and they end
			break
		}
		told = true
		cancel()
		end.Reset(graceTime)
	}
	l.leaveBehind()
	if l.keeper.changed(l.ledger) {
		l.keeper.store(l.ledger, l.beyond(), l.now)
	}
	l.checkpoints.at = time.Time{} // due, if anything changed
	l.checkpoint()
	l.publish()
}

// settling reports whether something is on its way that may end yet, and sends
// what letters wait, unless everything was told to end.
func (l *Lane) settling(told bool) bool {
	if !told {
		l.letters.send(l.now)
	}
	return l.letters.busy || l.schedule.flying > 0 || l.link.busy()
}

// awaitEnd waits for something to end; false when the time is over.
func (l *Lane) awaitEnd(over <-chan time.Time) bool {
	select {
	case r := <-l.results:
		l.finish(r)
	case c := <-l.letters.done:
		l.letters.returned(c, l.now, l.buried)
	case r := <-l.requests:
		r.serve()
	case err := <-l.link.done:
		l.link.leave(err)
	case <-over:
		return false
	}
	return true
}

// leaveBehind says what did not end though it was told to.
func (l *Lane) leaveBehind() {
	if n := len(l.schedule.writing); n > 0 {
		l.log.Error("writes did not end, left behind", slog.Int("count", n))
	}
	if l.link.busy() {
		l.log.Error("sink did not open or close, left behind")
	}
}

// close closes the sink if it is open; ctx has ended, or not when the lane gave
// up. A sink that does not come back from Close is left behind.
func (l *Lane) close(ctx context.Context) error {
	if l.link.state != up {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- l.sink.Close(ctx) }()
	end := time.NewTimer(stopTime + graceTime)
	defer end.Stop()
	select {
	case err := <-closed:
		if err != nil {
			return fmt.Errorf("close sink: %w", err)
		}
	case <-end.C:
		l.log.Error("sink did not close, left behind")
	}
	return nil
}
