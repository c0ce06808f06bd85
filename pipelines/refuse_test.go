package pipelines_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
	"github.com/penstock/penstock/pipelines/deadletter"
)

// letters reads the dead letters in a folder, beside the lane.
func letters(t testing.TB, path string) []deadletter.Letter {
	t.Helper()
	v, err := deadletter.OpenReadOnly(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var list []deadletter.Letter
	for l, err := range v.List(deadletter.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, l)
	}
	return list
}

func payloads(list []deadletter.Letter) []string {
	var v []string
	for _, d := range list {
		v = append(v, *d.Record.Payload)
	}
	slices.Sort(v)
	return v
}

// plug holds the first write of a one-shard sink until let go, so that what
// is published meanwhile becomes one batch.
type plug struct{ open chan struct{} }

func newPlug() *plug { return &plug{make(chan struct{})} }

func (p *plug) pull() { close(p.open) }

func (p *plug) held(batch []message.Record) bool {
	if string(batch[0].Value) != "plug" {
		return false
	}
	<-p.open
	return true
}

func publish(r *rig, p *plug, list ...string) {
	r.start()
	r.journal.publish("a", "plug", 1)
	synctest.Wait()
	for _, v := range list {
		r.journal.publish("a", v, 1)
	}
	pass(time.Minute)
	p.pull()
}

// C18: unnamed records are confirmed; what is to be retried goes before anything
// later; what is refused goes to the dead letters.
func TestPartial(t *testing.T) {
	calls := 0
	synctest.Test(t, func(t *testing.T) {
		p := newPlug()
		sink := &shardedSink{shard: oneShard}
		sink.answer = func(_ context.Context, batch []message.Record) error {
			if p.held(batch) {
				return nil
			}
			if calls++; calls > 1 {
				return nil
			}
			return &bridges.Partial{Failed: map[int]error{
				1: &bridges.Retry{Err: errors.New("busy")},
				2: &bridges.Reject{Err: errors.New("too large")},
				4: &bridges.Retry{After: time.Second, Err: errors.New("busy")},
			}}
		}
		r := newRig(t, sink)
		r.config.Batch.Records = 5
		publish(r, p, numbered(7)...)
		pass(time.Minute)
		want(t, "writes", sink.calls()[1:], [][]string{
			{"v0", "v1", "v2", "v3", "v4"}, {"v1", "v4"}, {"v5", "v6"},
		})
		want(t, "waited", sink.starts[2].Sub(sink.starts[1]), time.Second)
		want(t, "delivered", sink.have(), []string{"plug", "v0", "v3", "v1", "v4", "v5", "v6"})
		r.stop()
		want(t, "dead", payloads(letters(t, r.path)), []string{"v2"})
		got := r.total()
		want(t, "account", []uint64{got.Records, got.Delivered, got.DeadLettered, got.Pending}, []uint64{8, 7, 1, 0})
	})
}

// A journal that cannot be read for a while costs a letter nothing: it waits
// for its message (I2).
func TestLetterWaitsForItsMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		fail := func(err error) {
			r.journal.mu.Lock()
			defer r.journal.mu.Unlock()
			r.journal.readErr = err
		}
		sink := &shardedSink{shard: oneShard}
		sink.answer = func(context.Context, []message.Record) error {
			fail(errors.New("too many open files"))
			return &bridges.Reject{Err: errors.New("too large")}
		}
		r = newRig(t, sink)
		r.start()
		r.journal.publish("a", "refused", 1)
		pass(time.Minute)
		want(t, "dead-lettered while the journal cannot be read", r.total().DeadLettered, uint64(0))
		fail(nil)
		pass(time.Minute)
		r.stop()
		want(t, "dead", payloads(letters(t, r.path)), []string{"refused"})
	})
}

