package pipelines_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
)

// A life is all that can be seen of a lane from outside.
type life struct {
	ByKey   map[string][]string
	Account pipelines.Account
	Letters []string
	Told    map[string][]bool
	Low     uint64
}

// A program is what happens to a lane: messages in bursts with pauses between
// them, and a sink with moods.
type program struct {
	messages []programmed
	pauses   []time.Duration // after each burst of 100
	seed     uint64
	config   pipelines.DeliveryConfig
	sharder  bool
}

type programmed struct {
	topic, payload string
	rules          []uint32
}

func drawProgram(t *rapid.T) program {
	p := program{
		seed: rapid.Uint64().Draw(t, "seed"), sharder: rapid.Bool().Draw(t, "sharder"),
		config: pipelines.DeliveryConfig{
			InFlight: rapid.IntRange(1, 4).Draw(t, "in flight"),
			Batch:    pipelines.BatchConfig{Records: rapid.SampledFrom([]int{1, 3, 20, 1000}).Draw(t, "records")},
		},
	}
	random := rand.New(rand.NewPCG(p.seed, 5))
	headers := [][]uint32{{1}, {1, 2}, {2, 9}, {9}, {2, 4, 1}, nil}
	for i := range rapid.IntRange(1, 3000).Draw(t, "messages") {
		p.messages = append(p.messages, programmed{
			fmt.Sprintf("t%d", random.IntN(9)), fmt.Sprint(append(words, "unreadable")[random.IntN(len(words)+1)], " ", i),
			headers[random.IntN(len(headers))],
		})
	}
	for range len(p.messages)/100 + 1 {
		p.pauses = append(p.pauses, time.Duration(random.IntN(300))*time.Millisecond)
	}
	return p
}

// live runs a program; rule 4 is gone, so what it wants are dead letters.
func (p *program) live(t *testing.T, before func(*pipelines.Lane)) life {
	t.Helper()
	answer := func(_ context.Context, batch []message.Record) error {
		failed := map[int]error{}
		for i := range batch {
			if poisonous(&batch[i]) {
				failed[i] = &bridges.Reject{Err: errors.New("poison")}
			}
		}
		if len(failed) > 0 {
			return &bridges.Partial{Failed: failed}
		}
		return nil
	}
	var sink bridges.Sink = &fakeSink{answer: answer}
	if p.sharder {
		sink = &shardedSink{fakeSink: fakeSink{answer: answer}, shard: byTopic}
	}
	r := newRig(t, sink)
	defer r.dead.Close()
	told := &fakeConfirmations{rules: []uint32{1, 4}}
	r.config, r.rules, r.receipts, r.before = p.config, []uint32{1, 2}, told, before
	if _, err := r.journal.StoreCursor(7, journal.Cursor{Low: 1, Rules: []uint32{1, 2, 4}}); err != nil {
		t.Fatal(err)
	}
	for _, m := range p.messages {
		r.journal.publish(m.topic, m.payload, m.rules...)
	}
	r.journal.show(1)
	r.start()
	for i, d := range p.pauses {
		pass(d)
		r.journal.show(uint64(min(100*(i+1), len(p.messages)) + 1))
	}
	pass(time.Minute)
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	return r.life(told)
}

func (r *rig) life(told *fakeConfirmations) life {
	r.total()
	s, ok := r.sink.(*fakeSink)
	if !ok {
		s = &r.sink.(*shardedSink).fakeSink
	}
	l := life{ByKey: s.gotBy, Account: r.lane.Account(), Told: told.told}
	for _, d := range letters(r.t, r.path) {
		l.Letters = append(l.Letters, d.ID+" "+d.Reason)
	}
	slices.Sort(l.Letters)
	c, _ := r.journal.Cursor(7)
	l.Low = c.Low
	return l
}

// What a lane makes of its messages is the same whether it evaluates them alone
// or together with others: records, their order (I3), figures, dead letters,
// what publishers are told.
func TestTogetherIsAsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) {
			p := drawProgram(rt)
			alone := p.live(t, (*pipelines.Lane).Alone)
			together := p.live(t, (*pipelines.Lane).Together)
			if diff := cmp.Diff(alone, together); diff != "" {
				rt.Errorf("alone and together (-alone +together):\n%s", diff)
			}
		})
	})
}

// slowRules take a while, and count how many of them there are at work.
type slowRules struct {
	fakeRules
	made, working, most *atomic.Int32
	spin                int
}

func newSlowRules(spin int) (*slowRules, func() pipelines.Evaluator) {
	s := &slowRules{fakeRules: fakeRules{[]uint32{1}}, made: &atomic.Int32{}, working: &atomic.Int32{}, most: &atomic.Int32{}, spin: spin}
	return s, func() pipelines.Evaluator {
		s.made.Add(1)
		return &slowRules{s.fakeRules, s.made, s.working, s.most, s.spin}
	}
}

func (s *slowRules) Evaluate(rule uint32, m *message.Message, out *message.Outcome) {
	n := s.working.Add(1)
	for most := s.most.Load(); n > most; most = s.most.Load() {
		if s.most.CompareAndSwap(most, n) {
			break
		}
	}
	key := spin(s.spin)
	out.Records = append(out.Records, message.Record{
		Message: m.ID, Rule: rule, Output: 1, Topic: m.Topic, Value: m.Payload, Order: key + m.ID.Offset,
	})
	s.working.Add(-1)
}

