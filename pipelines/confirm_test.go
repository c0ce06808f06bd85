package pipelines_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
)

// fakeConfirmations expects the rules it names, and keeps what it is told.
type fakeConfirmations struct {
	rules []uint32
	mu    sync.Mutex
	told  map[string][]bool // by offset and rule
}

func (c *fakeConfirmations) Expects(rule uint32) bool { return slices.Contains(c.rules, rule) }

func (c *fakeConfirmations) Settle(offset uint64, rule, lane uint32, delivered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told == nil {
		c.told = map[string][]bool{}
	}
	key := fmt.Sprintf("%d by %d for %d", offset, rule, lane)
	c.told[key] = append(c.told[key], delivered)
}

func (c *fakeConfirmations) of(offset uint64, rule uint32) []bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told[fmt.Sprintf("%d by %d for 7", offset, rule)]
}

// poisonSink refuses records whose value begins with x, and optional ones of
// "optional x".
func poisonSink(g *gate) *fakeSink {
	return &fakeSink{answer: func(ctx context.Context, batch []message.Record) error {
		if err := g.answer(ctx, batch); err != nil {
			return err
		}
		failed := map[int]error{}
		for i := range batch {
			if poisonous(&batch[i]) || batch[i].Optional {
				failed[i] = &bridges.Reject{Err: errors.New("poison")}
			}
		}
		if len(failed) == 0 {
			return nil
		}
		return &bridges.Partial{Failed: failed}
	}}
}

// C13: what is reported of a message and a rule, for each way it can go, and
// how soon: with the sink still silent, or once it has answered.
func TestConfirmations(t *testing.T) {
	yes, no := []bool{true}, []bool{false}
	cases := []struct {
		payload      string
		rules        []uint32
		qos          byte
		before, then map[uint32][]bool
	}{
		{"ok", []uint32{1}, 1, nil, map[uint32][]bool{1: yes}},
		{"ok", []uint32{1}, 2, nil, map[uint32][]bool{1: yes}},
		{"ok at QoS 0", []uint32{1}, 0, nil, nil},
		{"ok of a rule nobody expects", []uint32{2}, 1, nil, nil},
		{"ok of two", []uint32{1, 2, 3}, 1, nil, map[uint32][]bool{1: yes, 3: yes}},
		{"filter", []uint32{1, 3}, 1, map[uint32][]bool{1: yes, 3: yes}, map[uint32][]bool{1: yes, 3: yes}},
		{"missing", []uint32{1}, 1, map[uint32][]bool{1: yes}, map[uint32][]bool{1: yes}},
		{"twice", []uint32{1}, 1, nil, map[uint32][]bool{1: yes}},
		{"error", []uint32{1}, 1, map[uint32][]bool{1: no}, map[uint32][]bool{1: no}},
		{"drop", []uint32{1}, 1, map[uint32][]bool{1: no}, map[uint32][]bool{1: no}},
		{"unreadable", []uint32{1}, 1, map[uint32][]bool{1: no}, map[uint32][]bool{1: no}},
		{"x poison", []uint32{1, 2, 3}, 1, nil, map[uint32][]bool{1: no, 3: no}},
		{"optional", []uint32{1}, 1, nil, map[uint32][]bool{1: yes}},
		{"shadow", []uint32{1}, 1, map[uint32][]bool{1: yes}, map[uint32][]bool{1: yes}},
	}
	synctest.Test(t, func(t *testing.T) {
		g := &gate{}
		r := newRig(t, poisonSink(g))
		told := &fakeConfirmations{rules: []uint32{1, 3}}
		r.rules, r.receipts = []uint32{1, 2, 3}, told
		r.start()
		offsets := make([]uint64, len(cases))
		for i, c := range cases {
			qos := func(m *message.Message) { m.QoS = c.qos }
			offsets[i] = r.journal.publishSeen(fmt.Sprint(i), c.payload, qos, c.rules...)
		}
		check := func(when string, of func(i int) map[uint32][]bool) {
			for i, c := range cases {
				for rule := range uint32(4) {
					want(t, fmt.Sprintf("%s, %q by %d", when, c.payload, rule), told.of(offsets[i], rule), of(i)[rule])
				}
			}
		}
		pass(time.Second)
		check("silent sink", func(i int) map[uint32][]bool { return cases[i].before })
		g.open.Store(true)
		pass(time.Minute)
		check("in the end", func(i int) map[uint32][]bool { return cases[i].then })
		r.stop()
		r.total()
	})
}

// Nobody hears twice of a message that a restart settles again, and what was
// settled before is not reported from the cursor.
func TestConfirmationsAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &shardedSink{shard: byTopic}
		sink.answer = stuck("bad")
		r := newRig(t, sink)
		first := &fakeConfirmations{rules: []uint32{1}}
		r.receipts = first
		r.start()
		bad := r.journal.publish("bad", "v", 1)
		good := r.journal.publish("good", "v", 1)
		pass(time.Second)
		want(t, "first life", [][]bool{first.of(bad, 1), first.of(good, 1)}, [][]bool{nil, {true}})
		r.stop()
		r.total()
		second := &fakeConfirmations{rules: []uint32{1}}
		r.receipts = second
		sink.answer = nil
		r.start()
		pass(time.Minute)
		want(t, "second life", [][]bool{second.of(bad, 1), second.of(good, 1)}, [][]bool{{true}, nil})
		r.stop()
		r.total()
	})
}

// A rule that is removed while somebody waits for it: its message is a dead
// letter, which is the answer.
func TestConfirmationOfARemovedRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, g := backlogged(t, []uint32{1})
		r.stop()
		told := &fakeConfirmations{rules: []uint32{1}}
		r.receipts, r.rules = told, nil
		g.open.Store(true)
		r.start()
		pass(time.Minute)
		want(t, "told", len(told.told), 40)
		for key, answers := range told.told {
			want(t, key, answers, []bool{false})
		}
		r.stop()
		r.total()
	})
}

// Shadow rules are evaluated and counted, and nothing of theirs leaves.
func TestShadow(t *testing.T) {
	sink := &fakeSink{}
	run(t, sink, func(r *rig) {
		r.start()
		for _, v := range []string{"ok", "shadow", "shadow again", "filter"} {
			r.journal.publish("a", v, 1)
		}
		pass(time.Second)
		want(t, "delivered", sink.have(), []string{"ok"})
		r.stop()
		want(t, "dead", len(letters(t, r.path)), 0)
		want(t, "account", r.lane.Account().Rules, []pipelines.RuleAccount{{
			Rule: 1, Name: "rule-1", In: 4, Filtered: 1, Errors: 2, Passed: 1,
			Records: 5, Delivered: 1, Dropped: map[string]uint64{"shadow": 4},
		}})
		r.start() // from the cursor
		want(t, "dropped after a restart", r.total().Dropped, map[string]uint64{"shadow": 4})
		r.stop()
		r.total()
	})
}
