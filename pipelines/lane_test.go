package pipelines_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
)

// run runs a test of a lane in a bubble of fake time.
func run(t *testing.T, sink bridges.Sink, test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newRig(t, sink)) })
}

// pass lets fake time go by, and what is due then happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func numbered(n int) []string {
	var v []string
	for i := range n {
		v = append(v, fmt.Sprintf("v%d", i))
	}
	return v
}

func want(t testing.TB, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestDeliversInOrderPerKey(t *testing.T) {
	sink := &fakeSink{}
	run(t, sink, func(r *rig) {
		r.start()
		for i := range 5000 {
			r.journal.publish(fmt.Sprintf("t/%d", i%7), fmt.Sprintf("v%d", i/7), 1)
		}
		synctest.Wait()
		pass(time.Second)
		for k := range 7 {
			n := 5000 / 7
			if k < 5000%7 {
				n++
			}
			want(t, "key", r.order(fmt.Sprintf("t/%d", k)), numbered(n))
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		got := r.total()
		want(t, "account", []uint64{got.In, got.Passed, got.Records, got.Delivered, got.Pending}, []uint64{5000, 5000, 5000, 5000, 0})
		c, _ := r.journal.Cursor(7)
		if len(c.Settled) != 0 || c.Low < 5000 {
			t.Errorf("cursor after an orderly stop: %+v", c)
		}
	})
}

func TestSkipsWhatIsNotItsOwnWithoutDecoding(t *testing.T) {
	sink := &fakeSink{}
	run(t, sink, func(r *rig) {
		r.start()
		r.journal.publish("a", "mine", 1)
		r.journal.publish("a", "other", 2, 3)
		r.journal.publish("a", "both", 2, 1)
		r.journal.publish("a", "nobody")
		synctest.Wait()
		want(t, "delivered", sink.have(), []string{"mine", "both"})
		want(t, "decoded", r.journal.decoded, 2)
		r.stop()
	})
}

func TestNewLaneStartsNow(t *testing.T) {
	sink := &fakeSink{}
	run(t, sink, func(r *rig) {
		r.journal.publish("a", "before", 1)
		r.build()
		if c, ok := r.journal.Cursor(7); !ok || c.Low != 2 {
			t.Errorf("cursor of a new lane: %+v %v", c, ok)
		}
		r.journal.publish("a", "between", 1)
		r.start() // the same lane after a restart: its place is kept
		synctest.Wait()
		want(t, "delivered", sink.have(), []string{"between"})
		r.stop()
	})
}

// C19: an idle shard sends at once; what comes during a write lingers.
func TestLinger(t *testing.T) {
	sink := &shardedSink{shard: oneShard}
	sink.answer = func(context.Context, []message.Record) error {
		<-time.After(time.Millisecond)
		return nil
	}
	run(t, sink, func(r *rig) {
		r.config.Batch.Linger = 10 * time.Millisecond
		r.start()
		synctest.Wait()
		begin := time.Now()
		r.journal.publish("a", "first", 1)
		synctest.Wait() // in flight
		r.journal.publish("a", "second", 1)
		pass(5 * time.Millisecond)
		r.journal.publish("a", "third", 1)
		pass(time.Second)
		want(t, "writes", sink.calls(), [][]string{{"first"}, {"second", "third"}})
		want(t, "idle shard waits", sink.starts[0].Sub(begin), time.Duration(0))
		want(t, "linger", sink.starts[1].Sub(begin), 10*time.Millisecond)
		r.stop()
	})
}

func TestRecordsAndBytesEndTheLinger(t *testing.T) {
	for name, batch := range map[string]pipelines.BatchConfig{
		"records": {Records: 3, Linger: time.Hour / 60},
		"bytes":   {Bytes: 210, Linger: time.Hour / 60}, // three records of 64 + 1 + 1 + 2
	} {
		t.Run(name, func(t *testing.T) {
			sink := &shardedSink{shard: oneShard}
			sink.answer = func(context.Context, []message.Record) error {
				<-time.After(time.Millisecond)
				return nil
			}
			run(t, sink, func(r *rig) {
				r.config.Batch = batch
				r.start()
				for _, v := range numbered(5) {
					r.journal.publish("a", v, 1)
					synctest.Wait()
				}
				pass(10 * time.Millisecond)
				want(t, "writes", sink.calls(), [][]string{{"v0"}, {"v1", "v2", "v3"}})
				pass(time.Minute)
				want(t, "writes", sink.calls()[2:], [][]string{{"v4"}})
				r.stop()
			})
		})
	}
}

// C18: the same records in the same order, after a back-off; a shard that waits
// to retry holds no permit.
func TestRetry(t *testing.T) {
	failures := 5
	sink := &shardedSink{shard: byTopic}
	sink.answer = func(_ context.Context, batch []message.Record) error {
		if batch[0].Topic == "bad" && failures > 0 {
			failures--
			return &bridges.Retry{Err: errors.New("busy")}
		}
		return nil
	}
	run(t, sink, func(r *rig) {
		r.config.InFlight = 1
		r.start()
		r.journal.publish("bad", "v0", 1)
		r.journal.publish("bad", "v1", 1)
		synctest.Wait()
		r.journal.publish("bad", "v2", 1)
		r.journal.publish("good", "g", 1)
		synctest.Wait()
		want(t, "the other shard", r.order("good"), []string{"g"})
		pass(30 * time.Second)
		want(t, "the failing shard", r.order("bad"), numbered(3))
		last := time.Time{}
		for i, w := range sink.calls() {
			if !slices.Equal(w, []string{"v0", "v1"}) {
				continue
			}
			if gap := sink.starts[i].Sub(last); !last.IsZero() && gap > 5*time.Second {
				t.Errorf("back-off of %v", gap)
			}
			last = sink.starts[i]
		}
		r.stop()
		if n := strings.Count(r.log.String(), "busy"); n != 1 {
			t.Errorf("the same error was logged %d times:\n%s", n, r.log.String())
		}
	})
}

func TestRetryAfter(t *testing.T) {
	calls := 0
	sink := &fakeSink{}
	sink.answer = func(context.Context, []message.Record) error {
		if calls++; calls == 1 {
			return &bridges.Retry{After: 42 * time.Second, Err: errors.New("too many requests")}
		}
		return nil
	}
	run(t, sink, func(r *rig) {
		r.start()
		r.journal.publish("a", "v0", 1)
		pass(time.Minute)
		want(t, "waited", sink.starts[1].Sub(sink.starts[0]), 42*time.Second)
		r.stop()
	})
}

// An unknown error leaves the outcome open, so the records go again.
func TestUnknownErrorIsRetried(t *testing.T) {
	for _, err := range []error{
		errors.New("odd"),
		&bridges.Partial{Failed: map[int]error{7: &bridges.Retry{Err: errors.New("out of range")}}},
		fmt.Errorf("wrapped: %w", &bridges.Retry{Err: &bridges.Reject{Err: errors.New("inner")}}),
	} {
		failed := false
		sink := &fakeSink{}
		sink.answer = func(context.Context, []message.Record) error {
			if !failed {
				failed = true
				return err
			}
			return nil
		}
		run(t, sink, func(r *rig) {
			r.start()
			r.journal.publish("a", "v0", 1)
			pass(time.Minute)
			want(t, "delivered", r.total().Delivered, uint64(1))
			want(t, "writes", len(sink.calls()), 2)
			r.stop()
		})
	}
}

// While the sink is unavailable the lane sends one probe at a time.
func TestBreaker(t *testing.T) {
	var up atomic.Bool
	sink := &shardedSink{shard: byTopic}
	sink.answer = func(context.Context, []message.Record) error {
		<-time.After(10 * time.Millisecond)
		if !up.Load() {
			return &bridges.Unavailable{Err: errors.New("connection refused")}
		}
		return nil
	}
	run(t, sink, func(r *rig) {
		r.start()
		for i := range 20 {
			r.journal.publish(fmt.Sprintf("t%d", i), "v0", 1)
		}
		pass(time.Second)
		first := len(sink.calls()) // those in flight when it broke, and some probes
		sink.peak()
		pass(10 * time.Minute)
		probes := len(sink.calls()) - first
		if probes < 100 || probes > 1200 {
			t.Errorf("%d probes in 10 minutes", probes)
		}
		want(t, "probes at a time", sink.peak(), 1)
		up.Store(true)
		pass(6 * time.Second)
		want(t, "delivered", len(sink.have()), 20)
		if sink.peak() < 2 {
			t.Error("the lane did not open up again")
		}
		r.stop()
		if n := strings.Count(r.log.String(), "connection refused"); n != 1 {
			t.Errorf("the same error was logged %d times:\n%s", n, r.log.String())
		}
		if !strings.Contains(r.log.String(), "sink is available again") {
			t.Error("the end of the outage was not logged")
		}
	})
}

func TestOpenIsRepeatedWhileUnavailable(t *testing.T) {
	sink := &fakeSink{}
	sink.opening = func() error {
		if sink.begins() < 4 {
			return &bridges.Unavailable{Err: errors.New("down")}
		}
		return nil
	}
	run(t, sink, func(r *rig) {
		r.start()
		r.journal.publish("a", "v0", 1)
		pass(time.Minute)
		want(t, "delivered", sink.have(), []string{"v0"})
		r.stop()
		want(t, "closes", sink.ends(), 1)
	})
}

func TestOpenFails(t *testing.T) {
	sink := &fakeSink{opening: func() error { return &bridges.Fatal{Err: errors.New("no such folder")} }}
	run(t, sink, func(r *rig) {
		r.start()
		if err := r.end(); err == nil || !strings.Contains(err.Error(), "no such folder") {
			t.Errorf("Run returned %v", err)
		}
		want(t, "closes", sink.ends(), 0)
	})
}

// The lane stops, with what it settled stored and the sink closed.
func TestFatal(t *testing.T) {
	sink := &shardedSink{shard: oneShard}
	sink.answer = func(_ context.Context, batch []message.Record) error {
		if string(batch[0].Value) == "bad" {
			return &bridges.Fatal{Err: errors.New("unsupported version")}
		}
		return nil
	}
	run(t, sink, func(r *rig) {
		r.start()
		good := r.journal.publish("a", "good", 1)
		synctest.Wait()
		r.journal.publish("a", "bad", 1)
		var fatal *bridges.Fatal
		if err := r.end(); !errors.As(err, &fatal) {
			t.Errorf("Run returned %v", err)
		}
		c, _ := r.journal.Cursor(7)
		want(t, "cursor", c.Low > good && c.Low <= good+2, true)
		want(t, "closes", sink.ends(), 1)
		want(t, "pending", r.total().Pending, uint64(1))
	})
}

func TestStopWaitsForWritesThenEndsThem(t *testing.T) {
	for _, takes := range []time.Duration{3 * time.Second, time.Hour} {
		sink := &fakeSink{}
		sink.answer = func(ctx context.Context, _ []message.Record) error {
			select {
			case <-time.After(takes):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		run(t, sink, func(r *rig) {
			r.start()
			r.journal.publish("a", "v0", 1)
			synctest.Wait()
			begin := time.Now()
			if err := r.stop(); err != nil {
				t.Error(err)
			}
			want(t, "stopping took", time.Since(begin), min(takes, 5*time.Second))
			c, _ := r.journal.Cursor(7)
			settled := takes < 5*time.Second
			want(t, "settled", c.Low == 3, settled)
			want(t, "pending", r.total().Pending == 0, settled)
			want(t, "closes", sink.ends(), 1)
		})
	}
}
