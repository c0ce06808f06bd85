package pipelines_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
)

// passThrough makes one record of a message as cheaply as a rule can.
type passThrough struct{}

func (passThrough) Rules() []uint32 { return []uint32{1} }

func (passThrough) Evaluate(rule uint32, m *message.Message, out *message.Outcome) {
	var h uint64 = 14695981039346656037
	for i := range len(m.Topic) {
		h = (h ^ uint64(m.Topic[i])) * 1099511628211
	}
	out.Records = append(out.Records, message.Record{
		Message: m.ID, Rule: rule, Output: 1, Received: m.Received, Client: m.Client, Topic: m.Topic,
		Value: m.Payload, Order: h,
	})
}

// nullSink confirms everything at once and counts it.
type nullSink struct {
	n    atomic.Int64
	goal int64
	done chan struct{}
}

func (s *nullSink) Open(context.Context) error  { return nil }
func (s *nullSink) Close(context.Context) error { return nil }
func (s *nullSink) Write(_ context.Context, batch []message.Record) error {
	if n := s.n.Add(int64(len(batch))); n >= s.goal && n-int64(len(batch)) < s.goal {
		close(s.done)
	}
	return nil
}

// partitioned is a nullSink with the shards of a topic of 8 partitions.
type partitioned struct{ *nullSink }

func (*partitioned) Shard(r *message.Record) (group, shard, gen uint32) {
	return 1, uint32(r.Order % 8), 1
}

// BenchmarkLane drains a backlog of 200 B messages of 100 topics from the real
// journal.
func BenchmarkLane(b *testing.B) {
	for _, sharder := range []bool{false, true} {
		b.Run(fmt.Sprintf("sharder=%v", sharder), func(b *testing.B) {
			j, err := journal.Open(journal.Options{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer j.Close()
			number, err := j.Number("lane", "bench")
			if err != nil {
				b.Fatal(err)
			}
			if _, err := j.StoreCursor(number, journal.Cursor{Low: 1}); err != nil {
				b.Fatal(err)
			}
			fill(b, j, b.N)
			null := &nullSink{goal: int64(b.N), done: make(chan struct{})}
			var sink bridges.Sink = null
			if sharder {
				sink = &partitioned{nullSink: null}
			}
			drain(b, pipelines.LaneOptions{Journal: pipelines.FromJournal(j), Sink: sink, Evaluators: cheapRules}, asItIs, null.done)
		})
	}
}

// startLane runs a lane until stop; what o lacks is filled in.
func startLane(t testing.TB, o pipelines.LaneOptions, before func(*pipelines.Lane)) (lane *pipelines.Lane, stop func()) {
	t.Helper()
	o.Name, o.Number = "bench", 1
	o.RuleName, o.Log = func(uint32) string { return "bench" }, slog.New(slog.DiscardHandler)
	lane, err := pipelines.NewLane(o)
	if err != nil {
		t.Fatal(err)
	}
	before(lane)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1) // 1: the result of Run
	go func() { ended <- lane.Run(ctx) }()
	return lane, func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
}

// drain times a lane until done.
func drain(b *testing.B, o pipelines.LaneOptions, before func(*pipelines.Lane), done chan struct{}) {
	b.Helper()
	var first, last runtime.MemStats
	runtime.ReadMemStats(&first)
	b.ResetTimer()
	lane, stop := startLane(b, o, before)
	<-done
	b.StopTimer()
	runtime.ReadMemStats(&last)
	stop()
	pipelines.AssertBalanced(b, lane.Account())
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(last.Mallocs-first.Mallocs)/float64(b.N), "allocs/record")
}

func asItIs(*pipelines.Lane) {}

// BenchmarkLaneReceipts is a lane without journal and rule, of whose messages
// nobody, or each publisher, waits for the delivery.
func BenchmarkLaneReceipts(b *testing.B) {
	for name, receipts := range map[string]pipelines.Confirmations{
		"none": nil, "nobody waits": pipelines.NewReceipts(), "all wait": deafConfirmations{},
	} {
		b.Run(name, func(b *testing.B) {
			null := &nullSink{goal: int64(b.N), done: make(chan struct{})}
			o := pipelines.LaneOptions{Journal: newLoopJournal(b.N), Sink: null, Evaluators: cheapRules, Receipts: receipts}
			drain(b, o, asItIs, null.done)
		})
	}
}

// deafConfirmations expect everything and hear nothing.
type deafConfirmations struct{}

