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

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// stuck refuses a topic for ever, with Retry.
func stuck(topic string) func(context.Context, []message.Record) error {
	return func(_ context.Context, batch []message.Record) error {
		if batch[0].Topic == topic {
			return &bridges.Retry{Err: errors.New("stuck")}
		}
		return nil
	}
}

// The cursor tells settled messages above a stuck one apart; after a crash only
// the stuck ones come again, and the figures count nothing twice (C22).
func TestCursorAboveAStuckKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &shardedSink{shard: byTopic}
		sink.answer = stuck("bad")
		r := newRig(t, sink)
		r.start()
		low := uint64(1000)
		for i := range 100 {
			r.journal.publish("good", fmt.Sprintf("v%d", i), 1)
			if i%10 == 5 {
				low = min(low, r.journal.publish("bad", fmt.Sprintf("v%d", i/10), 1))
				r.journal.publish("good", "filter", 1)
			}
		}
		pass(time.Second)
		c, _ := r.journal.Cursor(7)
		if len(c.Settled) != 10 || c.Low != low {
			t.Errorf("cursor: %+v", c)
		}
		before := r.total()
		want(t, "before", []uint64{before.In, before.Filtered, before.Delivered, before.Pending}, []uint64{120, 10, 100, 10})
		// A crash: nobody stores anything more.
		r.journal.hold(true)
		r.stop()
		crashed := r.journal
		crashed.entries = crashed.entries[:crashed.stored]
		crashed.hold(false)

		again := &shardedSink{shard: byTopic}
		r.sink = again
		r.start()
		pass(10 * time.Second)
		want(t, "delivered again", again.have(), numbered(10))
		got := r.total()
		want(t, "after", []uint64{got.In, got.Filtered, got.Delivered, got.Pending}, []uint64{120, 10, 110, 0})
		r.stop()
		c, _ = r.journal.Cursor(7)
		want(t, "ranges", len(c.Settled), 0)
	})
}

// Ranges that were not read again yet stay in the cursors stored meanwhile.
func TestRecoveredRangesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		sink := &fakeSink{}
		sink.answer = func(context.Context, []message.Record) error {
			if !up.Load() {
				return &bridges.Unavailable{Err: errors.New("down")}
			}
			return nil
		}
		r := newRig(t, sink)
		r.config.Batch.Records = 2 // so that the lane reads little ahead
		r.config.InFlight = 1
		r.build()
		for i := range 1000 {
			r.journal.publish("a", fmt.Sprint(i), 1)
		}
		last := r.journal.publish("a", "settled", 1)
		ranges := []journal.Range{{First: 800, Last: 900}, {First: last, Last: last}}
		if _, err := r.journal.StoreCursor(7, journal.Cursor{Low: 2, Settled: ranges}); err != nil {
			t.Fatal(err)
		}
		before := len(r.journal.cursors[7])
		r.start()
		pass(time.Minute)
		c, _ := r.journal.Cursor(7)
		if len(r.journal.cursors[7]) == before {
			t.Error("no cursor was stored")
		}
		want(t, "ranges", c.Settled, ranges)
		r.stop()
		up.Store(true)
		r.start() // from the cursor stored meanwhile
		pass(time.Minute)
		want(t, "delivered", len(sink.have()), 1000-101)
		if slices.Contains(sink.have(), "settled") {
			t.Error("a settled message came again")
		}
		r.stop()
	})
}

// C15: at most 16,384 records are settled or in flight beyond the last stored
// cursor entry.
func TestWaitsForItsCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &fakeSink{}
		r := newRig(t, sink)
		r.build()
		for i := range 40000 {
			r.journal.publish(fmt.Sprint(i%100), "v", 1)
		}
		r.journal.hold(true) // of cursors, none is stored from now on
		r.start()
		pass(time.Minute)
		if n := len(sink.have()); n > 16384 || n < 15384 {
			t.Errorf("%d records without a stored cursor", n)
		}
		r.journal.hold(false)
		pass(time.Minute)
		want(t, "delivered", len(sink.have()), 40000)
		r.stop()
		r.total()
	})
}

// Messages of two records, one of which waits: no cursor can cover them, and
// the lane must not wait for one that will.
func TestHalfSettledMessagesDoNotStopTheLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var release atomic.Bool
		sink := &shardedSink{shard: byTopicOutput}
		sink.answer = func(_ context.Context, batch []message.Record) error {
			if batch[0].Output == 2 && !release.Load() {
				<-time.After(time.Second) // stalled, not failing
			}
			return nil
		}
		r := newRig(t, sink)
		r.start()
		for range 60000 {
			r.journal.publish("a", "twice", 1)
		}
		pass(10 * time.Minute)
		want(t, "delivered", len(sink.have()), 120000)
		r.stop()
		r.total()
	})
}

