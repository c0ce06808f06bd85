package pipelines_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
)

// A deafSink takes what it is given and says nothing, until it was opened again
// often enough. Writes end with its connection only if it is obedient.
type deafSink struct {
	fakeSink
	hears    int // from which connection on it answers
	obedient bool
	lost     chan struct{} // closed at the end of the test
	failure  error         // of a write whose connection was closed

	turn   sync.Mutex
	epoch  int
	closed chan struct{}
}

func newDeafSink(hears int, obedient bool) *deafSink {
	s := &deafSink{hears: hears, obedient: obedient, failure: &bridges.Fatal{Err: errors.New("the sink is closed")}}
	s.answer = s.silence
	return s
}

func (s *deafSink) Open(ctx context.Context) error {
	s.turn.Lock()
	s.epoch++
	s.closed = make(chan struct{})
	if s.lost == nil {
		s.lost = make(chan struct{})
	}
	s.turn.Unlock()
	return s.fakeSink.Open(ctx)
}

func (s *deafSink) Close(ctx context.Context) error {
	s.turn.Lock()
	close(s.closed)
	s.turn.Unlock()
	return s.fakeSink.Close(ctx)
}

func (s *deafSink) Shard(r *message.Record) (group, shard, gen uint32) { return byTopic(r) }

func (s *deafSink) silence(ctx context.Context, _ []message.Record) error {
	s.turn.Lock()
	deaf, closed := s.epoch < s.hears, s.closed
	s.turn.Unlock()
	switch {
	case !deaf:
		return nil
	case !s.obedient:
		<-s.lost
		return errors.New("at last")
	}
	<-closed
	return s.failure
}

// A sink that confirms nothing is opened again after each time of the watchdog,
// the same records are written in the same order, and health is red from the
// first to the next confirmation, whatever the socket says.
func TestWatchdog(t *testing.T) {
	for _, obedient := range []bool{true, false} {
		t.Run(fmt.Sprint("obedient=", obedient), func(t *testing.T) {
			sink := newDeafSink(4, obedient)
			run(t, sink, func(r *rig) {
				r.config.Watchdog = time.Minute
				r.config.InFlight = 2
				r.start()
				pass(time.Second)
				for i := range 30 {
					r.journal.publish(fmt.Sprint("t", i%3), fmt.Sprintf("v%d", i/3), 1)
				}
				pass(59 * time.Second)
				want(t, "state", r.lane.Status().State, pipelines.Running)
				pass(2 * time.Second)
				want(t, "state", r.lane.Status().State, pipelines.Stalled)
				want(t, "closes", sink.ends(), 1)
				pass(61*time.Second + 5*time.Second)
				s := r.lane.Status()
				want(t, "state", s.State, pipelines.Stalled)
				want(t, "healthy", s.Healthy(), false)
				want(t, "last confirmed", s.LastConfirmed.IsZero(), true)
				want(t, "closes", sink.ends(), 2)
				pass(2 * time.Minute)
				s = r.lane.Status()
				want(t, "state", s.State, pipelines.Running)
				want(t, "confirmed", s.LastConfirmed.IsZero(), false)
				want(t, "opens", sink.begins(), 4)
				for i := range 3 {
					want(t, "order", orderOf(&sink.fakeSink, fmt.Sprint("t", i)), numbered(10))
				}
				want(t, "owed", r.owed(), [2]int64{})
				r.stop()
				r.total()
				close(sink.lost)
				synctest.Wait()
				if n := strings.Count(r.log.String(), "sink confirms nothing"); n != 1 {
					t.Errorf("logged %d times", n)
				}
			})
		})
	}
}

func orderOf(s *fakeSink, key string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gotBy[key]
}

