package pipelines

import (
	"context"
	"errors"

	"github.com/penstock/penstock/bridges"
)

// dispatch starts writes while there are permits and shards that wait for one.
func (l *Lane) dispatch(writes context.Context) {
	for l.mayWrite() {
		s := l.next()
		if s == nil {
			return
		}
		l.pace(s)
		b := l.schedule.start(s, l.now)
		b.probe = l.breaker.admit()
		if b.attempts == 0 {
			b.first, b.downtime = l.now, l.breaker.downtime(l.now)
		}
		b.attempts++
		b.epoch = l.link.epoch
		go l.write(writes, s, b)
	}
}

// write runs one Write. A lane that has given it up does not listen any more.
func (l *Lane) write(ctx context.Context, s *shard, b *batch) {
	r := result{s, b, l.sink.Write(ctx, b.records)}
	select {
	case l.results <- r:
	case <-l.ended:
	}
}

func (l *Lane) mayWrite() bool {
	return l.stop == nil && l.link.state == up && l.schedule.permits > 0 && l.schedule.ready.head != nil &&
		!l.barred() && l.breaker.allows(l.now) && !l.throttled()
}

// next returns the shard whose turn it is, nil when the lane must wait for its
// cursor to be stored: what is settled beyond it and what is in flight come
// twice after a crash, so the sum is bounded (C15).
func (l *Lane) next() *shard {
	beyond := int(l.ledger.settled-l.keeper.stored) + l.schedule.flying
	n := len(l.schedule.ready.head.head.records)
	if beyond == 0 || beyond+n <= maxUnstored {
		return l.schedule.ready.pop()
	}
	// A message with several records is covered only when all are settled. If
	// no cursor will cover more, one write at a time goes on with the oldest.
	if l.schedule.flying == 0 && l.keeper.caughtUp(l.ledger) {
		return l.schedule.ready.popOldest()
	}
	return nil
}

// collect takes what writers, letters and the link have brought back so far.
func (l *Lane) collect() {
	for {
		select {
		case r := <-l.results:
			l.finish(r)
		case err := <-l.link.done:
			l.linked(err)
		case c := <-l.letters.done:
			l.letters.returned(c, l.now, l.buried)
		case r := <-l.requests:
			r.serve()
		case b := <-l.crew.done:
			b.done = true
		default:
			return
		}
	}
}

// finish does what the result of a Write says.
func (l *Lane) finish(r result) {
	if r.batch.abandoned { // a copy is on its way
		return
	}
	l.schedule.end(r.shard, r.batch)
	l.judge(r)
	l.schedule.resume(r.shard, l.now)
}

// judge tells the kinds of error apart. Those that lose nothing come first,
// should an error be of several.
func (l *Lane) judge(r result) {
	if r.err == nil { // first, and without what errors.As takes from the heap
		l.reached(r.batch)
		l.confirmed(r.shard, r.batch)
		return
	}
	var (
		fatal       *bridges.Fatal
		unavailable *bridges.Unavailable
		retry       *bridges.Retry
		partial     *bridges.Partial
		reject      *bridges.Reject
	)
	if r.batch.epoch != l.link.epoch && !definite(r.err) {
		l.interrupted(r)
		return
	}
	if errors.As(r.err, &unavailable) {
		l.unavailable(r)
		return
	}
	l.reached(r.batch)
	switch {
	case errors.As(r.err, &fatal):
		l.schedule.again(r.shard, r.batch)
		l.stop = r.err
	case errors.As(r.err, &retry):
		l.retry(r.shard, r.batch, retry.After, r.err)
	case errors.As(r.err, &partial) && within(partial, len(r.batch.records)):
		l.partial(r.shard, r.batch, partial)
	case errors.As(r.err, &reject):
		l.rejected(r.shard, r.batch, reject)
	default:
		l.retry(r.shard, r.batch, 0, r.err)
	}
}

// within reports whether a Partial names only records there are. One that does
// not is no word on the others either.
func within(p *bridges.Partial, n int) bool {
	for i := range p.Failed {
		if i < 0 || i >= n {
			return false
		}
	}
	return true
}

// definite reports whether the result of a Write says what became of the
// records.
func definite(err error) bool {
	_, partial := errors.AsType[*bridges.Partial](err)
	_, reject := errors.AsType[*bridges.Reject](err)
	return err == nil || partial || reject
}