// A bare Reject says that nothing was written: the lane halves the batch until
// the poison stands alone, and keeps the order of the rest.
func TestRejectIsBisected(t *testing.T) {
	poison := func(r *message.Record) bool { return r.Value[0] == 'x' }
	for name, at := range map[string][]int{"first": {0}, "last": {99}, "two": {17, 18}, "all": nil} {
		t.Run(name, func(t *testing.T) {
			list := numbered(100)
			var bad []string
			for i := range list {
				if name == "all" || slices.Contains(at, i) {
					list[i] = "x" + list[i]
					bad = append(bad, list[i])
				}
			}
			synctest.Test(t, func(t *testing.T) {
				p := newPlug()
				sink := &shardedSink{shard: oneShard}
				sink.answer = func(_ context.Context, batch []message.Record) error {
					if !p.held(batch) && slices.ContainsFunc(batch, func(r message.Record) bool { return poison(&r) }) {
						return &bridges.Reject{Err: errors.New("invalid record")}
					}
					return nil
				}
				r := newRig(t, sink)
				publish(r, p, list...)
				pass(time.Minute)
				good := append([]string{"plug"}, slices.DeleteFunc(slices.Clone(list), func(v string) bool { return v[0] == 'x' })...)
				want(t, "delivered", sink.have(), good)
				if n := len(sink.calls()); n > 2+2*8*max(1, len(bad)) {
					t.Errorf("%d writes", n)
				}
				r.stop()
				slices.Sort(bad)
				want(t, "dead", payloads(letters(t, r.path)), bad)
				r.total()
			})
		})
	}
}

func TestDeadLetterSaysWhatCameIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &fakeSink{answer: func(context.Context, []message.Record) error {
			<-time.After(time.Second)
			return &bridges.Reject{Err: errors.New("too large")}
		}}
		r := newRig(t, sink)
		r.start()
		begin := time.Now().UTC()
		offset := r.journal.publish("plant/7", "hello <world>", 1)
		pass(2 * time.Second)
		text := "hello <world>"
		want(t, "letter", letters(t, r.path), []deadletter.Letter{{
			Seq: 1, Kind: deadletter.Refused, ID: fmt.Sprintf("%s.1.1", message.ID{Journal: 1, Epoch: 1, Offset: offset}),
			Rule: "rule-1", RuleNumber: 1, Output: 1, Sink: "plant", Reason: "rejected", Error: "too large", Attempts: 1,
			Time: begin.Add(time.Second), History: []deadletter.Attempt{{Time: begin.Add(time.Second), Error: "too large"}},
			Record: &deadletter.Record{
				Received: time.UnixMilli(1767225600000 + int64(offset)).UTC(),
				Client:   "c", Topic: "plant/7", QoS: 1, Payload: &text,
			},
		}})
		r.stop()
	})
}

// The time in which the sink was unavailable does not count (C20).
func TestMaxAge(t *testing.T) {
	var outage, busy int
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		sink := &shardedSink{shard: oneShard}
		sink.answer = func(context.Context, []message.Record) error {
			switch at := time.Since(begin); {
			case at > time.Minute && at < time.Hour:
				outage++
				return &bridges.Unavailable{Err: errors.New("down")}
			default:
				busy++
				return &bridges.Retry{Err: errors.New("busy")}
			}
		}
		r := newRig(t, sink)
		r.config.Retry.MaxAge = 5 * time.Minute
		r.start()
		r.journal.publish("a", "v0", 1)
		pass(time.Hour)
		want(t, "dead before its time", letters(t, r.path), []deadletter.Letter(nil))
		pass(5 * time.Minute)
		list := letters(t, r.path)
		want(t, "dead", payloads(list), []string{"v0"})
		d := list[0]
		want(t, "reason", []string{d.Reason, d.Error}, []string{"max_age", "retry: busy"})
		want(t, "attempts", d.Attempts, busy)
		want(t, "history", len(d.History), 10)
		first, last := d.History[0].Time, d.History[9].Time
		want(t, "last attempt", last, d.Time)
		if tried := last.Sub(first); tried < 63*time.Minute+50*time.Second || tried > 65*time.Minute {
			t.Errorf("tried for %v", tried)
		}
		if outage == 0 {
			t.Error("there was no outage")
		}
		r.stop()
		r.total()
	})
}

