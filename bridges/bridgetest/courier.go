package bridgetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
)

const (
	batchRecords = 100
	inFlight     = 4
	backoff      = 50 * time.Millisecond
)

// A courier delivers records as a lane does. One goroutine owns it.
type courier struct {
	sink bridges.Sink
	// onError hears every error of a Write.
	onError func(error)
	// onSettled hears how many records are settled.
	onSettled func(n int)

	groups   map[uint32]*group
	shards   []*shard // in the order they were first seen
	results  chan result
	writing  int
	open     int // records not settled
	settled  int
	refused  []message.Record
	fatal    error
	unfounds time.Time // no write before: the peer was unavailable
}

// A group is a destination's topic. Records of a new mapping wait in parked
// until those of the old one are settled.
type group struct {
	gen    uint32
	open   int
	shards map[uint32]*shard
	parked []message.Record
}

type shard struct {
	group   *group
	waiting []message.Record
	fixed   [][]message.Record // batches that were tried, first in order
	writing bool
	after   time.Time // no write before
}

type result struct {
	shard *shard
	batch []message.Record
	err   error
}

// deliver returns the records that were refused, once all others are confirmed.
func (c *courier) deliver(ctx context.Context, records []message.Record) ([]message.Record, error) {
	c.groups, c.results = make(map[uint32]*group), make(chan result)
	c.open = len(records)
	for i := range records {
		c.accept(records[i])
	}
	for c.open > 0 && c.fatal == nil && ctx.Err() == nil {
		c.start(ctx)
		c.await(ctx)
	}
	for c.writing > 0 { // a Write ends soon after ctx
		c.finish(<-c.results)
	}
	return c.refused, errors.Join(c.fatal, ctx.Err())
}

// accept puts a record into its shard, or parks it.
func (c *courier) accept(r message.Record) {
	var id, in, gen uint32
	if s, ok := c.sink.(bridges.Sharder); ok {
		id, in, gen = s.Shard(&r)
	} else {
		in = uint32(r.Order % 16)
	}
	g := c.groups[id]
	if g == nil {
		g = &group{gen: gen}
		c.groups[id] = g
	}
	if g.open > 0 && (gen != g.gen || len(g.parked) > 0) {
		g.parked = append(g.parked, r)
		return
	}
	if g.gen != gen || g.shards == nil {
		g.gen, g.shards = gen, make(map[uint32]*shard)
	}
	s := g.shards[in]
	if s == nil {
		s = &shard{group: g}
		g.shards[in] = s
		c.shards = append(c.shards, s)
	}
	s.waiting = append(s.waiting, r)
	g.open++
}

// start writes from every shard that may, as far as permits go.
func (c *courier) start(ctx context.Context) {
	now := time.Now()
	if now.Before(c.unfounds) {
		return
	}
	for _, s := range c.shards {
		if c.writing == inFlight {
			return
		}
		if s.writing || now.Before(s.after) {
			continue
		}
		if batch := s.next(); batch != nil {
			s.writing = true
			c.writing++
			go func() { c.results <- result{s, batch, c.sink.Write(ctx, batch)} }()
		}
	}
}

func (s *shard) next() []message.Record {
	if len(s.fixed) > 0 {
		batch := s.fixed[0]
		s.fixed = s.fixed[1:]
		return batch
	}
	n := min(batchRecords, len(s.waiting))
	if n == 0 {
		return nil
	}
	batch := s.waiting[:n:n]
	s.waiting = s.waiting[n:]
	return batch
}

func (c *courier) await(ctx context.Context) {
	timer := time.NewTimer(backoff)
	defer timer.Stop()
	select {
	case r := <-c.results:
		c.finish(r)
	case <-timer.C:
	case <-ctx.Done():
	}
}

// finish does what the contract says about the outcome of a Write.
func (c *courier) finish(r result) {
	c.writing--
	r.shard.writing = false
	if r.err != nil && c.onError != nil {
		c.onError(r.err)
	}
	if r.err == nil {
		c.settle(r.shard, len(r.batch))
		return
	}
	if _, ok := errors.AsType[*bridges.Retry](r.err); ok {
		r.shard.again(r.batch)
		return
	}
	if _, ok := errors.AsType[*bridges.Unavailable](r.err); ok {
		c.unfounds = time.Now().Add(backoff)
		r.shard.again(r.batch)
		return
	}
	if p, ok := errors.AsType[*bridges.Partial](r.err); ok {
		c.partial(r, p)
		return
	}
	if _, ok := errors.AsType[*bridges.Reject](r.err); ok {
		c.reject(r)
		return
	}
	if !errors.Is(r.err, context.Canceled) {
		c.fatal = fmt.Errorf("write: %w", r.err)
	}
	r.shard.again(r.batch)
}

func (s *shard) again(batch []message.Record) {
	s.fixed = append([][]message.Record{batch}, s.fixed...)
	s.after = time.Now().Add(backoff)
}

func (c *courier) partial(r result, p *bridges.Partial) {
	var again []message.Record
	for i := range r.batch {
		err, failed := p.Failed[i]
		if _, rejected := errors.AsType[*bridges.Reject](err); rejected {
			c.refused = append(c.refused, r.batch[i])
		} else if failed {
			again = append(again, r.batch[i])
		}
	}
	if len(again) > 0 {
		r.shard.again(again)
	}
	c.settle(r.shard, len(r.batch)-len(again))
}

// reject halves a batch to find the record that is refused.
func (c *courier) reject(r result) {
	if len(r.batch) == 1 {
		c.refused = append(c.refused, r.batch[0])
		c.settle(r.shard, 1)
		return
	}
	half := len(r.batch) / 2
	r.shard.again(r.batch[half:])
	r.shard.again(r.batch[:half])
	r.shard.after = time.Time{}
}

func (c *courier) settle(s *shard, n int) {
	c.open -= n
	c.settled += n
	s.group.open -= n
	if s.group.open == 0 {
		parked := s.group.parked
		s.group.parked = nil
		for i := range parked {
			c.accept(parked[i])
		}
	}
	if c.onSettled != nil {
		c.onSettled(c.settled)
	}
}
