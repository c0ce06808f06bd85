package inspect

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines/deadletter"
	"github.com/penstock/penstock/rules"
)

// An inquest finds out about messages of one archive.
type inquest struct {
	Sources
	names   names
	numbers map[string]uint32 // of lanes
	cursors map[uint32]journal.Cursor
	feeds   map[string][]rules.LaneRule
	then    *history
}

func newInquest(s Sources) (*inquest, error) {
	then, err := newHistory(s.Archive)
	if err != nil {
		return nil, err
	}
	w := &inquest{
		Sources: s, names: newNames(s.Archive), numbers: s.Archive.Names("lane"), cursors: s.Archive.Cursors(), then: then,
	}
	if s.Rules != nil {
		w.feeds = s.Rules.Lanes()
	}
	return w, nil
}

func (w *inquest) answer(ctx context.Context, f journal.Frame, m *message.Message, emit func(*Answer) error) error {
	a := &Answer{ID: m.ID.String(), Offset: f.Offset(), Message: deadletter.NewRecord(m)}
	for _, number := range f.Rules(nil) {
		r := w.rule(number, m)
		for _, sink := range w.sinks(number, m.ID.Offset) {
			fate, known, err := w.fate(ctx, &r, sink, m)
			if err != nil {
				return err
			}
			if known {
				r.Lanes = append(r.Lanes, fate)
			}
		}
		a.Rules = append(a.Rules, r)
	}
	return emit(a)
}

// rule explains what a rule makes of a message, or made of it.
func (w *inquest) rule(number uint32, m *message.Message) RuleAnswer {
	r := RuleAnswer{Rule: w.names.rules[number], Explained: rules.RuleExplained{Number: number, Result: rules.ResultGone}}
	if w.Rules != nil && w.Rules.Name(number) != "" {
		r.Explained = w.Rules.Explain(m, number).Rules[0]
		return r
	}
	if set := w.then.set(number, m.ID.Offset); set != nil {
		r.Explained, r.Past = set.Explain(m, number).Rules[0], true
	}
	return r
}

// sinks returns whom a rule feeds, fed when a message came in, or fed when a
// cursor was stored last.
func (w *inquest) sinks(rule uint32, offset uint64) []string {
	found := map[string]bool{}
	feeds := func(lanes map[string][]rules.LaneRule) {
		for sink, list := range lanes {
			found[sink] = found[sink] || slices.ContainsFunc(list, func(r rules.LaneRule) bool { return r.Number == rule })
		}
	}
	feeds(w.feeds)
	if set := w.then.set(rule, offset); set != nil {
		feeds(set.Lanes())
	}
	for lane, c := range w.cursors {
		found[w.names.lanes[lane]] = found[w.names.lanes[lane]] || slices.Contains(c.Rules, rule)
	}
	maps.DeleteFunc(found, func(_ string, feeds bool) bool { return !feeds })
	return slices.Sorted(maps.Keys(found))
}

// fate finds out what became of a message in one lane: what the dead letters
// say comes first, then the lane itself, then what its cursors say. known is
// false when the message was none of the lane's business.
func (w *inquest) fate(ctx context.Context, r *RuleAnswer, sink string, m *message.Message) (fate Fate, known bool, err error) {
	fate = Fate{Sink: sink, State: StatePending}
	if err := w.letters(r.Rule, m, &fate); err != nil || len(fate.Letters) > 0 {
		return fate, true, err
	}
	c, ok := w.cursors[w.numbers[sink]]
	done := ok && covered(&c, m.ID.Offset)
	if w.Live != nil && !done {
		live, settled, err := w.Live(ctx, sink, m.ID.Offset)
		if err != nil || live != nil {
			return *cmp.Or(live, &fate), true, err
		}
		done = settled
	}
	if !done {
		fate.Reason = w.waits(r.Explained.Number, sink)
		return fate, true, nil
	}
	how, err := w.settled(ctx, w.numbers[sink], m.ID.Offset, &fate)
	switch {
	case err != nil || how.dropped:
		return fate, true, err
	case how.stranger:
		return fate, false, nil
	}
	return fate, w.then.became(r.Explained.Number, m, how.by, &fate), nil
}

// waits says why nobody works on what is pending, "" when somebody may.
func (w *inquest) waits(rule uint32, sink string) string {
	switch {
	case w.Rules == nil:
	case w.Rules.Name(rule) == "":
		return "the rule is not configured any more: it will be a dead letter when the lane comes to it"
	case len(w.feeds[sink]) == 0:
		return "no rule has an output to the sink any more; penstock journal forget drops what it is owed"
	}
	return ""
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

// covered reports whether a cursor says that an offset is settled.
func covered(c *journal.Cursor, offset uint64) bool {
	return offset < c.Low || covers(c.Settled, offset)
}

func covers(ranges []journal.Range, offset uint64) bool {
	return slices.ContainsFunc(ranges, func(r journal.Range) bool { return r.First <= offset && offset <= r.Last })
}

// A settlement is how a lane came to have settled a message.
type settlement struct {
	by       uint64 // offset of the entry that first says so; the newest when none does
	stranger bool   // the lane came into being only after the message
	dropped  bool   // it was given up; the fate says why
}

// settled looks for the lane's first entry that says the offset is settled, and
// enters when that was.
func (w *inquest) settled(ctx context.Context, lane uint32, offset uint64, fate *Fate) (settlement, error) {
	r := w.Archive.Reader(offset)
	defer r.Close()
	var at time.Time
	for ctx.Err() == nil {
		f, ok, err := r.Next()
		if !ok || err != nil {
			return settlement{by: w.Archive.Stored()}, err
		}
		if f.Kind() == journal.KindMessage {
			at = f.Time()
		}
		if s, ok := settles(f, lane, offset, fate); ok {
			if !s.stranger {
				fate.Settled = utc(at)
			}
			return s, nil
		}
	}
	return settlement{}, ctx.Err()
}

// settles reports whether an entry says that a lane has settled an offset.
func settles(f journal.Frame, lane uint32, offset uint64, fate *Fate) (s settlement, ok bool) {
	s.by = f.Offset()
	switch f.Kind() {
	case journal.KindNumber:
		number, kind, _, err := f.Number()
		s.stranger = true
		return s, err == nil && kind == "lane" && number == lane
	case journal.KindForget:
		number, err := f.Forgets()
		if err != nil || number != lane {
			return s, false
		}
		fate.State, fate.Reason, s.dropped = StateDropped, "forgotten", true
		return s, true
	case journal.KindCursor:
		return settledBy(f, lane, offset, fate)
	default:
		return s, false
	}
}

// settledBy is settles for the cursor of a lane.
func settledBy(f journal.Frame, lane uint32, offset uint64, fate *Fate) (s settlement, ok bool) {
	s.by = f.Offset()
	number, c, err := f.Cursor()
	if err != nil || number != lane || !covered(&c, offset) {
		return s, false
	}
	for _, d := range c.Dropped {
		if covers(d.Ranges, offset) {
			fate.State, fate.Reason, s.dropped = StateDropped, d.Reason, true
		}
	}
	return s, true
}
