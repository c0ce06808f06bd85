package pipelines_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
)

// A paused lane reads, evaluates and writes nothing more; what is in flight
// settles, and it still knows how old its backlog is.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlug()
		sink := plugged(p)
		r := newRig(t, sink)
		stuffed(r, p)
		r.journal.publish("a", "v0", 1)
		pass(time.Second)
		r.lane.Pause()
		r.lane.Pause()
		pass(time.Second)
		decoded := r.journal.decoded
		at := time.Now()
		r.journal.publish("a", "filter", 2)
		r.journal.publish("a", "v1", 1)
		pass(10 * time.Second)
		want(t, "decoded", r.journal.decoded, decoded)
		p.pull()
		pass(time.Hour)
		want(t, "delivered", sink.have(), []string{"plug"})
		s := r.lane.Status()
		want(t, "state", []any{s.State, s.Healthy(), s.Messages, s.InFlight}, []any{pipelines.Paused, true, int64(2), 0})
		want(t, "oldest", s.Oldest.Before(at), true)
		want(t, "pending", r.total().Pending, uint64(1))
		r.lane.Resume()
		pass(time.Second)
		want(t, "delivered", sink.have(), []string{"plug", "v0", "v1"})
		want(t, "state", r.lane.Status().State, pipelines.Running)
		want(t, "owed", r.owed(), [2]int64{})
		r.stop()
		r.total()
	})
}

// A lane that begins paused does not open its sink, and looks at what waits
// without evaluating it.
func TestBeginsPaused(t *testing.T) {
	sink := &fakeSink{}
	run(t, sink, func(r *rig) {
		r.paused, r.journal.clock = true, true
		r.start()
		pass(time.Hour)
		at := time.Now()
		r.journal.publish("a", "v0", 1)
		pass(time.Hour)
		r.journal.publish("a", "v1", 1)
		pass(time.Hour)
		s := r.lane.Status()
		want(t, "oldest", s.Oldest.Equal(at), true)
		want(t, "opens", sink.begins(), 0)
		want(t, "in", r.total().In, uint64(0))
		r.lane.Resume()
		pass(time.Second)
		want(t, "delivered", sink.have(), numbered(2))
		want(t, "oldest", r.lane.Status().Oldest.IsZero(), true)
		r.stop()
	})
}

// A pause does not lift the bounds.
func TestPausedLaneStillDrops(t *testing.T) {
	for _, policy := range []string{"drop_oldest", "drop_newest", "keep_latest"} {
		t.Run(policy, func(t *testing.T) {
			sink := &fakeSink{}
			run(t, sink, func(r *rig) {
				r.paused = true
				r.config.OnFull, r.config.Max.Records = policy, 10
				r.start()
				for i := range 1000 {
					r.journal.publish(fmt.Sprint(i), fmt.Sprintf("v%d", i), 1)
				}
				pass(time.Second)
				want(t, "owed", r.owed()[0], int64(10))
				r.lane.Resume()
				pass(time.Second)
				want(t, "delivered", len(sink.have()), 10)
				r.stop()
				want(t, "dropped", r.total().DroppedSum(), uint64(990))
			})
		})
	}
}

func TestInquire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &shardedSink{shard: byTopicOutput}
		release := make(chan struct{})
		sink.answer = func(_ context.Context, batch []message.Record) error {
			switch {
			case batch[0].Topic == "bad":
				return &bridges.Retry{Err: errors.New("busy")}
			case batch[0].Output == 2:
				<-release
			}
			return nil
		}
		r := newRig(t, sink)
		r.config.Batch.Records = 1
		r.start()
		pass(time.Second)
		ask := func(offset uint64) pipelines.Inquiry {
			q, err := r.lane.Inquire(t.Context(), offset)
			if err != nil {
				t.Fatal(err)
			}
			return q
		}
		twice := r.journal.publish("a", "twice", 1)
		other := r.journal.publish("a", "other", 2)
		done := r.journal.publish("a", "done", 1)
		synctest.Wait()
		began := time.Now()
		bad := r.journal.publish("bad", "v0", 1)
		behind := r.journal.publish("bad", "v1", 1)
		pass(50 * time.Millisecond)
		want(t, "settled", ask(done), pipelines.Inquiry{State: pipelines.Settled})
		want(t, "of another lane", ask(other), pipelines.Inquiry{State: pipelines.Settled})
		want(t, "to come", ask(10_000), pipelines.Inquiry{State: pipelines.Unread})
		want(t, "in flight", ask(twice), pipelines.Inquiry{State: pipelines.Pending, Records: []pipelines.PendingRecord{
			{Rule: 1, Output: 2, Place: "in_flight", Attempts: 1, First: began},
		}})
		q := ask(bad)
		if len(q.Records) != 1 || q.Records[0].Place != "retrying" || q.Records[0].LastError != "retry: busy" || q.Records[0].Attempts < 1 {
			t.Errorf("%+v", q)
		}
		want(t, "waiting", ask(behind).Records, []pipelines.PendingRecord{{Rule: 1, Output: 1, Place: "waiting"}})
		close(release)
		r.stop()
		want(t, "after the end", ask(behind).State, pipelines.Pending)
		r.total()
	})
}

