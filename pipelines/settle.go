package pipelines

import (
	"errors"
	"log/slog"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/pipelines/deadletter"
)

// confirmed: the destination has every record of the batch.
func (l *Lane) confirmed(s *shard, b *batch) {
	l.answered()
	for _, m := range b.marks {
		l.ledger.settle(m, delivered)
	}
	l.leave(s, b)
	l.progress(s)
}

// leave gives up a batch of which nothing will be written any more.
func (l *Lane) leave(s *shard, b *batch) {
	l.router.leave(s, len(b.records), l.now)
	l.schedule.pool.put(b)
}

// progress ends a row of failures.
func (l *Lane) progress(s *shard) {
	if s.failures == 0 {
		return
	}
	s.failures, s.retryAt = 0, time.Time{}
	if l.failing--; l.failing == 0 {
		l.errors.clear()
	}
}

// partial: the records not named are confirmed, those named are known not to be
// written. What is to be retried goes before anything later of the shard, in
// the order it had.
func (l *Lane) partial(s *shard, b *batch, p *bridges.Partial) {
	rest := l.schedule.pool.like(b)
	var after time.Duration
	for i, m := range b.marks {
		err, named := p.Failed[i]
		var reject *bridges.Reject
		var retry *bridges.Retry
		switch {
		case !named:
			l.ledger.settle(m, delivered)
		case errors.As(err, &retry):
			after = max(after, retry.After)
			l.schedule.pool.add(rest, &b.records[i], m)
		case errors.As(err, &reject):
			l.refuse(b, i, "rejected", reject.Err)
		default:
			l.schedule.pool.add(rest, &b.records[i], m)
		}
	}
	l.router.leave(s, len(b.records)-len(rest.records), l.now)
	if len(rest.records) < len(b.records) {
		l.answered()
		l.progress(s)
	}
	l.schedule.pool.put(b)
	if len(rest.records) == 0 {
		l.schedule.pool.put(rest)
		return
	}
	l.retry(s, rest, after, p)
}

// rejected: nothing of the batch was written. Only then may it be cut in
// halves until the records that are refused stand alone (C18).
func (l *Lane) rejected(s *shard, b *batch, r *bridges.Reject) {
	l.answered()
	l.progress(s)
	if len(b.records) == 1 {
		l.refuse(b, 0, "rejected", r.Err)
		l.leave(s, b)
		return
	}
	b.note(l.now, r)
	l.schedule.again(s, l.schedule.pool.cut(b, len(b.records)/2))
	l.schedule.again(s, b)
}

// retry writes the same records in the same order again, later, unless they
// were tried for too long. The shard holds no permit while it waits (C18).
func (l *Lane) retry(s *shard, b *batch, after time.Duration, err error) {
	l.errors.note(b.attempts, err)
	b.err = err
	if limit := l.config.Retry.MaxAge; limit > 0 && l.age(b) >= limit {
		for i := range b.records {
			l.refuse(b, i, "max_age", err)
		}
		l.progress(s)
		l.leave(s, b)
		return
	}
	b.note(l.now, err)
	if s.failures == 0 {
		l.failing++
	}
	s.failures++
	if after <= 0 {
		after = backOff(s.failures)
	}
	s.retryAt = l.now.Add(after)
	l.schedule.again(s, b)
}

// age is how long a batch has been tried, outages not counted (C20).
func (l *Lane) age(b *batch) time.Duration {
	return l.now.Sub(b.first) - (l.breaker.downtime(l.now) - b.downtime)
}

// unavailable: the sink as a whole cannot be reached, which is not charged to
// the records. The lane pauses.
func (l *Lane) unavailable(r result) {
	l.errors.note(r.batch.attempts, r.err)
	r.batch.err = r.err
	r.batch.attempts--
	l.breaker.trip(r.shard.began, l.now, r.batch.probe)
	r.batch.probe = false
	l.schedule.again(r.shard, r.batch)
}

// reached notes that the sink answered: a probe that did ends the pause.
func (l *Lane) reached(b *batch) {
	if !b.probe {
		return
	}
	b.probe = false
	l.breaker.mend(l.now)
	if l.failing == 0 {
		l.errors.clear()
	}
	l.log.Info("sink is available again")
}

// refuse sends record i of the batch to the dead letters; it is settled once
// it is durable there (I2). One that was injected is a letter already.
func (l *Lane) refuse(b *batch, i int, word string, err error) {
	r := &b.records[i]
	if m := b.marks[i]; m.rule == injected {
		l.injections.settle(m.seq, Injected{
			Fate: deadletter.Rejected, Reason: word, Err: err, Attempts: b.attempts, History: b.tries(l.now, err),
		})
		return
	}
	l.letters.add(letter{
		mark: b.marks[i], kind: deadletter.Refused, id: r.Message, rule: r.Rule, output: r.Output, run: r.Run,
		reason: word, err: err, attempts: b.attempts, history: b.tries(l.now, err), time: l.now,
	})
}

// buried enters what became of a letter.
func (l *Lane) buried(x letter, f fate) {
	if f == deadLettered && x.owed() {
		l.log.Debug("record is a dead letter", slog.Uint64("offset", x.id.Offset), slog.String("reason", x.reason))
	}
	l.ledger.settle(x.mark, f)
}
