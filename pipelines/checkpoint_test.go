package pipelines_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
)

// countingRules number the messages of each topic, and say at each tick how
// many there were since the last one.
type countingRules struct {
	fakeRules
	state countingState
}

type countingState struct {
	Topics map[string]int
	Since  int
}

func newCountingRules(numbers ...uint32) *countingRules {
	return &countingRules{fakeRules{numbers}, countingState{Topics: map[string]int{}}}
}

func (c *countingRules) Evaluate(rule uint32, m *message.Message, out *message.Outcome) {
	c.state.Topics[m.Topic]++
	c.state.Since++
	c.fakeRules.Evaluate(rule, m, out)
	for i := range out.Records {
		out.Records[i].Value = fmt.Appendf(nil, "%s is number %d", m.Payload, c.state.Topics[m.Topic])
	}
}

func (c *countingRules) Tick(at int64, out *message.Outcome) {
	if c.state.Since > 0 {
		value := fmt.Appendf(nil, "%d by %d", c.state.Since, at)
		out.Records = append(out.Records, message.Record{Rule: c.numbers[0], Output: 3, Key: []byte("tick"), Value: value})
	}
	c.state.Since = 0
}

func (c *countingRules) Checkpoint(dst []byte) []byte {
	b, _ := json.Marshal(c.state)
	return append(dst, b...)
}

func (c *countingRules) Restore(b []byte) error {
	var s countingState
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	c.state = s
	return nil
}

// A tally is what leaves a lane, by record id.
type tally struct {
	mu   sync.Mutex
	rand *rand.Rand
	got  map[string]string
	bad  []string
	sick bool
}

func (y *tally) answer(_ context.Context, batch []message.Record) error {
	y.mu.Lock()
	sick, wait := y.sick && y.rand.IntN(3) == 0, time.Duration(y.rand.IntN(200))*time.Millisecond
	y.mu.Unlock()
	<-time.After(wait)
	y.mu.Lock()
	defer y.mu.Unlock()
	for i := range batch {
		id, value := string(batch[i].AppendID(nil)), string(batch[i].Value)
		if before, ok := y.got[id]; ok && before != value {
			y.bad = append(y.bad, fmt.Sprintf("record %s: %q, then %q", id, before, value))
		}
		y.got[id] = value
	}
	if sick { // though all arrived: it comes again
		return &bridges.Retry{Err: errors.New("busy")}
	}
	return nil
}

// A stateHistory is a random life of a lane whose rules remember, beside rules
// that never die.
type stateHistory struct {
	*rapid.T
	rig   *rig
	tally *tally
	rand  *rand.Rand
	alive *countingRules
	due   map[string]string
	n     int
}

func (h *stateHistory) expect(out *message.Outcome, id message.ID) {
	for _, r := range out.Records {
		if r.Message == (message.ID{}) {
			r.Message = id
		}
		h.due[string(r.AppendID(nil))] = string(r.Value)
	}
}

func (h *stateHistory) publish(n int) {
	for range n {
		h.n++
		var out message.Outcome
		if h.rand.IntN(20) == 0 {
			at := int64(h.n)
			h.rig.journal.tick(at, func(id message.ID) {
				h.alive.Tick(at, &out)
				h.expect(&out, id)
			})
			continue
		}
		word := []string{"ok", "ok", "twice", "filter"}[h.rand.IntN(4)]
		topic := fmt.Sprintf("t%d", h.rand.IntN(4))
		h.rig.journal.publishSeen(topic, fmt.Sprint(word, " ", h.n), func(m *message.Message) {
			h.alive.Evaluate(1, m, &out)
			h.expect(&out, m.ID)
		}, 1)
	}
}

// crash keeps a part of what the lane appended last.
func (h *stateHistory) crash() {
	j := h.rig.journal
	j.hold(true)
	h.rig.cancel()
	_ = h.rig.end()
	h.rig.total()
	kept := j.stored + uint64(h.rand.IntN(len(j.entries)-int(j.stored)+1))
	j.lose(kept)
	j.hold(false)
	h.rig.start()
}

func (h *stateHistory) step() {
	switch rapid.IntRange(0, 5).Draw(h.T, "step") {
	case 0, 1:
		h.crash()
	case 2:
		if err := h.rig.stop(); err != nil {
			h.Fatal(err)
		}
		h.rig.start()
	case 3:
		if err := h.rig.lane.Update(h.rig.t.Context(), h.rig.present()); err != nil {
			h.Fatal(err)
		}
	default:
		h.publish(rapid.IntRange(1, 200).Draw(h.T, "n"))
	}
	pass(time.Duration(rapid.IntRange(0, 15_000).Draw(h.T, "ms")) * time.Millisecond)
}