func TestRuleOutcomes(t *testing.T) {
	sink := &fakeSink{}
	run(t, sink, func(r *rig) {
		r.rules = []uint32{1, 5}
		r.start()
		for _, v := range []string{"ok", "filter", "missing", "error", "error again", "drop", "twice", "unreadable"} {
			r.journal.publish("a", v, 1)
		}
		r.journal.publish("a", "twice both", 1, 5)
		r.journal.publish("a", "filter both", 5, 1)
		pass(time.Second)
		r.stop()
		got := r.lane.Account()
		pipelines.AssertBalanced(t, got)
		want(t, "account", got.Rules, []pipelines.RuleAccount{
			{
				Rule: 1, Name: "rule-1", In: 10, Filtered: 3, FilteredMissing: 1, Errors: 4, Passed: 3,
				Records: 9, Delivered: 5, DeadLettered: 2, Dropped: map[string]uint64{"on_error": 1, "unreadable": 1},
			},
			{
				Rule: 5, Name: "rule-5", In: 2, Filtered: 1, Passed: 1, Records: 2, Delivered: 2,
				Dropped: map[string]uint64{},
			},
		})
		list := letters(t, r.path)
		want(t, "dead", payloads(list), []string{"error", "error again"})
		want(t, "reason", []string{list[0].Reason, list[0].Error}, []string{"type", "not a number"})
		want(t, "id", strings.HasSuffix(list[0].ID, "-4.1.9") || strings.Contains(list[0].ID, ".1.9"), true)
		if n := strings.Count(r.log.String(), "not a number"); n != 1 {
			t.Errorf("the same cause was logged %d times:\n%s", n, r.log.String())
		}
		// After a restart the figures go on from the cursor.
		r.start()
		r.journal.publish("a", "one more", 1)
		pass(time.Second)
		r.stop()
		after := r.lane.Account()
		want(t, "in", after.Rules[0].In, uint64(11))
		want(t, "delivered", after.Rules[0].Delivered, uint64(6))
		want(t, "rule 5", cmp.Equal(after.Rules[1], got.Rules[1]), true)
		pipelines.AssertBalanced(t, after)
	})
}

// When the dead letters are full, what a sink refuses blocks its lane until
// there is room; rule errors give way to newer ones (C20).
func TestDeadLettersFull(t *testing.T) {
	sink := &shardedSink{shard: oneShard}
	sink.answer = func(_ context.Context, batch []message.Record) error {
		if batch[0].Value[0] == 'x' {
			return &bridges.Reject{Err: errors.New("no")}
		}
		return nil
	}
	run(t, sink, func(r *rig) {
		r.openDead(8 << 10) // of which rule errors have 1 KiB
		r.start()
		for i := range 20 {
			r.journal.publish("a", fmt.Sprint("error ", i), 1)
			pass(time.Second)
		}
		given := r.dead.Stats().GivenWay
		if given == 0 || given > 19 {
			t.Errorf("%d rule errors gave way", given)
		}
		big := "x" + strings.Repeat("y", 5<<10)
		r.journal.publish("a", big, 1)
		pass(time.Second)
		r.journal.publish("a", big, 1)
		pass(time.Second)
		r.journal.publish("a", "behind", 1)
		pass(time.Minute)
		want(t, "while blocked", sink.have(), []string(nil))
		want(t, "pending", r.total().Pending, uint64(1))
		if _, err := r.dead.Purge(t.Context(), deadletter.Filter{Kinds: []deadletter.Kind{deadletter.Refused}}); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		want(t, "with room", sink.have(), []string{"behind"})
		want(t, "refused", r.dead.Stats().Refused.Letters, 1)
		r.stop()
		got := r.total()
		want(t, "account", []uint64{got.Delivered, got.DeadLettered, got.DroppedSum()}, []uint64{1, 22, 0})
		for _, text := range []string{"the lane waits for room", "have room again"} {
			if n := strings.Count(r.log.String(), text); n != 1 {
				t.Errorf("%q was logged %d times:\n%s", text, n, r.log.String())
			}
		}
	})
}

// A dead letter that cannot be written: rule errors are only counted, what is
// owed waits.
func TestDeadLettersFail(t *testing.T) {
	sink := &shardedSink{shard: oneShard}
	sink.answer = func(_ context.Context, batch []message.Record) error {
		if batch[0].Value[0] == 'x' {
			return &bridges.Reject{Err: errors.New("no")}
		}
		return nil
	}
	run(t, sink, func(r *rig) {
		r.dead.Close()
		r.start()
		for _, v := range []string{"error 1", "error 2", "ok", "x", "behind"} {
			r.journal.publish("a", v, 1)
			pass(time.Second)
		}
		want(t, "delivered", sink.have(), []string{"ok"})
		got := r.total()
		want(t, "dropped", got.Dropped, map[string]uint64{"dead_letters_full": 2})
		want(t, "pending", got.Pending, uint64(1))
		r.stop()
		for _, text := range []string{"rule errors are only counted", "the lane waits for room"} {
			if n := strings.Count(r.log.String(), text); n != 1 {
				t.Errorf("%q was logged %d times:\n%s", text, n, r.log.String())
			}
		}
	})
}
