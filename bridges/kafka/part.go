package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/produce"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
)

// A part is the records of a write that go to one partition: one record batch.
type part struct {
	partition *partition
	pick      []int32 // their indexes in the batch; nil: all of it
	count     int

	buffer   *buffer   // nil until it is encoded
	producer *producer // whose numbers the batch carries
	attempts int
	strange  int  // answers that were not foreseen
	doubt    bool // an attempt may have been written without our knowing
	lost     bool // an attempt got no answer: its goroutine may still read the buffer

	settled bool
	refusal error // a Reject or a Partial; nil: confirmed
}

// A buffer holds a produce request and what its codec needs; it is used again
// when nobody can be reading it any more.
type buffer struct {
	frame   []byte // produceCall.frame
	batchAt int    // where in it the record batch begins
	scratch []byte
}

// send tries to settle p: nil, a Reject or a Partial settle it, all else leaves
// it open.
func (s *Sink) send(ctx context.Context, w *write, p *part, batch []message.Record) error {
	if err := s.reserve(w, p); err != nil {
		return err
	}
	for tries := 1; ; tries++ {
		if err := s.encode(ctx, p, batch); err != nil {
			return err
		}
		retry, err := s.attempt(ctx, p)
		if err == nil || !stillOpen(err) {
			s.settle(w, p, err)
			return err
		}
		if !retry || tries == 3 {
			return err
		}
	}
}

// reserve waits for no other write of the partition: it says when it is taken.
func (s *Sink) reserve(w *write, p *part) error {
	evicted, busy := p.partition.take(w, s.timing.abandon)
	if busy {
		return &bridges.Retry{After: 20 * time.Millisecond, Err: fmt.Errorf("partition %s/%d: the batch before is not settled", p.partition.topic.name, p.partition.id)}
	}
	if evicted != nil {
		s.open.drop(evicted)
		for i := range evicted.parts {
			e := &evicted.parts[i]
			e.partition.giveUp(evicted)
			if e.producer != nil && !e.settled {
				s.retire(e.producer)
			}
		}
	}
	return nil
}

// encode makes the request, unless it is made already.
func (s *Sink) encode(ctx context.Context, p *part, batch []message.Record) error {
	if p.buffer != nil {
		return nil
	}
	id, err := s.producer(ctx)
	if err != nil {
		return err
	}
	b, _ := s.buffers.Get().(*buffer)
	timeout := int32((s.timing.produce * 4 / 5).Milliseconds()) // Kafka gives up first
	b.frame = appendFrameHeader(b.frame[:0], p.partition.topic.name, p.partition.id, timeout)
	b.batchAt = len(b.frame)
	b.frame, b.scratch = appendBatch(b.frame, batch, p.pick, p.partition.stamp(id), s.codec, b.scratch)
	putBatchSize(b.frame, b.batchAt)
	p.buffer, p.producer = b, id
	return nil
}

// attempt sends p once. retry: it is worth trying again at once.
func (s *Sink) attempt(ctx context.Context, p *part) (retry bool, err error) {
	t := p.partition.topic
	leaders := t.layout.Load().leaders
	if int(p.partition.id) >= len(leaders) || leaders[p.partition.id] < 0 {
		return s.reroute(ctx, p, -1, kafka.LeaderNotAvailable)
	}
	leader := leaders[p.partition.id]
	if p.attempts++; p.attempts > 1 {
		s.counters.resent.Add(1)
		s.countDoubles(p)
	}
	call, cancel := context.WithTimeout(ctx, s.timing.produce)
	defer cancel()
	m, err := s.transport.Load().RoundTrip(call, s.addr, &produceCall{broker: leader, frame: p.buffer.frame})
	if err != nil {
		return s.unanswered(ctx, p, leader, err)
	}
	answer, err := partitionAnswer(m)
	if err != nil {
		p.doubt = true
		return false, s.retryError(p, err)
	}
	return s.answered(ctx, p, leader, answer)
}

// countDoubles: without a producer id Kafka stores each attempt it gets.
func (s *Sink) countDoubles(p *part) {
	if p.doubt && p.producer.id < 0 {
		s.counters.possibleDuplicates.Add(uint64(p.count))
	}
}

// unanswered handles an attempt of which only the transport's error is known.
func (s *Sink) unanswered(ctx context.Context, p *part, leader int32, err error) (retry bool, _ error) {
	if errors.Is(err, errUnknownBroker) {
		// The transport learns addresses on its own time; a new pool asks at once.
		s.transport.Load().CloseIdleConnections()
		return s.reroute(ctx, p, leader, err)
	}
	p.doubt, p.lost = true, true
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if refreshErr := s.refresh(ctx); refreshErr != nil {
		return false, &bridges.Unavailable{Err: refreshErr}
	}
	// After a restart of the broker every idle connection fails once: the next
	// one may work. A time-out has taken long enough already.
	return !errors.Is(err, context.DeadlineExceeded), s.retryError(p, err)
}

