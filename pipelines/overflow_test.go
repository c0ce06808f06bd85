package pipelines_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
)

// from returns the values v<first> to v<last - 1>.
func from(first, last int) []string { return numbered(last)[first:] }

// stuffed is a rig whose sink holds one record in flight, so that what is
// published meanwhile waits.
func stuffed(r *rig, p *plug) {
	r.journal.clock = true
	r.start()
	r.journal.publish("plug", "plug", 1)
	pass(10 * time.Millisecond)
}

func plugged(p *plug) *shardedSink {
	sink := &shardedSink{shard: oneShard}
	sink.answer = func(_ context.Context, batch []message.Record) error {
		p.held(batch)
		return nil
	}
	return sink
}

// toldOf returns the offsets that the cursors say were dropped, by reason.
func (r *rig) toldOf(reason string) (offsets []uint64) {
	r.journal.mu.Lock()
	defer r.journal.mu.Unlock()
	for _, d := range r.journal.drops {
		for _, x := range d.Ranges {
			for o := x.First; o <= x.Last && d.Reason == reason; o++ {
				if e := r.journal.entries[o-1]; e.message != nil && slices.Contains(e.rules, 1) {
					offsets = append(offsets, o)
				}
			}
		}
	}
	slices.Sort(offsets)
	return offsets
}

// drop_oldest keeps the newest, whether the rest was read already or not; what
// is in flight is never given up.
func TestDropOldest(t *testing.T) {
	for _, n := range []int{30, 20_000} {
		for name, most := range map[string]pipelines.MaxConfig{"records": {Records: 10}, "bytes": {Bytes: 1065}} {
			t.Run(fmt.Sprint(name, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newPlug()
					sink := plugged(p)
					r := newRig(t, sink)
					r.config.OnFull, r.config.Max = "drop_oldest", most
					stuffed(r, p)
					var offsets []uint64
					for _, v := range numbered(n) {
						offsets = append(offsets, r.journal.publish("a", v, 1))
						r.journal.publish("a", "other", 2)
					}
					pass(time.Second)
					got := r.total()
					want(t, "dropped", got.Dropped, map[string]uint64{"lane_full": uint64(n - 10)})
					want(t, "pending", got.Pending, uint64(11))
					want(t, "owed", r.owed()[0], int64(11))
					want(t, "refuses", r.lane.Backlog().Full(), false)
					want(t, "told", len(r.toldOf("lane_full")), n-10)
					want(t, "told of the last", r.toldOf("lane_full")[n-11], offsets[n-11])
					p.pull()
					pass(time.Second)
					want(t, "delivered", sink.have(), append([]string{"plug"}, from(n-10, n)...))
					want(t, "owed", r.owed(), [2]int64{})
					r.stop()
					r.total()
				})
			})
		}
	}
}

// A batch whose outcome is open stays, whatever its age and the bounds.
func TestDropsNothingOfOpenOutcome(t *testing.T) {
	for _, policy := range []string{"drop_oldest", "drop_newest", "keep_latest"} {
		t.Run(policy, func(t *testing.T) {
			o := newOutage()
			sink := &shardedSink{shard: oneShard}
			sink.answer = o.answer
			run(t, sink, func(r *rig) {
				r.journal.clock = true
				r.config.OnFull, r.config.Max = policy, pipelines.MaxConfig{Records: 5, Age: time.Minute}
				r.start()
				pass(time.Second)
				r.journal.publish("a", "v0", 1)
				pass(time.Second)
				for _, v := range from(1, 1000) {
					r.journal.publish("a", v, 1)
				}
				pass(time.Hour)
				first := len(sink.calls()[0])
				o.down.Store(false)
				pass(time.Minute)
				want(t, "delivered", sink.have(), numbered(first))
				want(t, "dropped", r.total().DroppedSum(), uint64(1000-first))
				want(t, "owed", r.owed(), [2]int64{})
				r.stop()
				r.total()
			})
		})
	}
}

