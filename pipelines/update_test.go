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

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
)

// gate is a sink's answer that confirms nothing while it is shut.
type gate struct{ open atomic.Bool }

func (g *gate) answer(ctx context.Context, _ []message.Record) error {
	for !g.open.Load() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// A change is what happens to the rules of a lane that has a backlog.
type change struct {
	name   string
	before []uint32
	after  []uint32
	header []uint32 // what the intake writes into headers then
}

// changes are of rules 1 and 2; a name that was not there is number 3.
var changes = []change{
	{"edited", []uint32{1, 2}, []uint32{1, 2}, []uint32{1, 2}},
	{"reordered", []uint32{1, 2}, []uint32{2, 1}, []uint32{2, 1}},
	{"renamed", []uint32{1, 2}, []uint32{3, 2}, []uint32{3, 2}},
	{"removed", []uint32{1, 2}, []uint32{2}, []uint32{2}},
	{"removed here, in use elsewhere", []uint32{1, 2}, []uint32{2}, []uint32{1, 2}},
	{"all removed", []uint32{1, 2}, nil, nil},
	{"added", []uint32{1}, []uint32{1, 2}, []uint32{1, 2}},
}

// backlogged starts a lane whose sink confirms nothing, with 40 messages for
// rules 1 and 2, and few records at hand. What follows must come soon: behind a
// write that takes long the lane reads on.
func backlogged(t *testing.T, rules []uint32) (*rig, *fakeSink, *gate) {
	t.Helper()
	g := &gate{}
	sink := &fakeSink{answer: g.answer}
	r := newRig(t, sink)
	r.rules, r.form = rules, "old"
	r.config.InFlight, r.config.Batch.Records = 1, 2
	r.start()
	for i := range 40 {
		r.journal.publish("a", fmt.Sprintf("before %d", i), 1, 2)
	}
	pass(time.Millisecond)
	return r, sink, g
}

// apply gives the lane its new rules, while it runs or by a restart.
func (r *rig) apply(rules []uint32, restart bool) {
	r.t.Helper()
	r.rules, r.form = rules, "new"
	if !restart {
		if err := r.lane.Update(r.t.Context(), r.present()); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	if err := r.stop(); err != nil {
		r.t.Fatal(err)
	}
	r.total()
	r.start()
}

// count returns how many of the values begin and end like this.
func count(values []string, prefix, suffix string) (n uint64) {
	for _, v := range values {
		if strings.HasPrefix(v, prefix) && strings.HasSuffix(v, suffix) {
			n++
		}
	}
	return n
}

// C16: what is evaluated leaves as it is; what is not is evaluated by the rules
// in its header in their present form; what a rule that is gone still owed is a
// dead letter; a rule that is new sees nothing older.
func TestRulesChange(t *testing.T) {
	for _, restart := range []bool{false, true} {
		for _, c := range changes {
			t.Run(fmt.Sprintf("%s restart=%v", c.name, restart), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testRulesChange(t, c, restart) })
			})
		}
	}
}

func testRulesChange(t *testing.T, c change, restart bool) {
	r, sink, g := backlogged(t, c.before)
	r.apply(c.after, restart)
	for i := range 10 {
		r.journal.publish("a", fmt.Sprintf("after %d", i), c.header...)
	}
	pass(time.Millisecond)
	g.open.Store(true)
	pass(time.Minute)
	for n := range uint32(4) {
		r.checkRule(c, n, sink.have(), restart)
	}
	cursor, _ := r.journal.Cursor(7)
	now := slices.Clone(c.after)
	slices.Sort(now)
	want(t, "rules in the cursor", cursor.Rules, now)
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	r.total()
}

// checkRule compares what became of a rule's messages.
func (r *rig) checkRule(c change, n uint32, have []string, restart bool) {
	r.t.Helper()
	had, has := slices.Contains(c.before, n), slices.Contains(c.after, n)
	by := fmt.Sprintf(" by %d", n)
	old := count(have, "old before", by)
	reNew := count(have, "new before", by)
	var dead uint64
	for _, d := range letters(r.t, r.path) {
		if d.Rule == ruleName(n) {
			want(r.t, "reason", d.Reason, "rule_removed")
			dead++
		}
	}
	wants := map[string]uint64{"before": 0, "after": 0}
	if had {
		wants["before"] = 40
	}
	if has {
		wants["after"] = 10
	}
	got := map[string]uint64{"before": old + reNew + dead, "after": count(have, "new after", by)}
	want(r.t, fmt.Sprintf("rule %d", n), got, wants)
	switch evaluated := old > 0 && old < 10; {
	case had && has && (reNew < 30 || dead > 0 || evaluated == restart):
		r.t.Errorf("rule %d stays: %d old, %d new, %d dead", n, old, reNew, dead)
	case had && !has && (reNew > 0 || dead < 30 || evaluated == restart):
		r.t.Errorf("rule %d is gone: %d old, %d new, %d dead", n, old, reNew, dead)
	}
	for _, a := range r.lane.Account().Rules {
		if a.Rule == n {
			want(r.t, "account", []uint64{a.In, a.Errors, a.Delivered, a.DeadLettered, a.Pending},
				[]uint64{wants["before"] + wants["after"], dead, old + reNew + got["after"], dead, 0})
		}
	}
}

// A rule that comes back under its name goes on with what is left, but for what
// was accepted while it did not feed the lane; its name stays in the cursor
// until all that it was owed is settled.
func TestRuleComesBack(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart=%v", restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testRuleComesBack(t, restart) })
		})
	}
}

