package inspect

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines/deadletter"
	"github.com/penstock/penstock/rules"
)

// A Question asks what became of messages: of the one with an ID, or of those
// of a client or a topic in a stretch of time.
type Question struct {
	ID       string // a message id, or a record id, which begins with one
	Client   string
	Topic    string    // a filter
	From, To time.Time // zero To: to the end
	Limit    int       // answers; 0: all
}

// An Answer is what became of one message.
type Answer struct {
	ID      string             `json:"id"`
	Offset  uint64             `json:"offset"`
	Message *deadletter.Record `json:"message"`
	Rules   []RuleAnswer       `json:"rules"` // that wanted it when it came in
}

// A RuleAnswer is what one rule made of a message, and where that is now.
type RuleAnswer struct {
	Rule string `json:"rule"`
	// Explained is what the rule makes of the message now.
	Explained rules.RuleExplained `json:"explained"`
	Lanes     []Fate              `json:"lanes"`
}

// States of a Fate.
const (
	StatePending    = "pending"     // not settled
	StateDelivered  = "delivered"   // the sink confirmed it
	StateFiltered   = "filtered"    // there was nothing to deliver
	StateDeadLetter = "dead letter" // kept with its cause
	StateDropped    = "dropped"
	StateFailed     = "failed" // a rule error whose letter is not there any more, or was never made
)

// A Fate is what became of a message in one lane.
type Fate struct {
	Sink   string `json:"sink"`
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	// Settled is the receipt of the newest message at the time the lane's cursor
	// first said that it had settled this one.
	Settled  time.Time `json:"settled,omitzero"`
	Attempts int       `json:"attempts,omitempty"`
	Error    string    `json:"last_error,omitempty"`
	Letters  []uint64  `json:"letters,omitempty"` // numbers of dead letters
}

// Sources is where answers come from.
type Sources struct {
	Archive *journal.Archive
	Rules   *rules.Set // nil: nothing is explained
	Letters func(deadletter.Filter) iter.Seq2[deadletter.Letter, error]
	// Live asks the lane of a sink about a message. settled: it is, whatever the
	// archive's cursor says; a nil Fate: nobody knows more. nil: nothing runs.
	Live func(ctx context.Context, sink string, offset uint64) (fate *Fate, settled bool, err error)
}

var errNoQuestion = errors.New("name a message id, or a client or a topic")

// Why answers a question, message by message.
func Why(ctx context.Context, s Sources, q Question, emit func(*Answer) error) error {
	if q.ID != "" {
		return s.one(ctx, q.ID, emit)
	}
	if q.Client == "" && q.Topic == "" {
		return errNoQuestion
	}
	w := newInquest(s)
	r := s.Archive.Reader(s.Archive.Seek(q.From))
	defer r.Close()
	for n := 0; q.Limit == 0 || n < q.Limit; {
		f, ok, err := r.Next()
		if !ok || err != nil || ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		if f.Kind() != journal.KindMessage {
			continue
		}
		if !q.To.IsZero() && !f.Time().Before(q.To) {
			return nil
		}
		var m message.Message
		if f.Message(&m) != nil || !matches(q.Topic, q.Client, m.Topic, m.Client) {
			continue
		}
		n++
		if err := w.answer(ctx, f, &m, emit); err != nil {
			return err
		}
	}
	return nil
}

// one answers for the message with an id.
func (s *Sources) one(ctx context.Context, text string, emit func(*Answer) error) error {
	text, _, _ = strings.Cut(text, ".")
	id, err := message.ParseID(text)
	if err != nil {
		return err
	}
	if id.Journal != s.Archive.ID() {
		return fmt.Errorf("message %s belongs to another journal; this one's ids begin with %s", text, prefix(s.Archive.ID()))
	}
	r := s.Archive.Reader(id.Offset)
	defer r.Close()
	for {
		f, ok, err := r.Next()
		if err != nil {
			return err
		}
		if !ok || f.Offset() > id.Offset {
			return fmt.Errorf("message %s is not in the journal: it was settled and not kept (journal: {keep: ...}), or is not stored yet", text)
		}
		if f.Kind() != journal.KindMessage || f.Offset() < id.Offset {
			continue
		}
		var m message.Message
		if err := f.Message(&m); err != nil {
			return err
		}
		if m.ID != id {
			return fmt.Errorf("message %s is not in the journal: its offset is that of %s", text, m.ID)
		}
		return newInquest(*s).answer(ctx, f, &m, emit)
	}
}

// prefix is how the ids of a journal's messages begin.
func prefix(id uint64) string {
	text, _, _ := strings.Cut(message.ID{Journal: id}.String(), "-")
	return text
}

// An inquest finds out about messages of one archive.
type inquest struct {
	Sources
	names   names
	numbers map[string]uint32 // of lanes
	cursors map[uint32]journal.Cursor
	feeds   map[string][]rules.LaneRule
}