// drop_newest gives up what comes while the lane is full, without reading what
// is before it, and takes again what comes once there is room.
func TestDropNewest(t *testing.T) {
	for _, most := range []int{10, 12_000} { // within, and beyond what a lane reads ahead
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlug()
				sink := plugged(p)
				r := newRig(t, sink)
				r.config.OnFull, r.config.Max.Records = "drop_newest", int64(most)
				stuffed(r, p)
				list := numbered(most + 500)
				for i, v := range list {
					r.journal.publish("a", v, 1)
					if i%3 == 0 {
						r.journal.publish("a", "filter", 1)
					}
				}
				pass(time.Second)
				got := r.total()
				// The filtered ones that were kept take room too, until they are read.
				if got.Dropped["lane_full"] < 500 || r.owed()[0] > int64(most) || r.owed()[0] < int64(most)*8/10 {
					t.Errorf("owed %d, %+v", r.owed()[0], got)
				}
				want(t, "told", len(r.toldOf("lane_full")), int(got.Dropped["lane_full"]))
				p.pull()
				pass(time.Second)
				have := sink.have()[1:]
				want(t, "the oldest", have[:most/2], list[:most/2])
				want(t, "none is missing without a count", len(have)+int(got.Dropped["lane_full"]), len(list))
				r.journal.publish("a", "room", 1)
				pass(time.Second)
				want(t, "afterwards", sink.have()[len(have)+1:], []string{"room"})
				want(t, "owed", r.owed(), [2]int64{})
				after := r.total()
				want(t, "in", []uint64{after.In, after.Filtered}, []uint64{uint64(len(list)+2) + uint64((len(list)+2)/3), uint64((len(list) + 2) / 3)})
				r.stop()
				r.total()
			})
		})
	}
}

// keep_latest keeps the newest record of each topic, rule and output, however
// far behind it was published.
func TestKeepLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlug()
		sink := plugged(p)
		r := newRig(t, sink)
		r.config.OnFull, r.config.Max.Records = "keep_latest", 20
		stuffed(r, p)
		r.journal.publish("rare", "twice rare", 1)
		r.journal.publish("a", "twice old", 1)
		for i := range 50_000 {
			r.journal.publish(fmt.Sprint("t", i%10), fmt.Sprintf("v%d", i), 1)
		}
		r.journal.publish("a", "single", 1)
		pass(time.Second)
		got := r.total()
		if n := r.owed()[0]; n > 21 || got.Pending > 24 {
			t.Errorf("owed %d, %+v", n, got)
		}
		p.pull()
		pass(time.Second)
		have := sink.have()
		slices.Sort(have)
		last := from(49_990, 50_000)
		// Output 2 of topic a has no newer record than that of the first message.
		for _, v := range append(last, "plug", "single", "twice old", "twice rare", "twice rare") {
			at, ok := slices.BinarySearch(have, v)
			if !ok {
				t.Fatalf("%s is not among %v", v, have)
			}
			have = slices.Delete(have, at, at+1)
		}
		if len(have) > 10 { // those that came since the lane was last full
			t.Errorf("more than the latest: %v", have)
		}
		after := r.total()
		want(t, "reasons", len(after.Dropped), 1)
		want(t, "superseded", after.Dropped["superseded"], after.Records-after.Delivered)
		want(t, "owed", r.owed(), [2]int64{})
		r.stop()
		r.total()
	})
}

// More topics than the bound: the oldest give way.
func TestKeepLatestOfTooManyTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlug()
		sink := plugged(p)
		r := newRig(t, sink)
		r.config.OnFull, r.config.Max.Records = "keep_latest", 20
		stuffed(r, p)
		for i, v := range numbered(100) {
			r.journal.publish(fmt.Sprint("t", i), v, 1)
			pass(time.Millisecond)
		}
		want(t, "dropped", r.total().Dropped, map[string]uint64{"lane_full": 80})
		p.pull()
		pass(time.Second)
		want(t, "delivered", sink.have()[1:], from(80, 100))
		r.stop()
		r.total()
	})
}

// Records older than max.age are given up, at that moment.
func TestExpires(t *testing.T) {
	for _, policy := range []string{"drop_oldest", "drop_newest", "keep_latest"} {
		t.Run(policy, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlug()
				sink := plugged(p)
				r := newRig(t, sink)
				r.config.OnFull, r.config.Max.Age = policy, 20*time.Second
				r.config.Watchdog = time.Hour
				stuffed(r, p)
				for _, v := range numbered(30) {
					r.journal.publish(v, v, 1)
					pass(time.Second)
				}
				pass(9*time.Second + 500*time.Millisecond)
				want(t, "dropped", r.total().Dropped, map[string]uint64{"expired": 20})
				want(t, "told", len(r.toldOf("expired")), 20)
				p.pull()
				pass(time.Second)
				want(t, "delivered", sink.have()[1:], from(20, 30))
				want(t, "owed", r.owed(), [2]int64{})
				r.stop()
				r.total()
			})
		})
	}
}

