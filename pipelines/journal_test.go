package pipelines_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
	"github.com/penstock/penstock/pipelines/deadletter"
)

// A world is the real journal on a disk that can lose its power, and a
// destination that remembers.
type world struct {
	t    *testing.T
	disk fault.FS
	dir  string
	log  *slog.Logger

	journal *journal.Journal
	lane    *pipelines.Lane
	number  uint32
	rules   func() pipelines.Evaluator
	dead    pipelines.DeadLetters
	cancel  context.CancelFunc
	ended   chan error

	mu      sync.Mutex
	off     bool           // the power is gone
	seen    map[string]int // by record id: how often it arrived
	offsets map[uint64]bool
	keys    map[string][]uint64 // offsets by key, first arrivals
	values  map[string]string   // by record id
	ids     map[uint64]message.ID
	arrived chan struct{}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{
		t: t, disk: fault.NewMem(), dir: "/j", log: slog.New(slog.DiscardHandler),
		rules: rulesOf(1), values: map[string]string{}, ids: map[uint64]message.ID{},
		seen: map[string]int{}, offsets: map[uint64]bool{}, keys: map[string][]uint64{}, arrived: make(chan struct{}, 1),
	}
}

func (w *world) Open(context.Context) error  { return nil }
func (w *world) Close(context.Context) error { return nil }

func (w *world) Write(_ context.Context, batch []message.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.off {
		return errors.New("no power")
	}
	for i := range batch {
		w.offsets[batch[i].Message.Offset] = true
		w.ids[batch[i].Message.Offset] = batch[i].Message
		id := string(batch[i].AppendID(nil))
		if before, ok := w.values[id]; ok && before != string(batch[i].Value) {
			w.t.Errorf("record %s is %q, and was %q", id, batch[i].Value, before)
		}
		w.values[id] = string(batch[i].Value)
		if w.seen[id]++; w.seen[id] == 1 {
			key := string(batch[i].Key)
			w.keys[key] = append(w.keys[key], batch[i].Message.Offset)
		}
	}
	select {
	case w.arrived <- struct{}{}:
	default:
	}
	return nil
}

func (w *world) journalOpen() {
	w.t.Helper()
	var err error
	w.journal, err = journal.Open(journal.Options{Dir: w.dir, FS: w.disk, MaxBytes: 64 << 20, Log: w.log})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) start() {
	w.t.Helper()
	w.journalOpen()
	var err error
	if w.number, err = w.journal.Number("lane", "plant"); err != nil {
		w.t.Fatal(err)
	}
	w.lane, err = pipelines.NewLane(pipelines.LaneOptions{
		Name: "plant", Number: w.number, Journal: pipelines.FromJournal(w.journal), Evaluators: w.rules, State: w.journal, DeadLetters: w.dead,
		Sink: w, RuleName: func(uint32) string { return "r" }, Log: w.log,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	w.cancel, w.ended = cancel, make(chan error, 1)
	lane := w.lane
	go func() { w.ended <- lane.Run(ctx) }()
}

func (w *world) stop() {
	w.t.Helper()
	w.cancel()
	if err := <-w.ended; err != nil {
		w.t.Error(err)
	}
	pipelines.AssertBalanced(w.t, w.lane.Account())
	if err := w.journal.Close(); err != nil {
		w.t.Error(err)
	}
}

// publish appends n messages in bursts and returns their offsets.
func (w *world) publish(n int) (offsets []uint64) {
	w.t.Helper()
	for n > 0 {
		k := min(n, 50)
		entries := make([]journal.Entry, k)
		for i := range entries {
			m := &message.Message{Client: "c", Topic: fmt.Sprintf("t/%d", (n-i)%20), QoS: 1, Payload: []byte("ok")}
			entries[i] = journal.Entry{Message: m, Rules: []uint32{1, 99}}
		}
		first, err := w.journal.Append(entries)
		if err != nil {
			w.t.Fatal(err)
		}
		for i := range entries {
			offsets = append(offsets, first+uint64(i))
		}
		n -= k
	}
	return offsets
}

func (w *world) distinct() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen)
}

func (w *world) waitFor(n int) {
	for w.distinct() < n {
		<-w.arrived
	}
}

