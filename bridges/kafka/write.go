package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
)

// A write is one batch of the lane, from when it was first seen until it is
// settled. Between the lane's calls its bytes and numbers are kept, so that it
// is sent again exactly as it was.
type write struct {
	topic       *topic
	gen         uint32 // of the layout it was split by
	first, last recordID
	parts       []part

	mu      sync.Mutex
	active  bool      // guarded by mu: a call is at work on it
	touched time.Time // guarded by mu: when the last call ended
}

// recordID tells records apart for as long as a journal lives (C17).
type recordID struct {
	message.ID
	rule, output uint32
}

func idOf(r *message.Record) recordID { return recordID{r.Message, r.Rule, r.Output} }

// writes are the batches whose outcome is open, by their first record.
type writes struct {
	mu   sync.Mutex
	open map[recordID]*write // guarded by mu
}

// find returns the open write of a batch the lane brings again.
func (o *writes) find(batch []message.Record) *write {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.open) == 0 {
		return nil
	}
	w := o.open[idOf(&batch[0])]
	if w == nil || w.last != idOf(&batch[len(batch)-1]) || w.records() != len(batch) {
		return nil
	}
	return w
}

func (o *writes) keep(w *write) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open == nil {
		o.open = make(map[recordID]*write)
	}
	o.open[w.first] = w
}

func (o *writes) drop(w *write) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open[w.first] == w {
		delete(o.open, w.first)
	}
}

func (w *write) records() int {
	n := 0
	for i := range w.parts {
		n += w.parts[i].count
	}
	return n
}

// abandoned tells whether the lane will not come back with w, now that it
// brings other for the same partition. Under one layout a partition is one
// shard, whose next batch comes only after the one before it was settled or
// given up (retry.max_age). Around a change of the layout two shards may meet in
// a partition: then only time tells.
func (w *write) abandoned(other *write, patience time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.active {
		return false
	}
	return w.gen == other.gen || time.Since(w.touched) > patience
}

func (w *write) enter() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active = true
}

func (w *write) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active, w.touched = false, time.Now()
}

// Write hands the records of one shard to Kafka and returns when it has
// confirmed or refused them, or when nothing more can be done for now. While
// the outcome is open it must be called with the same records again (C18).
func (s *Sink) Write(ctx context.Context, batch []message.Record) error {
	if len(batch) == 0 {
		return nil
	}
	w := s.open.find(batch)
	if w == nil {
		var err error
		if w, err = s.begin(ctx, batch); err != nil {
			return err
		}
	}
	w.topic.touch()
	w.enter()
	err := s.push(ctx, w, batch)
	w.leave()
	if stillOpen(err) {
		s.open.keep(w)
	} else {
		s.open.drop(w)
	}
	return err
}

// stillOpen tells whether the lane will bring the same records again.
func stillOpen(err error) bool {
	_, reject := errors.AsType[*bridges.Reject](err)
	_, partial := errors.AsType[*bridges.Partial](err)
	return err != nil && !reject && !partial
}

// begin splits a new batch by partition, once the partitions are known.
func (s *Sink) begin(ctx context.Context, batch []message.Record) (*write, error) {
	t := s.topics.find(batch[0].Topic)
	l := t.layout.Load()
	if l == nil {
		t.touch()
		var err error
		if l, err = s.locate(ctx, t, len(batch)); err != nil {
			return nil, err
		}
	}
	return newWrite(t, l, batch), nil
}

// locate learns the partitions of a topic that has none yet.
func (s *Sink) locate(ctx context.Context, t *topic, records int) (*layout, error) {
	if err := s.refresh(ctx); err != nil {
		return nil, &bridges.Unavailable{Err: err}
	}
	if l := t.layout.Load(); l != nil {
		return l, nil
	}
	if err := s.missing(t); err != nil {
		return nil, refuseAll(records, err)
	}
	fault, _ := t.state()
	if fault == 0 {
		fault = kafka.LeaderNotAvailable // not asked for yet, or without partitions yet
	}
	return nil, &bridges.Retry{Err: fmt.Errorf("topic %s: %w", t.name, fault)}
}

// missing returns an error when the topic will not come into being by waiting.
func (s *Sink) missing(t *topic) error {
	fault, since := t.state()
	switch {
	case fault == kafka.InvalidTopic:
		return fmt.Errorf("topic %q is not a name Kafka accepts", t.name)
	case !since.IsZero() && time.Since(since) >= s.timing.missing:
		return fmt.Errorf("topic %s has not existed for %v", t.name, s.timing.missing)
	}
	return nil
}

// refuseAll names every record, so that the lane does not look for the culprit
// by halving the batch.
func refuseAll(records int, err error) error {
	failed := make(map[int]error, records)
	for i := range records {
		failed[i] = &bridges.Reject{Err: err}
	}
	return &bridges.Partial{Failed: failed}
}

// newWrite splits a batch. Records of one shard of a known layout are of one
// partition; those of the shard of unknown partitions, or of a layout that has
// changed since, may be of several, each of which gets its own in order.
func newWrite(t *topic, l *layout, batch []message.Record) *write {
	w := &write{topic: t, gen: l.gen, first: idOf(&batch[0]), last: idOf(&batch[len(batch)-1])}
	first := l.partition(&batch[0])
	at := 1
	for at < len(batch) && l.partition(&batch[at]) == first {
		at++
	}
	if at == len(batch) {
		w.parts = []part{{partition: l.partitions[first], count: len(batch)}}
		return w
	}
	byPartition := make([][]int32, len(l.partitions))
	for i := range batch {
		p := l.partition(&batch[i])
		byPartition[p] = append(byPartition[p], int32(i))
	}
	for p, pick := range byPartition {
		if pick != nil {
			w.parts = append(w.parts, part{partition: l.partitions[p], pick: pick, count: len(pick)})
		}
	}
	return w
}

// push sends what is not settled of w. An error that leaves a part open wins
// over a refusal: the refusal is told once all else is confirmed.
func (s *Sink) push(ctx context.Context, w *write, batch []message.Record) error {
	var open error
	for i := range w.parts {
		p := &w.parts[i]
		if p.settled {
			continue
		}
		if err := s.send(ctx, w, p, batch); stillOpen(err) {
			open = err
		} else {
			p.settled, p.refusal = true, err
			s.recycle(p)
		}
	}
	if open != nil {
		return open
	}
	return w.result()
}

// result tells the lane how the settled parts ended.
func (w *write) result() error {
	if len(w.parts) == 1 {
		return w.parts[0].refusal
	}
	failed := make(map[int]error)
	for i := range w.parts {
		w.parts[i].addFailures(failed)
	}
	if len(failed) == 0 {
		return nil
	}
	return &bridges.Partial{Failed: failed}
}
