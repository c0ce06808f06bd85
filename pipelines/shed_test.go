package pipelines_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
)

// A sink that holds one record for hours, with drop_oldest behind it: the lane
// goes on shedding, and takes no more room than what waits.
func TestShedsBehindAStuckRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlug()
		sink := plugged(p)
		r := newRig(t, sink)
		r.config.OnFull, r.config.Max.Records = "drop_oldest", 100
		stuffed(r, p)
		for round := range 4 {
			for i := range 50_000 {
				r.journal.publish("a", fmt.Sprintf("v%d", round*50_000+i), 1)
			}
			pass(time.Second)
			want(t, "owed", r.owed()[0], int64(101))
		}
		c, _ := r.journal.Cursor(7)
		want(t, "ranges", len(c.Settled), 1)
		p.pull()
		pass(time.Second)
		want(t, "delivered", len(sink.have()), 101)
		r.stop()
		want(t, "dropped", r.total().DroppedSum(), uint64(200_000-100))
	})
}

// Records that wait for a new mapping are given up like others.
func TestDropOldestOfAHeldGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlug()
		var gen atomic.Uint32
		sink := plugged(p)
		sink.shard = func(*message.Record) (uint32, uint32, uint32) { return 1, 0, gen.Load() }
		r := newRig(t, sink)
		r.config.OnFull, r.config.Max.Records = "drop_oldest", 10
		stuffed(r, p)
		gen.Store(1)
		for _, v := range numbered(100) {
			r.journal.publish("a", v, 1)
		}
		pass(time.Second)
		want(t, "owed", r.owed()[0], int64(11))
		p.pull()
		pass(time.Second)
		want(t, "delivered", sink.have()[1:], from(90, 100))
		r.stop()
		r.total()
	})
}

// With the dead letters full, what a policy must give up does not wait for room.
func TestDropOldestWhileTheLettersAreFull(t *testing.T) {
	sink := &shardedSink{shard: oneShard}
	sink.answer = func(_ context.Context, batch []message.Record) error {
		return &bridges.Reject{Err: errors.New("no")}
	}
	run(t, sink, func(r *rig) {
		r.openDead(10)
		r.config.OnFull, r.config.Max.Records = "drop_oldest", 100
		r.start()
		r.journal.publish("a", "refused", 1)
		pass(time.Second)
		for i := range 20_000 {
			word := "v"
			if i%2 == 0 {
				word = "error"
			}
			r.journal.publish("a", word, 1)
		}
		pass(time.Minute)
		if n := r.owed()[0]; n > 110 {
			t.Errorf("%d owed", n)
		}
		r.stop()
		got := r.total()
		want(t, "in and unread", got.In+uint64(r.owed()[0])-got.Pending, uint64(20_001))
	})
}

// A record that is sent again comes from an old message: no policy takes it for
// the oldest.
func TestShedsNothingInjected(t *testing.T) {
	for _, policy := range []string{"drop_oldest", "keep_latest"} {
		t.Run(policy, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlug()
				sink := plugged(p)
				r := newRig(t, sink)
				r.config.OnFull, r.config.Max.Records, r.config.Max.Age = policy, 10, time.Minute
				stuffed(r, p)
				again := message.Record{Message: message.ID{Journal: 1, Epoch: 1, Offset: 1}, Rule: 1, Output: 1, Topic: "a", Value: []byte("again")}
				ended := make(chan error, 1)
				go func() {
					_, err := r.lane.Inject(t.Context(), []message.Record{again})
					ended <- err
				}()
				for _, v := range numbered(1000) {
					r.journal.publish(v, v, 1)
				}
				pass(time.Second)
				p.pull()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				pass(time.Second)
				have := sink.have()
				slices.Sort(have)
				if _, ok := slices.BinarySearch(have, "again"); !ok {
					t.Errorf("not sent again: %v", have)
				}
				want(t, "dropped", r.total().DroppedSum(), uint64(990))
				r.stop()
			})
		})
	}
}