// C19: a lane that is behind is slowed down, one that keeps up is not.
func TestDrainRate(t *testing.T) {
	o := &outage{}
	sink := &shardedSink{shard: byTopic}
	sink.answer = o.answer
	run(t, sink, func(r *rig) {
		r.journal.clock = true
		r.config.DrainRate, r.config.Batch.Records = 100, 20
		r.start()
		for i := range 5000 { // five times the rate, but live
			r.journal.publish("live", fmt.Sprintf("v%d", i), 1)
			pass(2 * time.Millisecond)
		}
		want(t, "live", len(sink.have()), 5000)
		o.down.Store(true)
		for i := range 2000 {
			r.journal.publish(fmt.Sprint("t", i%10), fmt.Sprintf("v%d", i), 1)
		}
		pass(5 * time.Second)
		o.down.Store(false)
		pass(7 * time.Second) // the breaker
		for range 5 {
			before := len(sink.have())
			pass(2 * time.Second)
			if n := len(sink.have()) - before; n < 180 || n > 220 {
				t.Errorf("%d records in 2 s, %d before", n, before)
			}
		}
		pass(20 * time.Second)
		want(t, "all", len(sink.have()), 7000)
		want(t, "state", r.lane.Status().State, pipelines.Running)
		inOrder(t, sink)
		r.stop()
		r.total()
	})
}

// A throttled lane sleeps between its writes: no busy loop.
func TestDrainRateOfOne(t *testing.T) {
	o := newOutage()
	sink := &shardedSink{shard: oneShard}
	sink.answer = o.answer
	run(t, sink, func(r *rig) {
		r.journal.clock = true
		r.config.DrainRate = 1
		r.config.Batch.Records = 1
		r.start()
		for _, v := range numbered(60) {
			r.journal.publish("a", v, 1)
		}
		pass(10 * time.Second)
		o.down.Store(false)
		pass(5 * time.Second)
		before := len(sink.have())
		pass(20 * time.Second)
		if n := len(sink.have()) - before; n < 19 || n > 21 {
			t.Errorf("%d records in 20 s", n)
		}
		pass(time.Minute)
		want(t, "delivered", sink.have(), numbered(60))
		want(t, "closes", sink.ends(), 0)
		r.stop()
		r.total()
	})
}

// The sink is down for an hour while messages come: everything is delivered
// afterwards, in order, with one probe at a time meanwhile.
func TestSinkDownForAnHour(t *testing.T) {
	o := newOutage()
	sink := &shardedSink{shard: byTopic}
	sink.answer = func(ctx context.Context, batch []message.Record) error {
		<-time.After(time.Millisecond)
		return o.answer(ctx, batch)
	}
	run(t, sink, func(r *rig) {
		r.journal.clock = true
		r.start()
		begin := time.Now()
		for i := range 36_000 {
			r.journal.publish(fmt.Sprint("t", i%100), fmt.Sprintf("v%d", i), 1)
			pass(100 * time.Millisecond)
			if i == 100 {
				sink.peak()
			}
		}
		want(t, "probes at a time", sink.peak(), 1)
		if n := len(sink.calls()); n > 3600 {
			t.Errorf("%d probes in an hour", n)
		}
		s := r.lane.Status()
		want(t, "owed", s.Messages, int64(36_000))
		want(t, "state", []any{s.State, s.Reason, s.Breaker}, []any{pipelines.Unavailable, "the sink cannot be reached", "open"})
		want(t, "oldest", s.Oldest.Equal(begin), true)
		o.down.Store(false)
		pass(time.Minute)
		want(t, "delivered", len(sink.have()), 36_000)
		inOrder(t, sink)
		got := r.total()
		want(t, "account", []uint64{got.In, got.Delivered, got.DeadLettered, got.Pending}, []uint64{36_000, 36_000, 0, 0})
		want(t, "owed", r.owed(), [2]int64{})
		want(t, "breaker", r.lane.Status().Breaker, "closed")
		r.stop()
	})
}

// I7: a dead sink and a slow one on the same journal do not slow a third one.
func TestIsolation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newFakeJournal()
		j.clock = true
		var late atomic.Int64
		dead := &fakeSink{answer: func(context.Context, []message.Record) error { return &bridges.Unavailable{Err: errors.New("down")} }}
		slow := &fakeSink{answer: func(context.Context, []message.Record) error {
			<-time.After(time.Second)
			return nil
		}}
		fine := &fakeSink{answer: func(_ context.Context, batch []message.Record) error {
			if time.Now().UnixMilli() > batch[0].Received+1 {
				late.Add(1)
			}
			return nil
		}}
		config := pipelines.DeliveryConfig{InFlight: 1, Batch: pipelines.BatchConfig{Records: 10}, Max: pipelines.MaxConfig{Records: 1000}}
		ctx, cancel := context.WithCancel(t.Context())
		var lanes []*pipelines.Lane
		ended := make(chan error)
		for i, sink := range []*fakeSink{dead, slow, fine} {
			lane, err := pipelines.NewLane(pipelines.LaneOptions{
				Name: fmt.Sprint(i), Number: uint32(i + 1), Journal: j, Evaluators: ruleOne, Sink: sink,
				Delivery: config, RuleName: func(uint32) string { return "r" }, Log: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			j.feeds[uint32(i+1)] = &fakeFeed{rules: []uint32{1}, backlog: lane.Backlog()}
			lanes = append(lanes, lane)
			go func() { ended <- lane.Run(ctx) }()
		}
		for i := range 10_000 {
			j.publish(fmt.Sprint(i%10), "v", 1)
			pass(time.Millisecond)
		}
		want(t, "the fine one", len(fine.have()), 10_000)
		want(t, "late", late.Load(), int64(0))
		want(t, "the dead one", lanes[0].Backlog().Messages(), int64(10_000))
		if n := len(slow.have()); n < 50 || n > 110 {
			t.Errorf("the slow one wrote %d", n)
		}
		want(t, "full", []bool{lanes[0].Backlog().Full(), lanes[1].Backlog().Full(), lanes[2].Backlog().Full()}, []bool{true, true, false})
		cancel()
		for _, lane := range lanes {
			if err := <-ended; err != nil {
				t.Error(err)
			}
			pipelines.AssertBalanced(t, lane.Account())
		}
	})
}
