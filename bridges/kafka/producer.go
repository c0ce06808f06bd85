package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/initproducerid"

	"github.com/penstock/penstock/bridges"
)

// A producer is an identity under which Kafka stores each batch once. Every
// start has a fresh one; none outlives the process.
type producer struct {
	id    int64 // -1: Kafka forbids idempotent writes
	epoch int16
}

// producers holds the sink's present identity.
type producers struct {
	current atomic.Pointer[producer]
	fetch   chan struct{} // capacity 1: who puts a token in may ask Kafka for a new one
	plain   atomic.Bool   // idempotent writes are forbidden; decided once
}

// producer returns the present identity and gets one when there is none.
func (s *Sink) producer(ctx context.Context) (*producer, error) {
	if p := s.producers.current.Load(); p != nil {
		return p, nil
	}
	select {
	case s.producers.fetch <- struct{}{}:
		defer func() { <-s.producers.fetch }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if p := s.producers.current.Load(); p != nil {
		return p, nil
	}
	p, err := s.initProducer(ctx)
	if err != nil {
		return nil, err
	}
	s.producers.current.Store(p)
	return p, nil
}

// retire makes the next batch use a new identity, if p is still the present one.
func (s *Sink) retire(p *producer) { s.producers.current.CompareAndSwap(p, nil) }

func (s *Sink) initProducer(ctx context.Context) (*producer, error) {
	if s.producers.plain.Load() {
		return &producer{-1, -1}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timing.metadata)
	defer cancel()
	request := &initproducerid.Request{ProducerID: -1, ProducerEpoch: -1, TransactionTimeoutMs: 60000}
	answer, err := ask[*initproducerid.Response](ctx, s, &direct{request})
	if err != nil {
		return nil, &bridges.Unavailable{Err: s.explain(err)}
	}
	// A broker that has just started answers with an error code and id -1, and
	// kafka-go with no error.
	switch code := kafka.Error(answer.ErrorCode); {
	case code == kafka.ClusterAuthorizationFailed:
		s.forbid()
		return &producer{-1, -1}, nil
	case code != 0:
		return nil, &bridges.Retry{Err: fmt.Errorf("get a producer id: %w", code)}
	case answer.ProducerID < 0:
		return nil, &bridges.Retry{Err: errors.New("get a producer id: kafka has none yet")}
	}
	return &producer{answer.ProducerID, answer.ProducerEpoch}, nil
}

// forbid goes on without idempotence and says so once.
func (s *Sink) forbid() {
	if !s.producers.plain.Swap(true) {
		s.log.Warn("kafka forbids idempotent writes, records may be doubled after a lost answer",
			slog.String("reason", "the user lacks IDEMPOTENT_WRITE on the cluster"))
	}
	s.producers.current.Store(&producer{-1, -1})
}