func (h *stateHistory) finish() {
	h.tally.mu.Lock()
	h.tally.sick = false
	h.tally.mu.Unlock()
	pass(time.Hour)
	if err := h.rig.stop(); err != nil {
		h.Fatal(err)
	}
	if p := h.rig.total().Pending; p > 0 {
		h.Fatalf("%d records are pending", p)
	}
	if len(h.tally.bad) > 0 {
		h.Fatal(strings.Join(h.tally.bad, "\n"))
	}
	for id, value := range h.due {
		if got, ok := h.tally.got[id]; got != value {
			h.Fatalf("record %s is %q (%v), without a crash it is %q", id, got, ok, value)
		}
	}
	if len(h.due) != len(h.tally.got) {
		h.Fatalf("%d records left, %d are due", len(h.tally.got), len(h.due))
	}
}

// C21: wherever the process ends, the records that leave are those that leave
// without.
func TestStateSurvivesCrashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) {
			random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 3))
			h := &stateHistory{T: rt, rand: random, alive: newCountingRules(1), due: map[string]string{}}
			h.tally = &tally{rand: rand.New(rand.NewPCG(random.Uint64(), 4)), got: map[string]string{}, sick: true}
			h.rig = newRig(t, &fakeSink{answer: h.tally.answer})
			defer h.rig.dead.Close()
			h.rig.make = func() pipelines.Evaluator { return newCountingRules(1) }
			h.rig.config.Batch.Records = rapid.SampledFrom([]int{1, 5, 1000}).Draw(rt, "records")
			h.rig.start()
			for range rapid.IntRange(1, 12).Draw(rt, "steps") {
				h.step()
			}
			h.finish()
		})
	})
}

// What a rule did not see the first time, it does not see again: the process
// ends after the cursor has passed the moment at which the rule came, and before
// the state of that moment is kept.
func TestStateOfARuleThatCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{}
		sink := &fakeSink{answer: g.answer}
		r := newRig(t, sink)
		numbers := []uint32{1}
		r.make = func() pipelines.Evaluator { return newCountingRules(numbers...) }
		r.start()
		r.journal.publish("a", "ok 1", 1, 2)
		pass(time.Second)
		numbers = []uint32{1, 2}
		if err := r.lane.Update(t.Context(), r.present()); err != nil {
			t.Fatal(err)
		}
		last := r.journal.publish("a", "ok 2", 1, 2)
		pass(time.Second)
		g.open.Store(true)
		pass(time.Second)
		r.journal.hold(true)
		r.stop()
		r.total()
		at := r.journal.saves[1] // the first is of the beginning
		r.journal.lose(at.offset - 1)
		if c, _ := r.journal.Cursor(7); c.Low <= at.needs || c.Low > last {
			t.Fatalf("the test's own aim: %+v", c)
		}
		r.journal.hold(false)
		r.start()
		r.journal.publish("a", "ok 3", 1, 2)
		pass(time.Second)
		r.stop()
		r.total()
		want(t, "delivered", sink.have(), []string{
			"ok 1 is number 1", "ok 2 is number 2", "ok 2 is number 3", // then the power fails
			"ok 2 is number 2", "ok 2 is number 3", "ok 3 is number 4", "ok 3 is number 5",
		})
	})
}

// After an orderly stop nothing is evaluated again; what only the rules of old
// remembered is removed with them.
func TestStateOfAnOrderlyStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &fakeSink{}
		r := newRig(t, sink)
		r.make = func() pipelines.Evaluator { return newCountingRules(1) }
		for range 3 {
			r.start()
			r.journal.publish("a", "ok", 1)
			pass(time.Second)
			r.stop()
			r.total()
		}
		want(t, "delivered", sink.have(), []string{"ok is number 1", "ok is number 2", "ok is number 3"})
		want(t, "decoded", r.journal.decoded, 3)
		r.make = nil
		r.start()
		pass(time.Second)
		r.stop()
		if body, ok := r.journal.Load("state", "plant"); ok {
			t.Errorf("kept without a rule that wants it: %q", body)
		}
		r.total()
	})
}

// A state that cannot be read does not keep the lane from starting (I4).
func TestUnreadableStateBeginsAnew(t *testing.T) {
	for _, body := range []string{"", "\x07", "\x01", "\x01\x01not json", "\x01\xff\x01{}"} {
		sink := &fakeSink{}
		run(t, sink, func(r *rig) {
			r.build()
			if _, err := r.journal.Save("state", "plant", 0, []byte(body)); err != nil {
				t.Fatal(err)
			}
			r.make = func() pipelines.Evaluator { return newCountingRules(1) }
			r.start()
			r.journal.publish("a", "ok", 1)
			pass(time.Second)
			want(t, "delivered", sink.have(), []string{"ok is number 1"})
			r.stop()
			r.total()
			if !strings.Contains(r.log.String(), "begins anew") {
				t.Errorf("%q: %s", body, r.log.String())
			}
		})
	}
}
