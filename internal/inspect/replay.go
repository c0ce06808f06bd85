package inspect

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/rules"
)

// ReplayOptions says what to replay: the messages received in [From, To) whose
// topic a rule wants, whether or not it was there when they came.
type ReplayOptions struct {
	From, To time.Time // zero To: to the end
	Rule     string    // "" for every rule with an output to Sink
	Sink     string    // "" for every sink of Rule
	// Send hands records to a sink and returns what became of each, in order:
	// "" for delivered, or why not. nil: a dry run, in which nothing is sent.
	Send func(ctx context.Context, sink string, records []message.Record) ([]string, error)
	Run  string // names the replay in the ids of what is sent (C17)
	// All also shows messages of which a rule makes now what it made then.
	All bool
}

// A Replayed is what a rule makes of one message now, for one sink.
type Replayed struct {
	ID       string    `json:"id"`
	Received time.Time `json:"received"`
	Topic    string    `json:"topic"`
	Rule     string    `json:"rule"`
	Sink     string    `json:"sink"`
	Result   string    `json:"result"` // filtered, would be sent, delivered, refused, rule error
	Reason   string    `json:"reason,omitempty"`
	Records  []Record  `json:"records,omitempty"`
	// Then is set in a dry run: same, changed, new or gone, against what the
	// rule made of it when it was evaluated first.
	Then string             `json:"then,omitempty"`
	Diff []rules.Difference `json:"diff,omitempty"`
}

// A Record is what a sink gets, or would.
type Record struct {
	Topic   string            `json:"topic"`
	Key     *string           `json:"key"`
	Value   *string           `json:"value"` // nil: null
	Headers map[string]string `json:"headers,omitempty"`
}

// ReplaySummary ends a replay.
type ReplaySummary struct {
	Messages  int    `json:"messages"` // read
	Filtered  int    `json:"filtered"`
	Records   int    `json:"records"`
	Delivered int    `json:"delivered"`
	Refused   int    `json:"refused"`
	Errors    int    `json:"rule_errors"`
	Same      int    `json:"same"` // dry run, messages
	Changed   int    `json:"changed"`
	New       int    `json:"new"`
	Gone      int    `json:"gone"`
	Run       string `json:"run,omitempty"`
}

// replayBatch is how many records are handed to the sinks at once.
const replayBatch = 256

// What came of a line.
const (
	resultFiltered  = "filtered"
	resultWould     = "would be sent"
	resultDelivered = "delivered"
	resultRefused   = "refused"
	resultError     = "rule error"
)

var errNothingToReplay = errors.New("say what to replay: a rule, a sink, or both")

// Replay takes a stretch of the journal through today's rules.
func Replay(ctx context.Context, a *journal.Archive, set *rules.Set, o ReplayOptions, emit func(*Replayed) error) (ReplaySummary, error) {
	r, err := newReplay(a, set, o, emit)
	if err != nil {
		return ReplaySummary{}, err
	}
	reader := a.Reader(a.Seek(o.From))
	defer reader.Close()
	for ctx.Err() == nil {
		f, ok, err := reader.Next()
		if !ok || err != nil {
			return r.end(ctx, err)
		}
		if f.Kind() != journal.KindMessage {
			continue
		}
		if !o.To.IsZero() && !f.Time().Before(o.To) {
			return r.end(ctx, nil)
		}
		if err := r.message(ctx, f); err != nil {
			return r.end(ctx, err)
		}
	}
	return r.end(ctx, ctx.Err())
}

// A replay is one run of Replay.
type replay struct {
	o     ReplayOptions
	pairs []pair
	then  *history // nil: things are sent
	emit  func(*Replayed) error
	sum   ReplaySummary

	lines   []*line // not emitted yet
	records int     // of them
	m       message.Message
	out     message.Outcome
}

// A pair is a rule and a sink it has an output to.
type pair struct {
	rule      rules.LaneRule
	sink      string
	evaluator *rules.Evaluator
}

// A line is a Replayed on its way, with the records that are to be sent.
type line struct {
	Replayed
	records []message.Record
}

func newReplay(a *journal.Archive, set *rules.Set, o ReplayOptions, emit func(*Replayed) error) (*replay, error) {
	if o.Rule == "" && o.Sink == "" {
		return nil, errNothingToReplay
	}
	r := &replay{o: o, emit: emit, sum: ReplaySummary{Run: o.Run}}
	for sink, list := range set.Lanes() {
		for _, rule := range list {
			if (o.Sink == "" || sink == o.Sink) && (o.Rule == "" || rule.Name == o.Rule) {
				r.pairs = append(r.pairs, pair{rule, sink, set.Evaluator(sink)})
			}
		}
	}
	if len(r.pairs) == 0 {
		return nil, fmt.Errorf("no rule %q has an output to a sink %q", o.Rule, o.Sink)
	}
	slices.SortFunc(r.pairs, func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.rule.Number, b.rule.Number), cmp.Compare(a.sink, b.sink))
	})
	var err error
	if o.Send == nil {
		r.then, err = newHistory(a)
	}
	return r, err
}