// spin takes about n nanoseconds.
func spin(n int) uint64 {
	h := uint64(14695981039346656037)
	for i := range n {
		h = (h ^ uint64(i)) * 1099511628211
	}
	return h
}

// A lane whose rules keep it busy gets help, with all the cores there are; one
// whose rules cost little, or that keeps up, does not.
func TestHelpComesWhereItIsNeeded(t *testing.T) {
	if runtime.GOMAXPROCS(0) == 1 {
		t.Skip("there is one core")
	}
	for _, c := range []struct {
		name     string
		spin     int
		messages int
		price    time.Duration
		helped   bool
	}{
		{"busy", 20_000, 20_000, time.Microsecond, true},
		{"cheap", 0, 100_000, 10 * time.Millisecond, false},
		{"few", 20_000, 2_000, time.Microsecond, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			slow, rules := newSlowRules(c.spin)
			j := &loopJournal{n: uint64(c.messages), messages: []message.Message{{Topic: "t", Payload: []byte("p")}}}
			null := &nullSink{goal: int64(c.messages), done: make(chan struct{})}
			lane, stop := startLane(t, pipelines.LaneOptions{Journal: j, Sink: null, Evaluators: rules}, func(l *pipelines.Lane) { l.HelpAbove(c.price) })
			<-null.done
			stop()
			if made := slow.made.Load(); (made > 1) != c.helped {
				t.Errorf("%d evaluators", made)
			}
			if most := slow.most.Load(); c.helped && most < 2 {
				t.Errorf("%d evaluated at a time", most)
			}
			pipelines.AssertBalanced(t, lane.Account())
		})
	}
}

// The goroutines end with the backlog, before the lane does.
func TestHelpersLeaveWhenTheLaneIsIdle(t *testing.T) {
	sink := &fakeSink{}
	run(t, sink, func(r *rig) {
		r.before = (*pipelines.Lane).Together
		r.start()
		synctest.Wait()
		idle := runtime.NumGoroutine()
		for range 5000 {
			r.journal.publish("a", "ok", 1)
		}
		pass(time.Minute)
		want(t, "delivered", len(sink.have()), 5000)
		if n := runtime.NumGoroutine(); n > idle {
			t.Errorf("%d goroutines, %d before the backlog:\n%s", n, idle, stacks())
		}
		r.stop()
		r.total()
	})
}

func stacks() string {
	b := make([]byte, 1<<16)
	return string(b[:runtime.Stack(b, true)])
}

// A cursor stored while a block is entered in part says nothing of the rest.
func TestCursorWithinABlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &shardedSink{shard: oneShard}
		r := newRig(t, sink)
		r.before = (*pipelines.Lane).Together
		r.config.InFlight, r.config.Batch.Records = 1, 1
		sink.answer = func(context.Context, []message.Record) error {
			<-time.After(90 * time.Millisecond)
			return nil
		}
		r.start()
		var list []string
		for i := range 1000 {
			list = append(list, fmt.Sprint("ok ", i))
			r.journal.publish("a", list[i], 1)
			r.journal.publish("a", "filter", 1)
		}
		pass(10 * time.Second)
		r.journal.hold(true)
		done := len(sink.have())
		r.stop()
		r.total()
		r.journal.lose(r.journal.stored)
		r.journal.hold(false)
		sink.answer = nil
		r.start()
		pass(time.Minute)
		r.stop()
		r.total()
		again := 0
		have := sink.have()
		for _, v := range list {
			n := 0
			for _, got := range have {
				if got == v {
					n++
				}
			}
			if n == 0 {
				t.Fatalf("%q is lost; %d had arrived before", v, done)
			}
			again += n - 1
		}
		if done < 50 || done > 500 || again > 10 {
			t.Errorf("%d arrived before, %d twice", done, again)
		}
	})
}

// An update in the middle of a block: what is evaluated leaves as it is.
func TestUpdateWhileOthersEvaluate(t *testing.T) {
	sink := &fakeSink{}
	run(t, sink, func(r *rig) {
		r.before = (*pipelines.Lane).Together
		r.form = "0"
		r.start()
		for i := range 50 {
			for n := range 400 {
				r.journal.publish(fmt.Sprint(n%7), fmt.Sprintf("%d.%d", i, n), 1)
			}
			if i%10 == 9 {
				r.form = fmt.Sprint(i)
				if err := r.lane.Update(r.t.Context(), r.present()); err != nil {
					t.Fatal(err)
				}
			}
		}
		pass(time.Minute)
		r.stop()
		want(t, "delivered", r.total().Delivered, uint64(20_000))
		for key := range 7 {
			checkForms(t, r.order(fmt.Sprint(key)))
		}
	})
}

// checkForms expects the forms of the rules to follow one another, and the
// messages too.
func checkForms(t *testing.T, values []string) {
	t.Helper()
	last, lastForm := -1, -1
	for _, v := range values {
		var form, i, n int
		if _, err := fmt.Sscanf(strings.Replace(v, ".", " ", 1), "%d %d %d", &form, &i, &n); err != nil {
			t.Fatal(v, err)
		}
		if form < lastForm || i*400+n <= last {
			t.Fatalf("%q after form %d, message %d", v, lastForm, last)
		}
		last, lastForm = i*400+n, form
	}
}