// answered handles what the broker said.
func (s *Sink) answered(ctx context.Context, p *part, leader int32, a *produce.ResponsePartition) (retry bool, _ error) {
	code := kafka.Error(a.ErrorCode)
	err := codeError(code, a.ErrorMessage)
	switch judge(code) {
	case confirmed:
		return false, nil
	case duplicate:
		if p.doubt {
			return false, nil // it is: an earlier attempt was written
		}
		return true, s.renew(p, err)
	case renew:
		return true, s.renew(p, err)
	case doubtful:
		p.doubt = true
		return false, s.retryError(p, err)
	case reroute:
		p.doubt = true
		return s.reroute(ctx, p, leader, err)
	case forbidden:
		s.forbid()
		return true, s.renew(p, err)
	case refused:
		return false, refusal(p, a, err)
	case unknown:
		if p.strange++; p.strange >= patience {
			return false, refusal(p, a, err)
		}
		p.doubt = true
		return false, s.retryError(p, err)
	default: // again
		return false, s.retryError(p, err)
	}
}

func codeError(code kafka.Error, text string) error {
	if text == "" {
		return code
	}
	return fmt.Errorf("%w: %s", code, text)
}

func (s *Sink) retryError(p *part, err error) error {
	return &bridges.Retry{Err: fmt.Errorf("write to %s/%d: %w", p.partition.topic.name, p.partition.id, err)}
}

// reroute looks for the leader. It holds up this partition only, unless nobody
// answers.
func (s *Sink) reroute(ctx context.Context, p *part, before int32, cause error) (retry bool, _ error) {
	if err := s.refresh(ctx); err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		return false, &bridges.Unavailable{Err: err}
	}
	t := p.partition.topic
	if err := s.missing(t); err != nil {
		return false, refuseAll(p.count, err)
	}
	leaders := t.layout.Load().leaders
	if int(p.partition.id) >= len(leaders) {
		// The topic was made anew with fewer partitions; what the old one held is gone.
		return false, retryAll(p.count, fmt.Errorf("partition %s/%d no longer exists", t.name, p.partition.id))
	}
	leader := leaders[p.partition.id]
	return leader >= 0 && leader != before, s.retryError(p, cause)
}

// renew gives the batch new numbers under a new producer id.
func (s *Sink) renew(p *part, cause error) error {
	s.retire(p.producer)
	if p.doubt {
		s.counters.possibleDuplicates.Add(uint64(p.count))
		s.log.Warn("kafka no longer knows a batch in doubt, it is written again and may be doubled",
			slog.String("topic", p.partition.topic.name), slog.Int("count", p.count), slog.Any("err", cause))
	}
	s.recycle(p)
	p.doubt = false
	return s.retryError(p, cause)
}

// settle frees the partition. Numbers of a refused batch that may have been
// written all the same are not used again: Kafka would take the next batch for it.
func (s *Sink) settle(w *write, p *part, err error) {
	if err != nil {
		if p.doubt && p.producer != nil {
			s.retire(p.producer)
		}
		p.partition.giveUp(w)
		return
	}
	p.partition.confirm(w, p.count)
	s.counters.batches.Add(1)
	s.counters.records.Add(uint64(p.count))
	s.counters.bytes.Add(uint64(len(p.buffer.frame) - p.buffer.batchAt))
}

// recycle gives the buffer back, unless an attempt without an answer may still
// be reading it.
func (s *Sink) recycle(p *part) {
	if p.buffer != nil && !p.lost {
		s.buffers.Put(p.buffer)
	}
	p.buffer, p.lost = nil, false
}

// refusal tells the lane which records Kafka refused: those it named, else the
// one there is, else it is the lane's to find them.
func refusal(p *part, a *produce.ResponsePartition, err error) error {
	if p.count == 1 || len(a.RecordErrors) == 0 {
		return &bridges.Reject{Err: fmt.Errorf("write to %s/%d: %w", p.partition.topic.name, p.partition.id, err)}
	}
	failed := make(map[int]error, p.count)
	for i := range p.count {
		failed[i] = &bridges.Retry{Err: err}
	}
	for _, r := range a.RecordErrors {
		if int(r.BatchIndex) >= p.count || r.BatchIndex < 0 {
			return &bridges.Reject{Err: err}
		}
		failed[int(r.BatchIndex)] = &bridges.Reject{Err: codeError(kafka.Error(a.ErrorCode), r.BatchIndexErrorMessage)}
	}
	return &bridges.Partial{Failed: failed}
}

func retryAll(records int, err error) error {
	failed := make(map[int]error, records)
	for i := range records {
		failed[i] = &bridges.Retry{Err: err}
	}
	return &bridges.Partial{Failed: failed}
}

// addFailures adds the part's failures under the indexes of the whole batch.
// Several records that were refused as one are named with Retry: the lane
// brings them alone, and halves them when they are refused again.
func (p *part) addFailures(failed map[int]error) {
	if partial, ok := errors.AsType[*bridges.Partial](p.refusal); ok {
		for i, err := range partial.Failed {
			failed[int(p.pick[i])] = err
		}
		return
	}
	reject, ok := errors.AsType[*bridges.Reject](p.refusal)
	if !ok {
		return
	}
	for _, i := range p.pick {
		failed[int(i)] = reject
		if p.count > 1 {
			failed[int(i)] = &bridges.Retry{Err: reject.Err} // not the Reject: a lane looks for one inside
		}
	}
}