func (deafConfirmations) Expects(uint32) bool                 { return true }
func (deafConfirmations) Settle(uint64, uint32, uint32, bool) {}

func cheapRules() pipelines.Evaluator { return passThrough{} }

// BenchmarkLaneBusy is a lane without journal whose rule takes microseconds to
// evaluate, alone and with help.
func BenchmarkLaneBusy(b *testing.B) {
	for _, microseconds := range []int{1, 4, 16} {
		for name, before := range map[string]func(*pipelines.Lane){"alone": (*pipelines.Lane).Alone, "with help": asItIs} {
			b.Run(fmt.Sprintf("%dus/%s", microseconds, name), func(b *testing.B) {
				_, rules := newSlowRules(microseconds * 1000)
				null := &nullSink{goal: int64(b.N), done: make(chan struct{})}
				o := pipelines.LaneOptions{Journal: newLoopJournal(b.N), Sink: null, Evaluators: rules}
				drain(b, o, before, null.done)
			})
		}
	}
}

// A loopJournal hands out the same messages again and again, at no cost: what
// is left is the lane.
type loopJournal struct {
	messages []message.Message
	n        uint64
	cursors  atomic.Uint64
}

func newLoopJournal(n int) *loopJournal {
	j := &loopJournal{n: uint64(n)}
	for i := range 100 {
		j.messages = append(j.messages, message.Message{
			Client: "device", Topic: fmt.Sprintf("plant/%d/telemetry", i), QoS: 1, Payload: make([]byte, 200),
		})
	}
	return j
}

func (j *loopJournal) Stored() uint64                       { return j.n }
func (j *loopJournal) Cursor(uint32) (journal.Cursor, bool) { return journal.Cursor{Low: 1}, true }
func (j *loopJournal) NewReader(uint64) pipelines.Reader    { return &loopReader{j: j} }
func (j *loopJournal) StoreCursor(uint32, journal.Cursor) (uint64, error) {
	j.cursors.Add(1)
	return j.n, nil
}

type loopReader struct {
	j  *loopJournal
	at uint64
}

func (r *loopReader) Next() (uint64, bool, error) {
	if r.at == r.j.n {
		return 0, false, nil
	}
	r.at++
	return r.at, true, nil
}

func (r *loopReader) Rules(dst []uint32) []uint32 { return append(dst, 1) }
func (r *loopReader) Size() int                   { return 300 }
func (r *loopReader) Ready() <-chan struct{}      { return nil }
func (r *loopReader) Close()                      {}
func (r *loopReader) Message(m *message.Message) error {
	*m = r.j.messages[r.at%uint64(len(r.j.messages))]
	m.ID.Offset = r.at
	return nil
}

// BenchmarkLaneAlone is the lane without journal and rule.
func BenchmarkLaneAlone(b *testing.B) {
	for _, sharder := range []bool{false, true} {
		b.Run(fmt.Sprintf("sharder=%v", sharder), func(b *testing.B) {
			j := newLoopJournal(b.N)
			null := &nullSink{goal: int64(b.N), done: make(chan struct{})}
			var sink bridges.Sink = null
			if sharder {
				sink = &partitioned{nullSink: null}
			}
			drain(b, pipelines.LaneOptions{Journal: j, Sink: sink, Evaluators: cheapRules}, asItIs, null.done)
			b.ReportMetric(float64(j.cursors.Load()), "cursors")
		})
	}
}

// fill appends n messages and waits until they are stored.
func fill(b *testing.B, j *journal.Journal, n int) {
	b.Helper()
	payload := make([]byte, 200)
	rules := []uint32{1}
	messages := make([]message.Message, 256)
	entries := make([]journal.Entry, 256)
	var last uint64
	for n > 0 {
		k := min(n, len(entries))
		for i := range k {
			messages[i] = message.Message{
				Client: "device", Topic: fmt.Sprintf("plant/%d/telemetry", (n-i)%100), QoS: 1, Payload: payload,
			}
			entries[i] = journal.Entry{Message: &messages[i], Rules: rules}
		}
		first, err := j.Append(entries[:k])
		if err != nil {
			b.Fatal(err)
		}
		last = first + uint64(k) - 1
		n -= k
	}
	stored := make(chan struct{}, 1)
	j.NotifyStored(func(uint64) {
		select {
		case stored <- struct{}{}:
		default:
		}
	})
	for j.Stored() < last {
		<-stored
	}
}
