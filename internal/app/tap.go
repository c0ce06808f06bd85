package app

import (
	"context"
	"fmt"
	"net/url"
	"time"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/inspect"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/rules"
)

// A Tapped is a line of `tap`: a message that came in, or a record that a rule
// makes of it for a sink.
type Tapped struct {
	Time          time.Time       `json:"time"`
	ID            string          `json:"id,omitempty"` // of messages that are stored
	Client        string          `json:"client,omitempty"`
	Topic         string          `json:"topic,omitempty"`
	QoS           byte            `json:"qos"`
	Retain        bool            `json:"retain,omitempty"`
	Payload       string          `json:"payload,omitempty"` // as text
	PayloadBase64 []byte          `json:"payload_base64,omitempty"`
	Rule          string          `json:"rule,omitempty"`
	Sink          string          `json:"sink,omitempty"`
	Record        *inspect.Record `json:"record,omitempty"`
	Error         string          `json:"error,omitempty"`
	LeftOut       uint64          `json:"left_out,omitempty"` // alone on its line: so many before were not shown
}

// tapRate is how many lines a second a tap shows.
const tapRate = 100

// A tap shows some of what passes.
type tap struct {
	emit  func(any) error
	limit int
	shown int
	left  uint64
	until time.Time // of the second at hand
	room  int       // lines of it
	err   error
	end   context.CancelFunc
}

// line shows a line, unless there were enough in this second.
func (t *tap) line(l *Tapped, now time.Time) {
	if t.err != nil {
		return
	}
	if now.After(t.until) {
		t.until, t.room = now.Add(time.Second), tapRate
		if t.left > 0 {
			t.show(&Tapped{Time: now.UTC(), LeftOut: t.left})
			t.left = 0
		}
	}
	if t.room == 0 {
		t.left++
		return
	}
	t.room--
	t.show(l)
	if t.shown++; t.shown == t.limit {
		t.end()
	}
}

func (t *tap) show(l *Tapped) {
	if t.err = t.emit(l); t.err != nil {
		t.end()
	}
}

func (a *App) answerTap(ctx context.Context, q url.Values, emit func(any) error) error {
	limit, err := numberOf(q, "limit")
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	t := &tap{emit: emit, limit: limit, end: end}
	see, err := a.tapper(t, q.Get("rule"), q.Get("sink"))
	if err != nil {
		return err
	}
	filter := q.Get("topic")
	if filter == "" {
		filter = "#"
	}
	cancel := a.broker.Watch(filter, see)
	<-ctx.Done()
	cancel()
	return t.err
}

// tapper returns what shows messages, or what the rules asked for make of them.
func (a *App) tapper(t *tap, rule, sink string) (func(*message.Message), error) {
	if rule == "" && sink == "" {
		return func(m *message.Message) { t.line(newTapped(m), time.Now()) }, nil
	}
	set := a.loaded.Load().Set
	var taps []tapped
	for name, list := range set.Lanes() {
		for _, r := range list {
			if (rule == "" || r.Name == rule) && (sink == "" || name == sink) {
				taps = append(taps, tapped{r, name, set.Evaluator(name)})
			}
		}
	}
	if len(taps) == 0 {
		return nil, fmt.Errorf("no rule %q has an output to a sink %q", rule, sink)
	}
	return func(m *message.Message) {
		for i := range taps {
			taps[i].show(t, m)
		}
	}, nil
}

// tapped is a rule and a sink that a tap is on.
type tapped struct {
	rule      rules.LaneRule
	sink      string
	evaluator *rules.Evaluator
}

func (p *tapped) show(t *tap, m *message.Message) {
	if !p.evaluator.Matches(p.rule.Number, m) {
		return
	}
	var out message.Outcome
	p.evaluator.Evaluate(p.rule.Number, m, &out)
	for i := range out.Errors {
		l := newTapped(m)
		l.Rule, l.Sink, l.Error = p.rule.Name, p.sink, out.Errors[i].Err.Error()
		t.line(l, time.Now())
	}
	for i := range out.Records {
		l := newTapped(m)
		l.Rule, l.Sink, l.Record = p.rule.Name, p.sink, inspect.NewRecord(&out.Records[i])
		t.line(l, time.Now())
	}
}

func newTapped(m *message.Message) *Tapped {
	l := &Tapped{Time: m.Time(), Client: m.Client, Topic: m.Topic, QoS: m.QoS, Retain: m.Retain}
	if m.ID.Offset != 0 {
		l.ID = m.ID.String()
	}
	if utf8.Valid(m.Payload) {
		l.Payload = string(m.Payload)
	} else {
		l.PayloadBase64 = m.Payload
	}
	return l
}
