package pipelines_test

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/pipelines"
	"github.com/penstock/penstock/pipelines/deadletter"
)

// A rig is a lane with its fakes.
type rig struct {
	t        testing.TB
	journal  *fakeJournal
	sink     bridges.Sink
	config   pipelines.DeliveryConfig
	rules    []uint32
	form     string // of the rules, see formRules
	receipts pipelines.Confirmations
	make     func() pipelines.Evaluator // nil: formRules
	before   func(*pipelines.Lane)      // Run
	dead     *deadletter.Store
	path     string // of the dead letters
	log      bytes.Buffer
	share    int64
	paused   bool

	lane   *pipelines.Lane
	cancel context.CancelFunc
	ended  chan error
}

func newRig(t testing.TB, sink bridges.Sink) *rig {
	t.Helper()
	r := &rig{t: t, journal: newFakeJournal(), sink: sink, rules: []uint32{1}}
	r.path = filepath.Join(t.TempDir(), "dead-letters")
	r.openDead(0)
	return r
}

func (r *rig) openDead(maxBytes int64) {
	r.t.Helper()
	if r.dead != nil {
		r.dead.Close()
	}
	var err error
	r.dead, err = deadletter.Open(deadletter.Options{Dir: r.path, MaxBytes: maxBytes})
	if err != nil {
		r.t.Fatal(err)
	}
	dead := r.dead
	r.t.Cleanup(func() { dead.Close() })
}

func (r *rig) build() *pipelines.Lane {
	r.t.Helper()
	feed := &fakeFeed{rules: r.evaluators().Rules()}
	r.journal.mu.Lock()
	r.journal.feeds[7] = feed
	r.journal.mu.Unlock()
	lane, err := pipelines.NewLane(pipelines.LaneOptions{
		Share: r.share, Paused: r.paused,
		Name: "plant", Number: 7, Journal: r.journal, Evaluators: r.evaluators, Sink: r.sink,
		Delivery: r.config, DeadLetters: r.dead,
		RuleName: ruleName, Receipts: r.receipts, State: r.journal,
		Log: slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{ReplaceAttr: noTime})),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.journal.mu.Lock()
	feed.backlog = lane.Backlog()
	r.journal.mu.Unlock()
	return lane
}

// evaluators is LaneOptions.Evaluators.
func (r *rig) evaluators() pipelines.Evaluator {
	if r.make != nil {
		return r.make()
	}
	return formRules{fakeRules{r.rules}, r.form}
}

// present is the rig's rules as an update has them.
func (r *rig) present() pipelines.Rules {
	then := rig{rules: r.rules, form: r.form, make: r.make}
	return pipelines.Rules{Evaluators: then.evaluators, Name: ruleName}
}

func ruleName(n uint32) string { return "rule-" + strconv.Itoa(int(n)) }

func noTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// start runs the lane.
func (r *rig) start() {
	r.t.Helper()
	r.lane = r.build()
	if r.before != nil {
		r.before(r.lane)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	r.cancel, r.ended = cancel, make(chan error, 1)
	lane := r.lane
	go func() { r.ended <- lane.Run(ctx) }()
}

// stop ends the lane and returns what Run said.
func (r *rig) stop() error {
	r.cancel()
	return r.end()
}

// end waits for the end of Run and returns what it said. The account must
// balance then, whatever happened (C22).
func (r *rig) end() error {
	err := <-r.ended
	pipelines.AssertBalanced(r.t, r.lane.Account())
	return err
}

// total returns the sums of the lane's account, which must balance.
func (r *rig) total() pipelines.RuleAccount {
	r.t.Helper()
	a := r.lane.Account()
	pipelines.AssertBalanced(r.t, a)
	return a.Total()
}

// owed returns the lane's backlog.
func (r *rig) owed() [2]int64 {
	b := r.lane.Backlog()
	return [2]int64{b.Messages(), b.Bytes()}
}

// crash ends the lane so that nothing it does from now on is stored.
func (r *rig) crash() {
	r.t.Helper()
	r.journal.hold(true)
	_ = r.stop()
	j := r.journal
	j.lose(j.Stored())
	j.hold(false)
}

// order returns the values confirmed of one key.
func (r *rig) order(key string) []string {
	s, ok := r.sink.(*fakeSink)
	if !ok {
		s = &r.sink.(*shardedSink).fakeSink
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.gotBy[key])
}