// A lane without work, one that waits for room in the dead letters and one that
// is paused owe themselves, not the sink.
func TestWatchdogLooksForWork(t *testing.T) {
	sink := &shardedSink{shard: oneShard}
	sink.answer = func(context.Context, []message.Record) error { return &bridges.Reject{Err: errors.New("no")} }
	run(t, sink, func(r *rig) {
		r.openDead(10)
		r.start()
		pass(time.Hour)
		r.journal.publish("a", "refused", 1)
		r.journal.publish("a", "behind", 1)
		pass(time.Hour)
		want(t, "state", r.lane.Status().State, pipelines.Blocked)
		r.lane.Pause()
		pass(time.Hour)
		want(t, "closes", sink.ends(), 0)
		r.stop()
		r.total()
	})
}

// A write that ignores everything does not keep Run from ending, nor does a
// sink that does not close. What it held is written after the restart.
func TestStopLeavesBehindWhatHangs(t *testing.T) {
	sink := &hangingSink{}
	run(t, sink, func(r *rig) {
		release := make(chan struct{})
		sink.release = release
		r.start()
		r.journal.publish("a", "v0", 1)
		pass(time.Second)
		begin := time.Now()
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("stopping took %v", took)
		}
		want(t, "pending", r.total().Pending, uint64(1))
		want(t, "state", r.lane.Status().State, pipelines.Stopped)
		close(release)
		synctest.Wait()
		for _, text := range []string{"writes did not end", "did not close"} {
			if !strings.Contains(r.log.String(), text) {
				t.Errorf("%q is not in the log:\n%s", text, r.log.String())
			}
		}
		r.start()
		pass(time.Second)
		want(t, "after the restart", r.total().Delivered, uint64(1))
		r.stop()
	})
}

type hangingSink struct{ release chan struct{} }

func (s *hangingSink) Open(context.Context) error { return nil }
func (s *hangingSink) Write(context.Context, []message.Record) error {
	<-s.release
	return nil
}

func (s *hangingSink) Close(context.Context) error {
	<-s.release
	return nil
}

// A sink whose Open hangs does not keep Run from ending either, and the lane
// knows how old its backlog is meanwhile.
func TestOpenHangs(t *testing.T) {
	sink := &fakeSink{}
	run(t, sink, func(r *rig) {
		release := make(chan struct{})
		sink.opening = func() error { <-release; return nil }
		r.journal.clock = true
		r.start()
		pass(time.Second)
		at := time.Now()
		r.journal.publish("a", "v0", 1)
		pass(time.Minute)
		s := r.lane.Status()
		want(t, "state", s.State, pipelines.Opening)
		want(t, "oldest", s.Oldest.Equal(at), true)
		want(t, "owed", r.owed(), [2]int64{1, 102})
		begin := time.Now()
		r.stop()
		want(t, "stopping took", time.Since(begin) < 6*time.Second, true)
		close(release)
		synctest.Wait()
		r.total()
	})
}

// While the sink cannot be opened the lane reads, and says so.
func TestStatusWhileTheSinkCannotBeOpened(t *testing.T) {
	var up atomic.Bool
	sink := &fakeSink{opening: func() error {
		if !up.Load() {
			return &bridges.Unavailable{Err: errors.New("no route to host")}
		}
		return nil
	}}
	run(t, sink, func(r *rig) {
		r.journal.clock = true
		r.start()
		synctest.Wait()
		at := time.Now()
		r.journal.publish("a", "v0", 1)
		pass(time.Minute)
		s := r.lane.Status()
		want(t, "state", s.State, pipelines.Unavailable)
		want(t, "error", s.LastError, "unavailable: no route to host")
		want(t, "oldest", s.Oldest.Equal(at), true)
		want(t, "healthy", s.Healthy(), false)
		want(t, "in", r.total().In, uint64(1))
		up.Store(true)
		pass(10 * time.Second)
		s = r.lane.Status()
		want(t, "state", s.State, pipelines.Running)
		want(t, "oldest", s.Oldest.IsZero(), true)
		want(t, "delivered", sink.have(), []string{"v0"})
		r.stop()
	})
}
