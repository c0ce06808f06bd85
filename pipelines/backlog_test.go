package pipelines_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
)

// outage is a destination that can be taken away.
type outage struct{ down atomic.Bool }

// newOutage returns one that has begun.
func newOutage() *outage {
	o := &outage{}
	o.down.Store(true)
	return o
}

func (o *outage) answer(context.Context, []message.Record) error {
	if o.down.Load() {
		return &bridges.Unavailable{Err: errors.New("down")}
	}
	return nil
}

// The backlog is exactly what is appended and not settled, whatever became of it.
func TestBacklogIsExact(t *testing.T) {
	o := &outage{}
	sink := &shardedSink{shard: byTopic}
	sink.answer = o.answer
	run(t, sink, func(r *rig) {
		r.start()
		want(t, "at first", r.owed(), [2]int64{})
		for _, v := range []string{"ok", "filter", "error", "drop", "twice", "unreadable"} {
			r.journal.publish("a", v, 1)
		}
		r.journal.publish("a", "other", 2)
		pass(time.Second)
		want(t, "all settled", r.owed(), [2]int64{})
		o.down.Store(true)
		for range 20_000 { // more than a lane reads ahead
			r.journal.publish("a", "0123456789", 1, 2)
		}
		r.journal.publish("a", "filter", 1) // behind what is owed
		pass(time.Minute)
		want(t, "owed", r.owed(), [2]int64{20_001, 20_001*110 - 4})
		o.down.Store(false)
		pass(time.Minute)
		want(t, "afterwards", r.owed(), [2]int64{})
		r.stop()
		r.total()
	})
}

// What a stored cursor leaves owed is guessed at the start, never too low, and
// becomes exact as the lane comes past it.
func TestBacklogFadesToExact(t *testing.T) {
	o := newOutage()
	sink := &shardedSink{shard: oneShard}
	sink.answer = o.answer
	run(t, sink, func(r *rig) {
		r.start()
		for i := range 12_000 {
			r.journal.publish("a", fmt.Sprintf("%010d", i), 1)
		}
		pass(time.Second)
		r.crash()
		r.journal.excess = 500
		r.start()
		r.journal.publish("a", "0123456789", 1)
		want(t, "guessed", r.owed(), [2]int64{12_501, 12_501 * 110})
		pass(time.Second)
		want(t, "not read yet", r.owed(), [2]int64{12_501, 12_501 * 110})
		o.down.Store(false)
		pass(time.Minute)
		want(t, "afterwards", r.owed(), [2]int64{})
		for range 10 {
			o.down.Store(true)
			r.journal.publish("a", "0123456789", 1)
		}
		pass(time.Second)
		want(t, "exact", r.owed(), [2]int64{10, 1100})
		r.stop()
		r.total()
	})
}

// A lane that takes another's place goes on with its backlog.
func TestBacklogIsHandedOver(t *testing.T) {
	b := pipelines.NewBacklog()
	j := newFakeJournal()
	build := func() *pipelines.Lane {
		lane, err := pipelines.NewLane(pipelines.LaneOptions{
			Name: "plant", Number: 7, Journal: j, Evaluators: ruleOne, Sink: &fakeSink{}, Backlog: b,
			Delivery: pipelines.DeliveryConfig{Max: pipelines.MaxConfig{Records: 5}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return lane
	}
	build()
	b.Add(5, 50)
	if !b.Full() {
		t.Error("not full")
	}
	j.feeds[7] = &fakeFeed{rules: []uint32{1}}
	j.publish("a", "v", 1)
	if lane := build(); lane.Backlog() != b || b.Messages() != 5 || b.Bytes() != 50 {
		t.Errorf("%d messages, %d bytes", b.Messages(), b.Bytes())
	}
}

// block: Full at the bound, Room when a tenth of it is free (C7).
func TestBlock(t *testing.T) {
	for name, most := range map[string]pipelines.MaxConfig{
		"records": {Records: 100}, "bytes": {Bytes: 11_000}, "age": {Age: 10 * time.Second}, "share": {},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOutage()
			sink := &shardedSink{shard: oneShard}
			sink.answer = o.answer
			run(t, sink, func(r *rig) {
				r.journal.clock = true
				r.share = 1 << 30
				if r.config.Max = most; most == (pipelines.MaxConfig{}) {
					r.share = 11_000
				}
				r.start()
				b := r.lane.Backlog()
				for range 99 {
					r.journal.publish("a", "0123456789", 1)
				}
				pass(9 * time.Second)
				if b.Full() || !b.FullSince().IsZero() {
					t.Error("full before its bound")
				}
				<-b.Room()
				if most.Age == 0 {
					r.journal.publish("a", "0123456789", 1)
				}
				pass(time.Second)
				if !b.Full() || r.lane.Status().Full.IsZero() {
					t.Error("not full at its bound")
				}
				select {
				case <-b.Room():
					t.Error("room while full")
				default:
				}
				o.down.Store(false)
				<-b.Room()
				pass(time.Second)
				want(t, "full", b.Full(), false)
				want(t, "owed", r.owed(), [2]int64{})
				r.stop()
				want(t, "dropped", r.total().DroppedSum(), uint64(0))
			})
		})
	}
}

// Being full ends later than it began, so that it does not come and go with
// every message.
func TestRoomComesWithATenth(t *testing.T) {
	b := pipelines.NewBacklog()
	_, err := pipelines.NewLane(pipelines.LaneOptions{
		Name: "plant", Number: 7, Journal: newFakeJournal(), Evaluators: ruleOne, Sink: &fakeSink{}, Backlog: b,
		Delivery: pipelines.DeliveryConfig{Max: pipelines.MaxConfig{Records: 100}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Add(100, 0)
	for i := range 10 {
		if want(t, "full", b.Full(), true); t.Failed() {
			t.Fatalf("after %d", i)
		}
		b.Settle(1, 0)
	}
	want(t, "full", b.Full(), false)
	b.Add(9, 0)
	want(t, "full again too early", b.Full(), false)
	b.Add(1, 0)
	want(t, "full again", b.Full(), true)
}

// A guess that is too high does not refuse messages there is room for: what is
// there is counted.
func TestBlockAfterARestartCounts(t *testing.T) {
	o := newOutage()
	sink := &shardedSink{shard: oneShard}
	sink.answer = o.answer
	run(t, sink, func(r *rig) {
		r.config.Max.Records = 15_000
		r.start()
		for range 12_000 {
			r.journal.publish("a", "0123456789", 1)
		}
		pass(time.Second)
		r.crash()
		r.journal.excess = 5000
		r.start()
		pass(time.Second)
		want(t, "full", r.lane.Backlog().Full(), false)
		want(t, "owed", r.owed(), [2]int64{12_000, 12_000 * 110})
		o.down.Store(false)
		pass(time.Minute)
		want(t, "owed", r.owed(), [2]int64{})
		r.stop()
		r.total()
	})
}

// ruleOne is the evaluators of a lane with the rule 1.
func ruleOne() pipelines.Evaluator { return fakeRules{[]uint32{1}} }