// A crash in the middle of an outage: counters, bounds and what was given up
// are where the stored cursor left them.
func TestPoliciesSurviveACrash(t *testing.T) {
	for _, policy := range []string{"drop_oldest", "drop_newest", "keep_latest"} {
		t.Run(policy, func(t *testing.T) {
			o := newOutage()
			sink := &shardedSink{shard: byTopic}
			sink.answer = o.answer
			run(t, sink, func(r *rig) {
				r.journal.clock = true
				r.config.OnFull, r.config.Max.Records = policy, 300
				r.config.Batch.Records = 20
				r.start()
				for round := range 4 {
					for i := range 1500 {
						r.journal.publish(fmt.Sprint("t", i%7), fmt.Sprintf("v%d", round*1500+i), 1)
						if i%500 == 0 {
							pass(time.Second)
						}
					}
					pass(time.Second)
					before := r.total()
					if n := r.owed()[0]; n > 300+7*20+300/16 { // beside it, a batch of each shard whose outcome is open
						t.Errorf("%d owed", n)
					}
					r.crash()
					r.journal.excess = 100
					r.start()
					pass(time.Second)
					after := r.total()
					if after.DroppedSum() < before.DroppedSum()-300 || after.In > uint64(round+1)*1500 {
						t.Errorf("before %+v\nafter  %+v", before, after)
					}
				}
				o.down.Store(false)
				pass(10 * time.Minute)
				got := r.total()
				want(t, "in", []uint64{got.In, got.Records, got.Delivered + got.DroppedSum(), got.Pending}, []uint64{6000, 6000, 6000, 0})
				want(t, "delivered", len(sink.have()), int(got.Delivered))
				want(t, "owed", r.owed(), [2]int64{})
				inOrder(t, sink)
				r.stop()
				c, _ := r.journal.Cursor(7)
				want(t, "ranges", len(c.Settled), 0)
			})
		})
	}
}

// inOrder fails when records of a key came out of order, or twice.
func inOrder(t *testing.T, sink *shardedSink) {
	t.Helper()
	for key, values := range sink.gotBy {
		last := -1
		for _, v := range values {
			var n int
			if _, err := fmt.Sscanf(v, "v%d", &n); err != nil {
				t.Fatal(err)
			}
			if n <= last {
				t.Errorf("%s: %d after %d", key, n, last)
			}
			last = n
		}
	}
}

// After a restart the ranges that drop_newest settled ahead are not read again.
func TestDropNewestRangesAreInTheCursor(t *testing.T) {
	o := newOutage()
	sink := &shardedSink{shard: oneShard}
	sink.answer = o.answer
	run(t, sink, func(r *rig) {
		r.config.OnFull, r.config.Max.Records = "drop_newest", 9000
		r.start()
		for _, v := range numbered(10_000) {
			r.journal.publish("a", v, 1)
		}
		pass(time.Second)
		c, _ := r.journal.Cursor(7)
		want(t, "settled", len(c.Settled), 1)
		want(t, "first", c.Settled[0].First-c.Low, uint64(9000)+cursorsIn(r, c.Low, c.Settled[0].First))
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r.journal.excess = 2000
		r.start()
		pass(time.Second)
		want(t, "owed", r.owed()[0], int64(9000))
		o.down.Store(false)
		pass(time.Minute)
		want(t, "delivered", sink.have(), numbered(9000))
		got := r.total()
		want(t, "account", []uint64{got.In, got.Delivered, got.Dropped["lane_full"]}, []uint64{10_000, 9000, 1000})
		r.stop()
	})
}

// cursorsIn counts the entries without a message.
func cursorsIn(r *rig, first, last uint64) (n uint64) {
	r.journal.mu.Lock()
	defer r.journal.mu.Unlock()
	for _, e := range r.journal.entries[first-1 : last-1] {
		if e.message == nil {
			n++
		}
	}
	return n
}
