package app_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
	"github.com/penstock/penstock/rules"
)

// benchPayload is 200 B of JSON as a machine sends it.
const benchPayload = `{"ts":1767225600123,"machine":"press-07","state":"run","temp":81.25,"speed":1480,"pos":{"x":12.5,"y":-3.75},` +
	`"alarms":[],"operator":"k.meier","batch":"B-2026-0113-77","note":"ok","unit":"mm/s"} `

// benchRules are rules as people write them, from none of the payload to all of it.
var benchRules = map[string]rules.Config{
	"pass":   {Name: "r", From: []string{"plant/{line}/telemetry"}, To: []rules.OutputConfig{{Sink: "out"}}},
	"filter": {Name: "r", From: []string{"plant/{line}/telemetry"}, Where: `payload.temp > 80 && payload.state == "run"`, To: []rules.OutputConfig{{Sink: "out"}}},
	"map": {
		Name: "r", From: []string{"plant/{line}/telemetry"}, Where: `payload.temp > 80 && payload.state == "run"`,
		To: []rules.OutputConfig{{Sink: "out", Value: `{line: line, machine: payload.machine, temp: round(payload.temp, 1), at: received}`}},
	},
	"whole": {Name: "r", From: []string{"plant/{line}/telemetry"}, To: []rules.OutputConfig{{Sink: "out", Value: "payload"}}},
}

// BenchmarkLaneRules is a lane with real rules behind a journal and before a
// sink that cost nothing. Alone evaluates in one goroutine; with help does as it
// sees fit.
func BenchmarkLaneRules(b *testing.B) {
	for _, name := range []string{"pass", "filter", "map", "whole"} {
		b.Run(name+"/alone", func(b *testing.B) { benchmarkLaneRules(b, benchRules[name], true) })
		b.Run(name+"/with help", func(b *testing.B) { benchmarkLaneRules(b, benchRules[name], false) })
	}
}

// remembering says that it has a state, so that a lane gives it no help.
type remembering struct{ *rules.Evaluator }

func (remembering) Checkpoint(dst []byte) []byte { return dst }
func (remembering) Restore([]byte) error         { return nil }
func (remembering) Tick(int64, *message.Outcome) {}

func benchmarkLaneRules(b *testing.B, config rules.Config, alone bool) {
	set, problems := rules.Compile([]rules.Config{config}, []rules.Sink{{Name: "out", Kind: "file"}})
	if problems != nil {
		b.Fatal(problems)
	}
	if err := set.Number(func(string, string) (uint32, error) { return 1, nil }); err != nil {
		b.Fatal(err)
	}
	j := &loopJournal{n: uint64(b.N)}
	for i := range 100 {
		j.messages = append(j.messages, message.Message{
			Client: "device", Topic: fmt.Sprintf("plant/%d/telemetry", i), QoS: 1, Payload: []byte(benchPayload),
		})
	}
	sink := &countingSink{goal: int64(b.N), done: make(chan struct{})}
	lane, err := pipelines.NewLane(pipelines.LaneOptions{
		Name: "out", Number: 1, Journal: j, State: j, Evaluators: func() pipelines.Evaluator {
			if alone {
				return remembering{set.Evaluator("out")}
			}
			return set.Evaluator("out")
		},
		Sink: sink, RuleName: set.Name, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1) // 1: the result of Run
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	go func() { ended <- lane.Run(ctx) }()
	<-sink.done
	b.StopTimer()
	runtime.ReadMemStats(&after)
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	pipelines.AssertBalanced(b, lane.Account())
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N), "allocs/record")
}

// A countingSink confirms everything at once.
type countingSink struct {
	n    atomic.Int64
	goal int64
	done chan struct{}
}

func (s *countingSink) Open(context.Context) error  { return nil }
func (s *countingSink) Close(context.Context) error { return nil }
func (s *countingSink) Write(_ context.Context, batch []message.Record) error {
	if n := s.n.Add(int64(len(batch))); n >= s.goal && n-int64(len(batch)) < s.goal {
		close(s.done)
	}
	return nil
}

// A loopJournal hands out the same messages again and again, at no cost.
type loopJournal struct {
	messages []message.Message
	n        uint64
}

func (j *loopJournal) Stored() uint64                       { return j.n }
func (j *loopJournal) Cursor(uint32) (journal.Cursor, bool) { return journal.Cursor{Low: 1}, true }
func (j *loopJournal) NewReader(uint64) pipelines.Reader    { return &loopReader{j: j} }
func (j *loopJournal) StoreCursor(uint32, journal.Cursor) (uint64, error) {
	return j.n, nil
}

func (j *loopJournal) Save(string, string, uint64, []byte) (uint64, error) { return j.n, nil }
func (j *loopJournal) Load(string, string) ([]byte, bool)                  { return nil, false }

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
func (r *loopReader) WantTicks()                  {}
func (r *loopReader) Tick() (message.ID, int64, bool) {
	return message.ID{}, 0, false
}

func (r *loopReader) Message(m *message.Message) error {
	*m = r.j.messages[r.at%uint64(len(r.j.messages))]
	m.ID.Offset = r.at
	return nil
}
