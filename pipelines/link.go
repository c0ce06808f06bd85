package pipelines

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/penstock/penstock/bridges"
)

const (
	// readAfter is how long a lane waits for its sink to open before it reads:
	// a sink that is open knows its shards better.
	readAfter = time.Second
	// openTime bounds one attempt to open the sink.
	openTime = 30 * time.Second
)

// A link is the lane's connection to its sink. Opening and closing run beside
// the lane's loop, which goes on reading, settling and answering meanwhile.
type link struct {
	state   linkState
	failed  int        // attempts to open in a row
	at      time.Time  // down: the next attempt; closing: when writes in flight are given up
	began   time.Time  // of the first attempt
	ended   bool       // the call of Close has returned
	epoch   uint32     // counts the connections
	done    chan error // capacity 1: how Open or Close ended
	lastErr error      // of the last attempt
}

type linkState uint8

const (
	down    linkState = iota // not open; Open is due at a time
	opening                  // Open runs
	up                       // writes may begin
	closing                  // Close runs, or writes in flight are waited for
)

// connect takes the link a step further where that needs no waiting.
func (l *Lane) connect(ctx context.Context) {
	k := &l.link
	if k.began.IsZero() {
		k.began = l.now
	}
	if k.state == closing && (!l.now.Before(k.at) || k.ended && l.schedule.flying == 0) {
		l.abandon()
		k.state, k.at = down, l.now
	}
	if k.state == down && !l.now.Before(k.at) && !l.paused.Load() {
		k.state = opening
		go l.open(ctx)
	}
}

// open runs one Open. A sink that binds itself to the context of Open would
// die with the attempt, which its contract forbids.
func (l *Lane) open(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	l.tell(l.sink.Open(ctx))
}

// tell hands over how a call ended, unless nobody listens any more.
func (l *Lane) tell(err error) {
	select {
	case l.link.done <- err:
	case <-l.ended:
	}
}

// busy reports whether a call of Open or Close has not returned.
func (k *link) busy() bool { return k.state == opening || k.state == closing && !k.ended }

// wakeToConnect returns when the link has to be looked at.
func (l *Lane) wakeToConnect() time.Time {
	k := &l.link
	switch {
	case k.state == closing, k.state == down && !l.paused.Load():
		return k.at
	case !l.mayStartToRead():
		return k.began.Add(readAfter)
	}
	return time.Time{}
}

// linked enters how Open or Close ended.
func (l *Lane) linked(err error) {
	k := &l.link
	switch k.state {
	case opening:
		l.opened(err)
	case closing:
		k.ended = true
		if err != nil {
			l.log.Warn("close sink to open it again", slog.Any("err", err))
		}
	default: // a Close that was given up ended after all
	}
}

// leave enters how Open or Close ended when the lane stops.
func (k *link) leave(err error) {
	switch {
	case k.state == closing:
		k.ended = true
	case err == nil:
		k.state = up
	default:
		k.state = down
	}
}

func (l *Lane) opened(err error) {
	k := &l.link
	switch {
	case err == nil:
		k.state, k.failed, k.lastErr = up, 0, nil
		if l.failing == 0 && l.breaker.state == closed {
			l.errors.clear()
		}
	case mayPass(err) || k.epoch > 0:
		k.failed++
		k.state, k.at, k.lastErr = down, l.now.Add(backOff(k.failed)), err
		l.errors.note(k.failed, err)
	default:
		k.state = down
		l.stop = fmt.Errorf("open sink: %w", err)
	}
}

// mayStartToRead reports whether the lane may read though its sink is not open
// yet: its figures and the age of its oldest message must not wait for that.
func (l *Lane) mayStartToRead() bool {
	k := &l.link
	return k.state == up || k.epoch > 0 || k.failed > 0 || l.now.Sub(k.began) >= readAfter
}

// redial closes the sink and opens it again, whatever it says about its
// connection. What is in flight has a moment to end; then it is given up, and
// written again like anything whose outcome is open (C18).
func (l *Lane) redial(ctx context.Context) {
	k := &l.link
	k.state, k.ended, k.at = closing, false, l.now.Add(stopTime)
	k.epoch++
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		l.tell(l.sink.Close(ctx))
	}()
}

// abandon gives up the writes that did not end though their sink was closed.
// Their batches stay with them, since nobody knows who still reads them; copies
// are written again, in the same order.
func (l *Lane) abandon() {
	for len(l.schedule.writing) > 0 {
		s := l.schedule.writing[len(l.schedule.writing)-1]
		b := s.flight
		l.log.Error("write did not end, given up", slog.Int("count", len(b.records)), slog.Int("attempt", b.attempts))
		b.abandoned = true
		l.schedule.end(s, b)
		l.again(s, l.schedule.pool.copy(b), b.probe)
		l.schedule.resume(s, l.now)
	}
}

// interrupted: a write ended in an error because its sink was closed under it,
// which says nothing about the sink.
func (l *Lane) interrupted(r result) {
	probe := r.batch.probe
	r.batch.probe = false
	l.again(r.shard, r.batch, probe)
}

// again writes a batch again as soon as the sink is back. The probe of a
// breaker that did not come back counts as one that failed.
func (l *Lane) again(s *shard, b *batch, probe bool) {
	if probe {
		l.breaker.trip(s.began, l.now, true)
	}
	l.schedule.again(s, b)
}

// copy returns a batch with the same records and history, in slices of its own.
func (p *batchPool) copy(b *batch) *batch {
	c := p.like(b)
	for i := range b.records {
		p.add(c, &b.records[i], b.marks[i])
	}
	return c
}

// mayPass reports whether an error of Open may go away by itself.
func mayPass(err error) bool {
	_, unavailable := errors.AsType[*bridges.Unavailable](err)
	_, retry := errors.AsType[*bridges.Retry](err)
	return unavailable || retry || errors.Is(err, context.DeadlineExceeded)
}
