package pipelines_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
)

// orderRules give a record the order that its topic says, whatever its key.
type orderRules struct{ fakeRules }

func (orderRules) Evaluate(rule uint32, m *message.Message, out *message.Outcome) {
	r := fakeRecord(rule, 1, m, string(m.Payload))
	if _, err := fmt.Sscan(m.Topic, &r.Order); err != nil {
		panic(err)
	}
	out.Records = append(out.Records, r)
}

func orderedRig(t *testing.T, sink bridges.Sink) *rig {
	t.Helper()
	r := newRig(t, sink)
	r.make = func() pipelines.Evaluator { return orderRules{fakeRules{[]uint32{1}}} }
	r.config.Batch.Records = 3
	return r
}

// Without a Sharder, records of one order reach the sink one batch at a time,
// in the order of the journal, through failures (I3).
func TestOrderOfRecordsDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		var mu sync.Mutex
		busy, last := map[uint64]bool{}, map[uint64]uint64{}
		sink := &fakeSink{}
		sink.answer = func(_ context.Context, batch []message.Record) error {
			mu.Lock()
			fail, wait := random.IntN(4) == 0, time.Duration(random.IntN(20))*time.Millisecond
			orders := map[uint64]bool{}
			for i := range batch {
				orders[batch[i].Order] = true
			}
			for o := range orders {
				if busy[o] {
					t.Errorf("order %d is written twice at a time", o)
				}
				busy[o] = true
			}
			mu.Unlock()
			<-time.After(wait)
			mu.Lock()
			defer mu.Unlock()
			for o := range orders {
				busy[o] = false
			}
			if fail {
				return &bridges.Retry{After: time.Millisecond, Err: errors.New("busy")}
			}
			for i := range batch {
				if o := batch[i].Order; batch[i].Message.Offset < last[o] {
					t.Errorf("order %d: offset %d after %d", o, batch[i].Message.Offset, last[o])
				}
				last[batch[i].Order] = batch[i].Message.Offset
			}
			return nil
		}
		r := orderedRig(t, sink)
		r.start()
		topics := rand.New(rand.NewPCG(3, 4))
		for i := range 2000 {
			r.journal.publish(fmt.Sprint(topics.Uint64()%13<<60|uint64(i%13)), fmt.Sprint("key ", i), 1)
		}
		pass(time.Hour)
		want(t, "delivered", r.total().Delivered, uint64(2000))
		if sink.peak() < 2 {
			t.Error("different orders waited for one another")
		}
		r.stop()
	})
}

// With a Sharder the shard decides: equal orders in different shards don't wait
// for one another, different orders in one shard do.
func TestShardDecidesAboutOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		sink := &shardedSink{shard: func(r *message.Record) (group, shard, gen uint32) {
			if string(r.Value) == "aside" {
				return 1, 2, 0
			}
			return 1, 1, 0
		}}
		sink.answer = func(_ context.Context, batch []message.Record) error {
			if string(batch[0].Value) == "first" {
				<-release
			}
			return nil
		}
		r := orderedRig(t, sink)
		r.start()
		r.journal.publish("1", "first", 1)
		synctest.Wait()
		r.journal.publish("1", "aside", 1)
		r.journal.publish("2", "behind", 1)
		pass(time.Second)
		want(t, "while the first is written", sink.have(), []string{"aside"})
		close(release)
		pass(time.Second)
		want(t, "then", sink.have(), []string{"aside", "first", "behind"})
		r.stop()
	})
}