func byTopicOutput(r *message.Record) (group, shard, gen uint32) { return 1, r.Output, 0 }

// A stuck key stops the lane once 65,536 messages wait, not before, and other
// keys go on until then.
func TestStuckKeyBoundsWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &shardedSink{shard: byTopic}
		sink.answer = stuck("bad")
		r := newRig(t, sink)
		r.start()
		for i := range 80000 {
			r.journal.publish("bad", "v", 1)
			if i%10 == 0 {
				r.journal.publish("good", "g", 1)
			}
		}
		pass(time.Minute)
		got := r.total()
		if got.Pending != 65536 {
			t.Errorf("%d records held", got.Pending)
		}
		if n := len(r.order("good")); n < 6500 || n > 6700 {
			t.Errorf("%d records of another key", n)
		}
		c, _ := r.journal.Cursor(7)
		if len(c.Settled) == 0 || len(c.Settled) > 65536 {
			t.Errorf("%d ranges", len(c.Settled))
		}
		r.stop()
	})
}

// Records of a new mapping wait until those of the old one are settled, and
// everything behind them too (C18).
func TestNewMappingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gen atomic.Uint32
		release := make(chan struct{})
		sink := &shardedSink{}
		sink.shard = func(r *message.Record) (uint32, uint32, uint32) {
			g := gen.Load()
			if strings.HasPrefix(r.Topic, "other") {
				return 2, 0, 0
			}
			return 1, uint32(r.Order) % (g + 1), g
		}
		sink.answer = func(_ context.Context, batch []message.Record) error {
			if string(batch[0].Value) == "v0" {
				<-release
			}
			return nil
		}
		r := newRig(t, sink)
		r.start()
		r.journal.publish("a", "v0", 1)
		r.journal.publish("b", "v0 of b", 1)
		synctest.Wait()
		gen.Store(3)
		for i := 1; i < 10; i++ {
			r.journal.publish("a", fmt.Sprintf("v%d", i), 1)
			r.journal.publish("b", fmt.Sprintf("v%d", i), 1)
			if i == 5 {
				synctest.Wait()
				gen.Store(4)
			}
		}
		r.journal.publish("other", "free", 1)
		pass(time.Minute)
		want(t, "while the old mapping is in use", sink.have(), []string{"free"})
		close(release)
		pass(time.Minute)
		want(t, "a", r.order("a"), numbered(10))
		want(t, "b", r.order("b")[1:], numbered(10)[1:])
		r.stop()
		r.total()
	})
}

// The journal says when it cannot be read for a moment.
func TestReadErrorIsRetried(t *testing.T) {
	sink := &fakeSink{}
	run(t, sink, func(r *rig) {
		r.journal.readErr = errors.New("too many open files")
		r.start()
		r.journal.publish("a", "v0", 1)
		pass(10 * time.Second)
		r.journal.mu.Lock()
		r.journal.readErr = nil
		r.journal.mu.Unlock()
		pass(2 * time.Second)
		want(t, "delivered", sink.have(), []string{"v0"})
		if n := strings.Count(r.log.String(), "too many open files"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, r.log.String())
		}
		r.journal.mu.Lock()
		r.journal.readErr = journal.ErrClosed
		r.journal.mu.Unlock()
		r.journal.publish("a", "v1", 1)
		if err := r.end(); !errors.Is(err, journal.ErrClosed) {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestCursorErrorIsRetried(t *testing.T) {
	sink := &fakeSink{}
	run(t, sink, func(r *rig) {
		r.start()
		synctest.Wait()
		r.journal.mu.Lock()
		r.journal.fail = errors.New("no space left")
		r.journal.mu.Unlock()
		r.journal.publish("a", "v0", 1)
		pass(time.Minute)
		r.journal.mu.Lock()
		r.journal.fail = nil
		r.journal.mu.Unlock()
		pass(time.Second)
		c, _ := r.journal.Cursor(7)
		want(t, "low", c.Low, uint64(3))
		if n := strings.Count(r.log.String(), "no space left"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, r.log.String())
		}
		r.stop()
	})
}

// What a cursor holds of a newer format does not keep a lane from starting.
func TestUnknownCountersBeginAtZero(t *testing.T) {
	sink := &fakeSink{}
	run(t, sink, func(r *rig) {
		r.build()
		if _, err := r.journal.StoreCursor(7, journal.Cursor{Low: 1, Counters: []byte{99, 1, 2}}); err != nil {
			t.Fatal(err)
		}
		r.start()
		r.journal.publish("a", "v0", 1)
		pass(time.Second)
		want(t, "delivered", r.total().Delivered, uint64(1))
		r.stop()
		if !strings.Contains(r.log.String(), "they begin at zero") {
			t.Error(r.log.String())
		}
	})
}
