package pipelines_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
	"github.com/penstock/penstock/pipelines/deadletter"
)

// outside makes records that no message of the journal stands for.
func outside(values ...string) []message.Record {
	var list []message.Record
	for i, v := range values {
		m := message.Message{ID: message.ID{Journal: 9, Epoch: 1, Offset: uint64(i + 1)}, Payload: []byte(v)}
		list = append(list, fakeRecord(1, 1, &m, "outside"))
	}
	return list
}

func fates(list []pipelines.Injected) []deadletter.Fate {
	var f []deadletter.Fate
	for _, o := range list {
		f = append(f, o.Fate)
	}
	return f
}

// Records that are injected go where all others go, and count nowhere.
func TestInject(t *testing.T) {
	poison := func(_ context.Context, batch []message.Record) error {
		<-time.After(time.Millisecond)
		if slices.ContainsFunc(batch, func(r message.Record) bool { return r.Value[0] == 'x' }) {
			return &bridges.Reject{Err: errors.New("no")}
		}
		return nil
	}
	for name, sink := range map[string]bridges.Sink{
		"hashed":  &fakeSink{answer: poison},
		"sharded": &shardedSink{fakeSink: fakeSink{answer: poison}, shard: oneShard},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, sink, func(r *rig) {
				r.start()
				for i := range 50 {
					r.journal.publish("a", fmt.Sprint("v", i), 1)
				}
				got, err := r.lane.Inject(r.t.Context(), outside("r0", "x1", "r2"))
				want(t, "err", err, nil)
				want(t, "fates", fates(got), []deadletter.Fate{deadletter.Delivered, deadletter.Rejected, deadletter.Delivered})
				want(t, "reason", []string{got[1].Reason, got[1].Err.Error()}, []string{"rejected", "no"})
				if got[1].Attempts == 0 || len(got[1].History) != min(10, got[1].Attempts) {
					t.Errorf("%+v", got[1])
				}
				pass(time.Second)
				want(t, "order", r.order("outside"), []string{"r0", "r2"})
				want(t, "others", r.order("a"), numbered(50))
				a := r.total()
				want(t, "account", []uint64{a.In, a.Records, a.Delivered, a.DeadLettered}, []uint64{50, 50, 50, 0})
				want(t, "letters", len(letters(t, r.path)), 0)
				r.stop()
				want(t, "in the cursor", r.total().Delivered, uint64(50))
			})
		})
	}
}

// Who gives up waiting gets cancelled records: what was never handed to a Write
// is not written any more, what was is written until its outcome is known.
func TestInjectIsCancelled(t *testing.T) {
	var release chan struct{}
	sink := &shardedSink{shard: func(r *message.Record) (uint32, uint32, uint32) { return 0, uint32(r.Value[0]), 0 }}
	sink.answer = func(context.Context, []message.Record) error {
		<-release
		return nil
	}
	run(t, sink, func(r *rig) {
		r.config.InFlight = 1
		release = make(chan struct{})
		r.start()
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
		defer cancel()
		got, err := r.lane.Inject(ctx, outside("a tried", "b never", "c never"))
		want(t, "err", errors.Is(err, context.DeadlineExceeded), true)
		want(t, "fates", fates(got), []deadletter.Fate{deadletter.Cancelled, deadletter.Cancelled, deadletter.Cancelled})
		tried := sink.calls()[0]
		close(release)
		pass(time.Minute)
		want(t, "written", sink.have(), tried)
		// The lane is as good as new.
		got, err = r.lane.Inject(r.t.Context(), outside("d"))
		want(t, "again", []any{fates(got)[0], err}, []any{deadletter.Delivered, nil})
		r.journal.publish("a", "e", 1)
		pass(time.Second)
		want(t, "others", r.order("a"), []string{"e"})
		r.stop()
		got, err = r.lane.Inject(r.t.Context(), outside("f"))
		want(t, "ended", []any{fates(got)[0], errors.Is(err, pipelines.ErrEnded)}, []any{deadletter.Cancelled, true})
	})
}

// A lane that stops leaves what it did not write cancelled.
func TestInjectIntoALaneThatStops(t *testing.T) {
	sink := &fakeSink{answer: func(context.Context, []message.Record) error {
		return &bridges.Unavailable{Err: errors.New("down")}
	}}
	run(t, sink, func(r *rig) {
		r.start()
		done := make(chan error, 1)
		go func() {
			got, err := r.lane.Inject(context.Background(), outside(slices.Repeat([]string{"v"}, 10_000)...))
			if len(got) != 10_000 || got[0].Fate != deadletter.Cancelled || got[9999].Fate != deadletter.Cancelled {
				t.Errorf("%d outcomes", len(got))
			}
			done <- err
		}()
		pass(time.Minute)
		r.stop()
		want(t, "ended", errors.Is(<-done, pipelines.ErrEnded), true)
	})
}