func testRuleComesBack(t *testing.T, restart bool) {
	r, sink, g := backlogged(t, []uint32{1, 2})
	r.apply([]uint32{2}, restart)
	for i := range 10 {
		r.journal.publish("a", fmt.Sprintf("away %d", i), 1, 2)
	}
	pass(time.Millisecond)
	cursor, _ := r.journal.Cursor(7)
	want(t, "rules while one is owed", cursor.Rules, []uint32{1, 2})
	r.apply([]uint32{1, 2}, restart)
	r.apply([]uint32{1, 2}, restart) // changes nothing
	for i := range 10 {
		r.journal.publish("a", fmt.Sprintf("after %d", i), 1, 2)
	}
	pass(time.Millisecond)
	g.open.Store(true)
	pass(time.Minute)
	have := sink.have()
	// A message that rule 2 still waited for at a restart is evaluated again for
	// both, so that it may be a dead letter and a record.
	settled := map[string]int{}
	for _, d := range letters(t, r.path) {
		settled[*d.Record.Payload]++
	}
	for i := range 40 {
		payload := fmt.Sprintf("before %d", i)
		settled[payload] += int(count(have, "old "+payload+" ", "by 1") + count(have, "new "+payload+" ", "by 1"))
		if n := settled[payload]; n < 1 || n > 1 && !restart || n > 2 {
			t.Errorf("%q was settled %d times", payload, n)
		}
	}
	want(t, "away", []uint64{count(have, "new away", " by 1"), count(have, "new away", " by 2")}, []uint64{0, 10})
	want(t, "after", count(have, "new after", " by 1"), uint64(10))
	if again := count(have, "new before", " by 1"); again < 20 {
		t.Errorf("%d records after the rule came back", again)
	}
	r.stop()
	r.total()
	want(t, "in", r.lane.Account().Rules[0].In, uint64(50))
}

// A message accepted under new rules is not lost, whenever the process ends
// between the lanes' and the intake's change.
func TestCrashWhileRulesAreSwapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, sink, g := backlogged(t, []uint32{1})
		r.rules, r.form = []uint32{2}, "new"
		crash := func() uint64 {
			r.journal.publish("a", "accepted by the new rules", 2)
			r.journal.hold(true)
			r.cancel()
			return 1 << 40 // the lane is dead, it hears of nothing
		}
		if err := pipelines.SwapRules(t.Context(), []pipelines.Update{{Lane: r.lane, Rules: r.present()}}, crash); err != nil {
			t.Fatal(err)
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		r.total()
		r.journal.entries = r.journal.entries[:r.journal.stored]
		r.journal.hold(false)
		g.open.Store(true)
		r.start()
		pass(time.Minute)
		have := sink.have()
		want(t, "new", count(have, "new accepted", " by 2"), uint64(1))
		want(t, "dead", len(letters(t, r.path)), 40)
		r.stop()
		r.total()
	})
}

// On a complaint of one lane the old rules stay everywhere, and nothing is lost.
func TestSwapIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, sink, g := backlogged(t, []uint32{1, 2})
		other := newRig(t, &fakeSink{})
		other.start()
		synctest.Wait()
		other.journal.fail = errors.New("no room")
		next := r.present()
		next.Evaluators = func() pipelines.Evaluator { return formRules{fakeRules{[]uint32{2, 3}}, "new"} }
		updates := []pipelines.Update{{Lane: r.lane, Rules: next}, {Lane: other.lane, Rules: next}}
		err := pipelines.SwapRules(t.Context(), updates, func() uint64 {
			t.Error("swapped")
			return 1
		})
		if err == nil || !strings.Contains(err.Error(), "no room") {
			t.Errorf("SwapRules = %v", err)
		}
		for i := range 10 {
			r.journal.publish("a", fmt.Sprintf("after %d", i), 1, 2, 3)
		}
		g.open.Store(true)
		pass(time.Minute)
		for n, wants := range map[int]uint64{1: 50, 2: 50, 3: 0} {
			want(t, fmt.Sprint("rule ", n), count(sink.have(), "old", fmt.Sprintf(" by %d", n)), wants)
		}
		want(t, "dead", len(letters(t, r.path)), 0)
		other.journal.mu.Lock()
		other.journal.fail = nil
		other.journal.mu.Unlock()
		r.stop()
		r.total()
		other.stop()
		other.total()
	})
}

// A lane that has ended learns of its new rules too, for its next life.
func TestUpdateOfALaneThatEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, sink, g := backlogged(t, []uint32{1})
		r.stop()
		r.rules, r.form = []uint32{1, 2}, "new"
		if err := r.lane.Update(t.Context(), r.present()); err != nil {
			t.Fatal(err)
		}
		r.journal.publish("a", "after", 1, 2)
		g.open.Store(true)
		r.start()
		pass(time.Minute)
		want(t, "rule 1", count(sink.have(), "new", " by 1"), uint64(41))
		want(t, "rule 2", count(sink.have(), "new", " by 2"), uint64(1))
		r.stop()
		r.total()
	})
}

// The caller may give up while the lane does not run yet.
func TestUpdateGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeSink{})
		lane := r.build()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := lane.Update(ctx, r.present()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Update = %v", err)
		}
		pipelines.AssertBalanced(t, lane.Account())
	})
}