// message takes one message through the rules.
func (r *replay) message(ctx context.Context, f journal.Frame) error {
	if err := f.Message(&r.m); err != nil {
		return nil //nolint:nilerr // verify tells; a replay passes it by, as a lane does
	}
	r.sum.Messages++
	for i := range r.pairs {
		r.evaluate(&r.pairs[i], f)
	}
	if r.records >= replayBatch || len(r.lines) >= replayBatch {
		return r.flush(ctx)
	}
	return nil
}

func (r *replay) evaluate(p *pair, f journal.Frame) {
	if !p.evaluator.Matches(p.rule.Number, &r.m) {
		return
	}
	r.out = message.Outcome{} // lines keep its records
	p.evaluator.Evaluate(p.rule.Number, &r.m, &r.out)
	l := &line{Replayed: Replayed{ID: r.m.ID.String(), Received: r.m.Time(), Topic: r.m.Topic, Rule: p.rule.Name, Sink: p.sink}}
	switch {
	case len(r.out.Errors) > 0:
		e := &r.out.Errors[0]
		l.Result, l.Reason = resultError, e.Kind+": "+e.Err.Error()
		r.sum.Errors++
	case r.out.Filtered:
		l.Result = resultFiltered
		r.sum.Filtered++
	default:
		l.Result = resultWould
	}
	for i := range r.out.Records {
		record := &r.out.Records[i]
		r.name(record)
		l.Records = append(l.Records, *NewRecord(record))
	}
	l.records = r.out.Records
	r.sum.Records += len(l.records)
	if r.then != nil {
		r.compare(p, f, l)
	}
	r.lines, r.records = append(r.lines, l), r.records+len(l.records)
}

// name puts the run at the end of a record's id, also where the record says it
// (C17).
func (r *replay) name(record *message.Record) {
	if r.o.Run == "" {
		return
	}
	old := record.AppendID(nil)
	record.Run = r.o.Run
	for i := range record.Headers {
		if h := &record.Headers[i]; h.Name == rules.IDHeader && bytes.Equal(h.Value, old) {
			h.Value = record.AppendID(nil)
		}
	}
}

// compare says how a line differs from what the rule made of the message then.
func (r *replay) compare(p *pair, f journal.Frame, l *line) {
	old, known := r.then.records(p, f, &r.m)
	switch {
	case len(old) == 0 && len(l.records) == 0:
		if known {
			r.sum.Same++
		}
		return
	case len(old) == 0:
		l.Then = "new"
		r.sum.New++
		return
	case len(l.records) == 0:
		l.Then = "gone"
		r.sum.Gone++
	default:
		l.Then = "changed"
		r.sum.Changed++
	}
	list := rules.DiffRecords(old, l.records)
	l.Diff = slices.DeleteFunc(list, func(d rules.Difference) bool { return d.Kind == rules.DiffSame })
	if l.Then == "changed" && len(l.Diff) == 0 {
		l.Then = "same"
		r.sum.Changed--
		r.sum.Same++
	}
}

// flush sends what waits and emits its lines.
func (r *replay) flush(ctx context.Context) error {
	if r.o.Send != nil {
		if err := r.send(ctx); err != nil {
			return err
		}
	}
	for _, l := range r.lines {
		if l.shown(r.o.All) {
			if err := r.emit(&l.Replayed); err != nil {
				return err
			}
		}
	}
	r.lines, r.records = r.lines[:0], 0
	return nil
}

// shown reports whether a line is worth a look.
func (l *line) shown(all bool) bool {
	return all || l.Result == resultRefused || l.Result == resultError ||
		l.Result == resultDelivered || l.Then == "changed" || l.Then == "new" || l.Then == "gone"
}

// send hands each sink its records, and enters what became of them.
func (r *replay) send(ctx context.Context) error {
	for _, sink := range r.sinks() {
		var records []message.Record
		var of []*line
		for _, l := range r.lines {
			if l.Sink != sink {
				continue
			}
			records = append(records, l.records...)
			for range l.records {
				of = append(of, l)
			}
		}
		if len(records) == 0 {
			continue
		}
		fates, err := r.o.Send(ctx, sink, records)
		for i, why := range fates {
			r.fate(of[i], why)
		}
		if err != nil {
			return fmt.Errorf("send to %s: %w", sink, err)
		}
	}
	return nil
}

func (r *replay) sinks() (list []string) {
	for i := range r.pairs {
		if !slices.Contains(list, r.pairs[i].sink) {
			list = append(list, r.pairs[i].sink)
		}
	}
	return list
}

// fate enters what became of one record of a line: "" is delivered.
func (r *replay) fate(l *line, why string) {
	if why == "" {
		r.sum.Delivered++
		if l.Result == resultWould {
			l.Result = resultDelivered
		}
		return
	}
	r.sum.Refused++
	l.Result, l.Reason = resultRefused, why
}

func (r *replay) end(ctx context.Context, err error) (ReplaySummary, error) {
	if err == nil {
		err = r.flush(ctx)
	}
	return r.sum, err
}

// NewRecord returns a record as people see it.
func NewRecord(r *message.Record) *Record {
	out := &Record{Topic: r.Topic}
	if r.Key != nil {
		out.Key = new(string(r.Key))
	}
	if !r.Null {
		out.Value = new(string(r.Value))
	}
	for _, h := range r.Headers {
		if out.Headers == nil {
			out.Headers = map[string]string{}
		}
		out.Headers[h.Name] = string(h.Value)
	}
	return out
}