// The lane holds a few thousand records of those who inject, not more.
func TestInjectIsBounded(t *testing.T) {
	var release chan struct{}
	var mu sync.Mutex
	most := 0
	sink := &shardedSink{shard: oneShard}
	sink.answer = func(_ context.Context, batch []message.Record) error {
		<-release
		mu.Lock()
		defer mu.Unlock()
		most = max(most, len(batch))
		return nil
	}
	run(t, sink, func(r *rig) {
		r.config.Batch.Records = 10_000
		release = make(chan struct{})
		r.start()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				got, err := r.lane.Inject(context.Background(), outside(slices.Repeat([]string{"v"}, 5000)...))
				if err != nil || got[4999].Fate != deadletter.Delivered {
					t.Error(err)
				}
			})
		}
		pass(time.Minute)
		close(release)
		wg.Wait()
		if most > 4096 {
			t.Errorf("a batch of %d records", most)
		}
		want(t, "written", len(sink.have()), 15_000)
		r.stop()
	})
}

// A lane that is blocked by full dead letters still takes what is injected:
// redriving is how room is made.
func TestRedriveMakesRoom(t *testing.T) {
	broken := true
	sink := &shardedSink{shard: oneShard}
	sink.answer = func(_ context.Context, batch []message.Record) error {
		if broken && slices.ContainsFunc(batch, func(r message.Record) bool { return r.Value[0] == 'x' }) {
			return &bridges.Reject{Err: errors.New("no")}
		}
		return nil
	}
	run(t, sink, func(r *rig) {
		r.openDead(8 << 10)
		r.start()
		var all []string
		for i := range 30 {
			all = append(all, fmt.Sprintf("x%02d", i)+strings.Repeat("y", 500))
			r.journal.publish("a", all[i], 1)
		}
		pass(time.Minute)
		if n := r.dead.Stats().Refused.Letters; n == 0 || n == 30 || len(sink.have()) > 0 {
			t.Fatalf("%d letters, %d written", n, len(sink.have()))
		}
		broken = false
		evaluate := func(l deadletter.Letter) ([]message.Record, error) {
			m, err := l.Message()
			return []message.Record{fakeRecord(l.RuleNumber, l.Output, &m, m.Topic)}, err
		}
		inject := func(ctx context.Context, sink string, records []message.Record) ([]deadletter.Outcome, error) {
			want(t, "sink", sink, "plant")
			return r.lane.Inject(ctx, records)
		}
		for range 10 { // the letters of one redrive make room for the next
			if _, err := deadletter.Redrive(r.t.Context(), r.dead, deadletter.Filter{}, evaluate, inject); err != nil {
				t.Fatal(err)
			}
			pass(2 * time.Second)
		}
		got := sink.have()
		slices.Sort(got)
		want(t, "delivered", got, all)
		want(t, "letters", len(letters(t, r.path)), 0)
		a := r.total()
		want(t, "account", []uint64{a.In, a.Delivered + a.DeadLettered, a.Pending}, []uint64{30, 30, 0})
		r.stop()
	})
}

// Whoever injects, whoever gives up and whatever fails: outcomes are true and
// the account balances.
func TestInjectBesideEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newModelSink(7, t.Errorf)
		r := newRig(t, modelSharder{sink})
		defer r.dead.Close()
		r.config.InFlight, r.config.Batch.Records = 3, 20
		h := &countingSink{modelSharder: modelSharder{sink}, got: map[string]int{}}
		r.sink = h
		r.start()
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+i)*5*time.Second)
				defer cancel()
				list := outside(slices.Repeat([]string{"v"}, 100)...)
				for k := range list {
					list[k].Key = fmt.Append(nil, "inject", i, k%7)
					list[k].Message = message.ID{Journal: 9, Epoch: uint32(i), Offset: uint64(k)}
					sink.expect(list[k])
				}
				got, _ := r.lane.Inject(ctx, list)
				h.mu.Lock()
				defer h.mu.Unlock()
				for k, o := range got {
					if id := string(list[k].AppendID(nil)); o.Fate == deadletter.Delivered && h.got[id] == 0 {
						t.Errorf("%s is said to be delivered", id)
					}
				}
			})
		}
		in := uint64(0)
		for range 20 {
			for range 50 {
				in++
				r.journal.publishSeen("t", fmt.Sprint("ok ", in), func(m *message.Message) { sink.expect(fakeRecord(1, 1, m, "t")) }, 1)
			}
			pass(5 * time.Second)
		}
		wg.Wait()
		sink.mu.Lock()
		sink.healthy, sink.down = true, time.Time{}
		sink.mu.Unlock()
		pass(time.Minute)
		a := r.total()
		want(t, "account", []uint64{a.In, a.Delivered + a.DeadLettered, a.Pending}, []uint64{in, in, 0})
		r.stop()
	})
}

// A countingSink counts what its destination has, by record id.
type countingSink struct {
	modelSharder
	mu  sync.Mutex
	got map[string]int
}

func (s *countingSink) Write(ctx context.Context, batch []message.Record) error {
	err := s.modelSharder.Write(ctx, batch)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range batch {
		id := string(batch[i].AppendID(nil))
		s.modelSink.mu.Lock()
		s.got[id] = s.written[id]
		s.modelSink.mu.Unlock()
	}
	return err
}