func newInquest(s Sources) *inquest {
	w := &inquest{Sources: s, names: newNames(s.Archive), numbers: s.Archive.Names("lane"), cursors: s.Archive.Cursors()}
	if s.Rules != nil {
		w.feeds = s.Rules.Lanes()
	}
	return w
}

func (w *inquest) answer(ctx context.Context, f journal.Frame, m *message.Message, emit func(*Answer) error) error {
	a := &Answer{ID: m.ID.String(), Offset: f.Offset(), Message: deadletter.NewRecord(m)}
	for _, number := range f.Rules(nil) {
		r := RuleAnswer{Rule: w.names.rules[number], Explained: rules.RuleExplained{Number: number, Result: rules.ResultGone}}
		if w.Rules != nil {
			r.Explained = w.Rules.Explain(m, number).Rules[0]
		}
		for _, sink := range w.sinks(number) {
			fate, err := w.fate(ctx, &r, sink, m)
			if err != nil {
				return err
			}
			r.Lanes = append(r.Lanes, fate)
		}
		a.Rules = append(a.Rules, r)
	}
	return emit(a)
}

// sinks returns whom a rule feeds, or fed when a cursor was stored last.
func (w *inquest) sinks(rule uint32) []string {
	found := map[string]bool{}
	for sink, list := range w.feeds {
		found[sink] = found[sink] || slices.ContainsFunc(list, func(r rules.LaneRule) bool { return r.Number == rule })
	}
	for lane, c := range w.cursors {
		found[w.names.lanes[lane]] = found[w.names.lanes[lane]] || slices.Contains(c.Rules, rule)
	}
	maps.DeleteFunc(found, func(_ string, feeds bool) bool { return !feeds })
	return slices.Sorted(maps.Keys(found))
}

// fate finds out what became of a message in one lane: what the lane itself
// says comes first, then the dead letters, then what its cursors say.
func (w *inquest) fate(ctx context.Context, r *RuleAnswer, sink string, m *message.Message) (Fate, error) {
	fate := Fate{Sink: sink, State: StatePending}
	if err := w.letters(r.Rule, m, &fate); err != nil {
		return fate, err
	}
	if len(fate.Letters) > 0 {
		return fate, nil
	}
	c, ok := w.cursors[w.numbers[sink]]
	done := ok && settles(&c, m.ID.Offset)
	if w.Live != nil && !done {
		live, settled, err := w.Live(ctx, sink, m.ID.Offset)
		if err != nil {
			return fate, err
		}
		if live != nil {
			return *live, nil
		}
		done = settled
	}
	if !done {
		return fate, nil
	}
	dropped, err := w.settled(ctx, w.numbers[sink], m.ID.Offset, &fate)
	switch {
	case dropped:
		fate.State = StateDropped
	default:
		fate.State = stateOf(r.Explained.Result)
	}
	return fate, err
}

// stateOf is what a settled message without letter or drop became.
func stateOf(result string) string {
	switch result {
	case rules.ResultFiltered, rules.ResultMissing, rules.ResultNoMatch:
		return StateFiltered
	case rules.ResultFailed:
		return StateFailed
	}
	return StateDelivered
}

// letters looks for the message among the dead letters.
func (w *inquest) letters(rule string, m *message.Message, fate *Fate) error {
	if w.Letters == nil {
		return nil
	}
	id := m.ID.String() + "."
	for l, err := range w.Letters(deadletter.Filter{Rule: rule, Sink: fate.Sink, Since: m.Time()}) {
		if err != nil {
			return err
		}
		if strings.HasPrefix(l.ID, id) {
			fate.State, fate.Reason, fate.Attempts, fate.Error = StateDeadLetter, l.Reason, l.Attempts, l.Error
			fate.Letters = append(fate.Letters, l.Seq)
		}
	}
	return nil
}

// settles reports whether a cursor says that an offset is settled.
func settles(c *journal.Cursor, offset uint64) bool {
	return offset < c.Low || covers(c.Settled, offset)
}

func covers(ranges []journal.Range, offset uint64) bool {
	return slices.ContainsFunc(ranges, func(r journal.Range) bool { return r.First <= offset && offset <= r.Last })
}

// settled looks for the lane's first cursor that says the offset is settled:
// it tells when that was, and whether the lane gave something of it up.
func (w *inquest) settled(ctx context.Context, lane uint32, offset uint64, fate *Fate) (dropped bool, err error) {
	r := w.Archive.Reader(offset)
	defer r.Close()
	var at time.Time
	for ctx.Err() == nil {
		f, ok, err := r.Next()
		if !ok || err != nil {
			return false, err
		}
		switch f.Kind() {
		case journal.KindMessage:
			at = f.Time()
		case journal.KindCursor:
			number, c, err := f.Cursor()
			if err != nil || number != lane || !settles(&c, offset) {
				continue
			}
			fate.Settled = utc(at)
			for _, d := range c.Dropped {
				if covers(d.Ranges, offset) {
					fate.Reason = d.Reason
					return true, nil
				}
			}
			return false, nil
		default:
		}
	}
	return false, ctx.Err()
}
