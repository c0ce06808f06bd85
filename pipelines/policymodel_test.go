package pipelines_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
)

// A moodySink is a modelSink some of whose writes end only with its connection,
// so that the watchdog must make a new one.
type moodySink struct {
	*modelSink
	turn   sync.Mutex
	closed chan struct{}
}

func (s *moodySink) Open(context.Context) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.closed = make(chan struct{})
	return nil
}

func (s *moodySink) Close(context.Context) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	close(s.closed)
	return nil
}

func (s *moodySink) Write(ctx context.Context, batch []message.Record) error {
	s.mu.Lock()
	moody := !s.healthy && s.rand.IntN(20) == 0
	s.mu.Unlock()
	if !moody {
		return s.modelSink.Write(ctx, batch)
	}
	s.turn.Lock()
	closed := s.closed
	s.turn.Unlock()
	s.begin(batch)
	select {
	case <-closed:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range batch {
		delete(s.busy, string(batch[i].Key))
	}
	s.some(batch)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &bridges.Fatal{Err: errors.New("the connection is closed")}
}

// settledOnce asserts I2 and I6 for a lane that may give records up: what never
// came is counted as dropped, with a reason, and a cursor told of it.
func (h *history) settledOnce(t *testing.T) {
	t.Helper()
	a := h.rig.lane.Account()
	got := a.Total()
	if one := a.Rules[slices.IndexFunc(a.Rules, func(r pipelines.RuleAccount) bool { return r.Rule == 1 })]; one.In != h.in || got.Pending != 0 {
		h.Fatalf("published %d messages, account: %+v", h.in, a)
	}
	if len(h.told.last) != h.n {
		h.Fatalf("%d of %d publishers were told what became of their message", len(h.told.last), h.n)
	}
	told := map[uint64]bool{}
	for _, d := range h.rig.journal.drops {
		for _, x := range d.Ranges {
			for o := x.First; o <= x.Last; o++ {
				told[o] = true
			}
		}
	}
	var lost uint64
	for _, k := range h.sink.keys {
		for at, id := range k.ids {
			if k.settled[at] {
				continue
			}
			if lost++; !told[h.sink.offset[id]] {
				h.Fatalf("record %s never came, and no cursor tells why", id)
			}
		}
	}
	if given := got.Dropped["lane_full"] + got.Dropped["superseded"] + got.Dropped["expired"]; lost > given {
		h.Fatalf("%d records never came, %d are counted: %+v", lost, given, got)
	}
	for _, d := range letters(t, h.rig.path) {
		if d.Rule == "rule-1" && h.wants[*d.Record.Payload] == 0 {
			h.Fatalf("%q is in the dead letters", *d.Record.Payload)
		}
	}
	if owed := h.rig.owed(); owed != [2]int64{} {
		h.Fatalf("all is settled, and %v is owed", owed)
	}
}

// within asserts that the lane is owed no more than its bound, beside what it
// may not give up: a batch of each shard, and what is on its way to the letters.
func (h *history) within() {
	c := &h.rig.config
	most := c.Max.Records
	switch c.OnFull {
	case "drop_oldest":
		most += int64(4*c.InFlight*c.Batch.Records) + int64(len(h.wants))
	case "keep_latest":
		most += int64(4*c.InFlight*c.Batch.Records) + int64(len(h.wants)) + most/16 + 1
	case "drop_newest":
	default:
		return
	}
	if n := h.rig.owed()[0]; n > most {
		h.Fatalf("%d messages are owed, with %s of %d", n, c.OnFull, c.Max.Records)
	}
}

func (h *history) step() {
	switch rapid.IntRange(0, 8).Draw(h.T, "step") {
	case 0:
		h.crash()
	case 1:
		h.restart()
	case 2:
		h.rig.lane.Pause()
	case 3:
		h.rig.lane.Resume()
	case 4:
		h.update()
	default:
		h.publish(rapid.IntRange(1, 300).Draw(h.T, "n"))
	}
	h.pass()
	h.within()
}

// A lane with any policy, with a destination that fails in every way, crashes,
// restarts and pauses.
func TestPolicyModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) {
			h := &history{T: rt, wants: map[string]int{}, second: true}
			seed := rapid.Uint64().Draw(rt, "seed")
			h.rand = rand.New(rand.NewPCG(seed, 3))
			h.sink = newModelSink(seed, rt.Errorf)
			h.rig = newRig(t, &moodySink{modelSink: h.sink})
			defer h.rig.dead.Close()
			h.told = &modelConfirmations{
				sink: h.sink, last: map[uint64]bool{}, life: map[uint64]struct{}{}, word: map[uint64]string{},
			}
			h.rig.rules, h.rig.receipts = []uint32{1, 2}, h.told
			if rapid.Bool().Draw(rt, "together") {
				h.rig.before = (*pipelines.Lane).Together
			}
			h.rig.config = pipelines.DeliveryConfig{
				InFlight:  rapid.IntRange(1, 3).Draw(rt, "in flight"),
				Batch:     pipelines.BatchConfig{Records: rapid.SampledFrom([]int{1, 3, 20}).Draw(rt, "records")},
				OnFull:    rapid.SampledFrom([]string{"block", "drop_oldest", "drop_newest", "keep_latest"}).Draw(rt, "policy"),
				Max:       pipelines.MaxConfig{Records: rapid.Int64Range(1, 200).Draw(rt, "max")},
				Watchdog:  time.Second,
				DrainRate: rapid.SampledFrom([]int{0, 0, 1000}).Draw(rt, "drain rate"),
			}
			h.sink.lossy = h.rig.config.OnFull != "block"
			h.sink.latest = h.rig.config.OnFull == "keep_latest" // C19: it leaves I3 by design
			if h.sink.lossy && rapid.Bool().Draw(rt, "ages") {
				h.rig.config.Max.Age = rapid.SampledFrom([]time.Duration{100 * time.Millisecond, 5 * time.Second}).Draw(rt, "age")
			}
			h.rig.journal.clock = true
			h.rig.journal.excess = rapid.Int64Range(0, 50).Draw(rt, "excess")
			h.rig.start()
			for range rapid.IntRange(1, 12).Draw(rt, "steps") {
				h.step()
			}
			h.heal()
			h.settledOnce(t)
		})
	})
}

// heal lets the destination work, and waits until the lane has come to its end.
func (h *history) heal() {
	h.sink.mu.Lock()
	h.sink.healthy, h.sink.down = true, time.Time{}
	h.sink.mu.Unlock()
	h.rig.lane.Resume()
	for range 200 {
		if pass(10 * time.Second); h.rig.lane.Account().Total().Pending == 0 && h.rig.owed() == [2]int64{} {
			break
		}
	}
	if err := h.rig.stop(); err != nil {
		h.Fatal(err)
	}
	h.check()
	if s := h.rig.lane.Status(); s.State != pipelines.Stopped {
		h.Fatalf("%+v", s)
	}
}
