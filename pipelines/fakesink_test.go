package pipelines_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
)

// A fakeSink asks answer what to say, and keeps what it confirmed.
type fakeSink struct {
	answer  func(ctx context.Context, batch []message.Record) error // nil: confirm
	opening func() error

	mu     sync.Mutex
	writes [][]string // the values of each Write, when it began
	starts []time.Time
	got    []string // values confirmed, in order
	gotBy  map[string][]string
	now    int // writes running
	most   int
	opens  int
	closes int
}

func (s *fakeSink) Open(context.Context) error {
	s.mu.Lock()
	s.opens++
	s.mu.Unlock()
	if s.opening != nil {
		return s.opening()
	}
	return nil
}

func (s *fakeSink) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closes++
	return nil
}

func (s *fakeSink) Write(ctx context.Context, batch []message.Record) error {
	s.mu.Lock()
	s.writes = append(s.writes, values(batch))
	s.starts = append(s.starts, time.Now())
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	var err error
	if s.answer != nil {
		err = s.answer(ctx, batch)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
	s.keep(batch, err)
	return err
}

func (s *fakeSink) keep(batch []message.Record, err error) {
	if s.gotBy == nil {
		s.gotBy = map[string][]string{}
	}
	var partial *bridges.Partial
	if err != nil && !errors.As(err, &partial) {
		return
	}
	for i := range batch {
		if partial != nil && partial.Failed[i] != nil {
			continue
		}
		s.got = append(s.got, string(batch[i].Value))
		key := string(batch[i].Key)
		s.gotBy[key] = append(s.gotBy[key], string(batch[i].Value))
	}
}

// begins returns how often it was opened, ends how often closed.
func (s *fakeSink) begins() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opens
}

func (s *fakeSink) ends() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closes
}

func (s *fakeSink) have() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func (s *fakeSink) calls() [][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.writes)
}

// peak returns how many writes ran at a time since the last call.
func (s *fakeSink) peak() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := s.most
	s.most = s.now
	return most
}

func values(batch []message.Record) []string {
	var v []string
	for i := range batch {
		v = append(v, string(batch[i].Value))
	}
	return v
}

// A shardedSink is a fakeSink that says which shard a record belongs to.
type shardedSink struct {
	fakeSink
	shard func(r *message.Record) (group, shard, gen uint32)
}

func (s *shardedSink) Shard(r *message.Record) (group, shard, gen uint32) { return s.shard(r) }

// oneShard puts everything in one shard.
func oneShard(*message.Record) (group, shard, gen uint32) { return 0, 0, 0 }

// byTopic makes each topic its own shard.
func byTopic(r *message.Record) (group, shard, gen uint32) {
	return 1, uint32(r.Order), 0
}