// Everything reaches the sink once, in order, over orderly restarts.
func TestRealJournal(t *testing.T) {
	w := newWorld(t)
	w.dir = t.TempDir()
	w.disk = fault.OS{}
	for round := 1; round <= 3; round++ {
		w.start()
		w.publish(20_000)
		if round == 3 {
			w.waitFor(60_000)
		}
		w.stop()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, n := range w.seen {
		if n != 1 {
			t.Fatalf("record %s came %d times", id, n)
		}
	}
	w.inOrder()
	total := w.lane.Account().Total()
	want(t, "account", []uint64{total.In, total.Delivered, total.Pending}, []uint64{60_000, 60_000, 0})
}

func (w *world) inOrder() {
	for key, offsets := range w.keys {
		for i := 1; i < len(offsets); i++ {
			if offsets[i] < offsets[i-1] {
				w.t.Fatalf("key %s: offset %d came after %d", key, offsets[i], offsets[i-1])
			}
		}
	}
}

// A power failure at a random moment: what was stored arrives, the account
// counts each message once, and what comes twice is bounded (C15).
func TestRealJournalPowerFailure(t *testing.T) {
	for seed := range uint64(12) {
		w := newWorld(t)
		random := rand.New(rand.NewPCG(seed, 0))
		var owed []uint64
		for range 3 {
			w.start()
			before := w.distinct()
			given := w.publish(1 + random.IntN(30_000))
			w.waitFor(before + random.IntN(len(given)))
			owed = append(owed, w.fail(given, random.Uint64())...)
		}
		w.start()
		owed = append(owed, w.publish(10)...)
		w.waitForAll(owed)
		w.stop()
		total := w.lane.Account().Total()
		n := uint64(w.distinct())
		// What was stored and never confirmed to the publisher may still wait.
		want(t, "account", []uint64{total.In, total.Delivered + total.Pending}, []uint64{total.In, total.In})
		if total.In < n {
			t.Errorf("seed %d: %d messages arrived, %d are counted", seed, n, total.In)
		}
		again := 0
		for _, times := range w.seen {
			again += times - 1
		}
		if again > 3*(16384+4*1000) {
			t.Errorf("seed %d: %d records came again after 3 crashes", seed, again)
		}
		w.inOrder()
	}
}

// fail takes the power away and returns which of the offsets given were stored.
func (w *world) fail(given []uint64, seed uint64) (stored []uint64) {
	w.mu.Lock()
	w.off = true // nobody hears of what is written from now on
	w.mu.Unlock()
	mark := w.journal.Stored()
	after := w.disk.(*fault.Mem).Crash(seed)
	w.cancel()
	<-w.ended
	pipelines.AssertBalanced(w.t, w.lane.Account())
	_ = w.journal.Close()
	w.disk, w.off = after, false
	for _, o := range given {
		if o <= mark {
			stored = append(stored, o)
		}
	}
	return stored
}

func (w *world) waitForAll(offsets []uint64) {
	for _, o := range offsets {
		for !w.has(o) {
			<-w.arrived
		}
	}
}

func (w *world) has(offset uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.offsets[offset]
}

// C21 on the real journal: rules that count go on counting after a power
// failure, and every copy of a record holds the same number.
func TestRealJournalKeepsState(t *testing.T) {
	for seed := range uint64(6) {
		w := newWorld(t)
		w.rules = func() pipelines.Evaluator { return newCountingRules(1) }
		random := rand.New(rand.NewPCG(seed, 1))
		for range 3 {
			w.start()
			before := w.distinct()
			given := w.publish(1 + random.IntN(5000))
			if _, err := w.journal.Tick(); err != nil {
				t.Fatal(err)
			}
			w.waitFor(before + random.IntN(len(given)))
			w.fail(given, random.Uint64())
		}
		w.start()
		w.waitForAll(w.publish(100))
		w.stop()
		w.numbered()
	}
}

// numbered expects the records of each topic to be numbered in journal order,
// without a gap.
func (w *world) numbered() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	last := map[string]int{}
	for key, offsets := range w.keys {
		if key == "tick" {
			continue
		}
		for _, o := range offsets {
			id := string(message.AppendRecordID(nil, w.ids[o], 1, 1))
			var n int
			if _, err := fmt.Sscanf(w.values[id], "ok is number %d", &n); err != nil || n != last[key]+1 {
				w.t.Fatalf("%s: record %s is %q after number %d", key, id, w.values[id], last[key])
			}
			last[key] = n
		}
	}
}

// C16 on the real journal: what a rule was still owed when the configuration
// lost it is a dead letter, once, and the journal learns which rules are left.
func TestRealJournalOfARemovedRule(t *testing.T) {
	w := newWorld(t)
	w.rules, w.off = rulesOf(1, 99), true
	store, err := deadletter.Open(deadletter.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	w.dead = store
	w.start()
	w.publish(3000)
	w.stop()
	w.rules, w.off = rulesOf(1), false
	for range 2 {
		w.start()
		w.waitFor(3000)
		w.waitForAll(w.publish(1)) // wanted by 99 too, which is another lane's now
		w.stop()
	}
	n := 0
	for l, err := range store.List(deadletter.Filter{}) {
		if err != nil || l.Kind != deadletter.RuleRemoved || l.RuleNumber != 99 || l.Record == nil {
			t.Fatalf("letter %+v, %v", l, err)
		}
		n++
	}
	want(t, "dead letters", n, 3000)
	w.journalOpen()
	defer w.journal.Close()
	c, _ := w.journal.Cursor(w.number)
	want(t, "rules in the cursor", c.Rules, []uint32{1})
}
