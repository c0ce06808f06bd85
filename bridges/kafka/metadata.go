package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// A refresher asks Kafka who leads what, one request at a time, for whoever
// needs to know and once per period. Its goroutine starts with Open and ends
// with Close.
type refresher struct {
	wake chan struct{} // capacity 1: one call that nobody has taken yet is enough

	mu    sync.Mutex
	ended chan struct{} // guarded by mu: closed when there will be no more rounds until Open
	next  *refresh      // guarded by mu: the one that has not begun
	last  []int32       // owned by the goroutine: broker ids of the last answer
}

// A refresh is one round; done is closed when it has ended, err set before.
type refresh struct {
	done chan struct{}
	err  error
}

func newRefresher() *refresher {
	return &refresher{
		wake: make(chan struct{}, 1), ended: make(chan struct{}), next: &refresh{done: make(chan struct{})},
	}
}

// open begins another life and returns what is to be closed at its end.
func (m *refresher) open() chan<- struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = make(chan struct{})
	return m.ended
}

// ask makes the refresher start a round soon.
func (m *refresher) ask() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// refresh waits for a round that began after the call. Its error means that no
// broker answered.
func (s *Sink) refresh(ctx context.Context) error {
	s.meta.mu.Lock()
	round, ended := s.meta.next, s.meta.ended
	s.meta.mu.Unlock()
	s.meta.ask()
	select {
	case <-round.done:
		return round.err
	case <-ended:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// watch runs the refresher until ctx ends.
func (s *Sink) watch(ctx context.Context, ended chan<- struct{}) {
	defer close(ended)
	period := time.NewTicker(s.timing.period)
	defer period.Stop()
	for {
		periodic := false
		select {
		case <-ctx.Done():
			return
		case <-period.C:
			periodic = true
		case <-s.meta.wake:
		}
		round := s.meta.begin()
		err := s.learn(ctx)
		round.end(err)
		if periodic && err == nil { // in an outage every topic is idle
			s.topics.age()
		}
		pause(ctx, s.timing.gap) // a storm of callers becomes one request per gap
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// begin takes the round that callers wait for; later callers get the next.
func (m *refresher) begin() *refresh {
	m.mu.Lock()
	defer m.mu.Unlock()
	round := m.next
	m.next = &refresh{done: make(chan struct{})}
	return round
}

func (r *refresh) end(err error) {
	r.err = err
	close(r.done)
}

// learn asks for the topics in use and takes over the answer. When nobody
// answers, the time in which a topic may be missing starts anew.
func (s *Sink) learn(ctx context.Context) error {
	answer, err := s.metadata(ctx, s.topics.inUse())
	known := *s.topics.known.Load()
	if err != nil {
		for _, t := range known {
			t.unreachable()
		}
		return err
	}
	now := time.Now()
	for i := range answer.Topics {
		if t := known[answer.Topics[i].Name]; t != nil {
			t.learn(&answer.Topics[i], now)
		}
	}
	return nil
}

// otherBrokers bounds how many brokers are asked one after the other.
const otherBrokers = 3

// metadata asks the configured brokers first and then each one that an earlier
// answer named: one frozen broker must not make the cluster look dead.
func (s *Sink) metadata(ctx context.Context, names []string) (*metadata.Response, error) {
	request := direct{&metadata.Request{TopicNames: names}}
	found, err := s.askMetadata(ctx, &request)
	for _, id := range s.meta.last[:min(len(s.meta.last), otherBrokers)] {
		if err == nil || ctx.Err() != nil || permanent(err) {
			break
		}
		var second error
		if found, second = s.askMetadata(ctx, &routed{request, id}); second == nil {
			err = nil
		}
	}
	if err != nil {
		return nil, s.explain(err)
	}
	s.meta.last = s.meta.last[:0]
	for i := range found.Brokers {
		s.meta.last = append(s.meta.last, found.Brokers[i].NodeID)
	}
	return found, nil
}

func (s *Sink) askMetadata(ctx context.Context, request kafka.Request) (*metadata.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timing.metadata)
	defer cancel()
	found, err := ask[*metadata.Response](ctx, s, request)
	if err == nil && len(found.Brokers) == 0 {
		return nil, errors.New("the cluster has no broker yet")
	}
	return found, err
}

// ask sends a direct request and takes the answer out of its wrapping.
func ask[T protocol.Message](ctx context.Context, s *Sink, request kafka.Request) (T, error) {
	var none T
	m, err := s.transport.Load().RoundTrip(ctx, s.addr, request)
	if err != nil {
		return none, err
	}
	if wrapped, ok := m.(*answer); ok {
		if found, ok := wrapped.Message.(T); ok {
			return found, nil
		}
	}
	return none, fmt.Errorf("unexpected answer of kafka: %T", m)
}

// permanent tells errors that asking another broker does not mend.
func permanent(err error) bool {
	return errors.Is(err, kafka.SASLAuthenticationFailed) || errors.Is(err, kafka.UnsupportedSASLMechanism)
}

// explain names what a person can mend.
func (s *Sink) explain(err error) error {
	sasl, closed := s.config.SASL, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case errors.Is(err, kafka.SASLAuthenticationFailed):
		return fmt.Errorf("log in to kafka as %q with %s: %w", sasl.User, sasl.Mechanism, err)
	case errors.Is(err, kafka.UnsupportedSASLMechanism):
		return fmt.Errorf("kafka does not offer the SASL mechanism %s: %w", sasl.Mechanism, err)
	case errors.Is(err, kafka.IllegalSASLState):
		return fmt.Errorf("kafka at %s takes no log-in, leave sasl out or use its SASL port: %w", s.addr, err)
	case closed && s.config.TLS != nil:
		return fmt.Errorf("kafka at %s closed the connection, is that its TLS port? %w", s.addr, err)
	case closed && sasl == nil:
		return fmt.Errorf("kafka at %s closed the connection, does it want tls or sasl? %w", s.addr, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no kafka broker answered within %v at %s", s.timing.metadata, s.addr)
	}
	return fmt.Errorf("reach kafka at %s: %w", s.addr, err)
}
