package bridgetest_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/bridges/bridgetest"
	"github.com/penstock/penstock/internal/message"
)

// A fakePeer keeps records in memory. Its sink fails in every way the contract
// knows, so the suite's own lane is what is tested here.
type fakePeer struct {
	mu      sync.Mutex
	open    *sync.Cond
	up      bool
	frozen  bool
	records []bridgetest.Received
	writes  int
}

type fakeSink struct {
	*fakePeer
	admitted bool
}

func (*fakeSink) Open(context.Context) error  { return nil }
func (*fakeSink) Close(context.Context) error { return nil }

var errFake = errors.New("fake")

func (s *fakeSink) Write(ctx context.Context, batch []message.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.up || !s.admitted {
		return &bridges.Unavailable{Err: errFake}
	}
	if s.frozen {
		return s.hang(ctx)
	}
	s.writes++
	if s.writes%5 == 0 {
		return &bridges.Retry{Err: errFake}
	}
	if i := slices.IndexFunc(batch, spoilt); i >= 0 {
		if s.writes%2 == 0 && len(batch) > 1 {
			s.store(batch[:i])
			failed := map[int]error{i: &bridges.Reject{Err: errFake}}
			for j := i + 1; j < len(batch); j++ {
				failed[j] = &bridges.Retry{Err: errFake}
			}
			return &bridges.Partial{Failed: failed}
		}
		return &bridges.Reject{Err: errFake}
	}
	s.store(batch)
	return nil
}

// hang is called with mu held.
func (s *fakeSink) hang(ctx context.Context) error {
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Second):
		return &bridges.Retry{Err: errFake}
	}
}

func spoilt(r message.Record) bool { return string(r.Value) == "spoilt" }

func (s *fakeSink) store(batch []message.Record) {
	for i := range batch {
		r := &batch[i]
		value := append([]byte{}, r.Value...)
		if r.Null {
			value = nil
		}
		s.records = append(s.records, bridgetest.Received{Key: r.Key, Value: value, ID: string(r.AppendID(nil))})
	}
}

func TestSuite(t *testing.T) {
	peer := func(*testing.T, bool) bridgetest.Peer {
		p := &fakePeer{up: true}
		p.open = sync.NewCond(&p.mu)
		set := func(flag *bool, value bool) func(testing.TB) {
			return func(testing.TB) {
				p.mu.Lock()
				defer p.mu.Unlock()
				*flag = value
			}
		}
		spoil := func(r *message.Record) { r.Value = []byte("spoilt") }
		return bridgetest.Peer{
			Destination: func(testing.TB) string { return "t" },
			Sink:        func(testing.TB, string) bridges.Sink { return &fakeSink{p, true} },
			Intruder:    func(testing.TB, string) (bridges.Sink, string) { return &fakeSink{p, false}, "secret" },
			Records:     func(testing.TB, string) []bridgetest.Received { return p.records },
			Stop:        set(&p.up, false), Restart: set(&p.up, true),
			Freeze: set(&p.frozen, true), Thaw: set(&p.frozen, false),
			Poison: spoil,
		}
	}
	bridgetest.Run(t, bridgetest.Connector{
		Peer:  peer,
		Lacks: map[bridgetest.Capability]string{bridgetest.TooLarge: "memory has room for all"},
	})
}
