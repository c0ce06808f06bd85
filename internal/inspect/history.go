package inspect

import (
	"slices"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/rules"
)

// A history is what rules said at each time.
type history struct {
	a        *journal.Archive
	versions map[uint32][]*version // ascending
}

// A version is what a rule said from an offset on.
type version struct {
	from uint64
	body []byte

	compiled   bool
	set        *rules.Set // nil: it cannot be compiled any more
	evaluators map[string]*rules.Evaluator
}

func newHistory(a *journal.Archive) (*history, error) {
	known, err := readDefinitions(a.Dir())
	if err != nil {
		return nil, err
	}
	h := &history{a: a, versions: map[uint32][]*version{}}
	for rule, list := range known {
		for _, d := range list {
			h.versions[rule] = append(h.versions[rule], &version{from: d.From, body: d.Body, evaluators: map[string]*rules.Evaluator{}})
		}
	}
	return h, nil
}

// records returns what the rule made of a message for a sink when it came in;
// known is false when the rule did not want it, or nobody knows any more.
func (h *history) records(p *pair, f journal.Frame, m *message.Message) (list []message.Record, known bool) {
	if !slices.Contains(f.Rules(nil), p.rule.Number) {
		return nil, false
	}
	v := h.at(p.rule.Number, f.Offset())
	if v == nil {
		return nil, false
	}
	e := h.evaluator(v, p.sink)
	if e == nil {
		return nil, false
	}
	var out message.Outcome
	e.Evaluate(p.rule.Number, m, &out)
	if out.Shadow { // it sent nothing
		return nil, true
	}
	return out.Records, true
}

// at returns what a rule said when an offset was given out.
func (h *history) at(rule uint32, offset uint64) (v *version) {
	for _, x := range h.versions[rule] {
		if x.from <= offset {
			v = x
		}
	}
	return v
}

// set returns a rule as it was when an offset was given out, nil when nobody
// knows.
func (h *history) set(rule uint32, offset uint64) *rules.Set {
	v := h.at(rule, offset)
	if v == nil {
		return nil
	}
	return h.compiled(v)
}

func (h *history) compiled(v *version) *rules.Set {
	if !v.compiled {
		v.compiled = true
		if set, err := rules.CompileOne(v.body); err == nil && set.Number(Numbers(h.a)) == nil {
			v.set = set
		}
	}
	return v.set
}

func (h *history) evaluator(v *version, sink string) *rules.Evaluator {
	set := h.compiled(v)
	if set == nil {
		return nil
	}
	if v.evaluators[sink] == nil {
		v.evaluators[sink] = set.Evaluator(sink)
	}
	return v.evaluators[sink]
}

// became says what became of a message that a lane settled before the offset
// by, without a letter and without giving it up: what its rule said meanwhile
// decides it. known is false when the rule had no output to the sink.
func (h *history) became(rule uint32, m *message.Message, by uint64, fate *Fate) (known bool) {
	asked, first := false, true
	for i, v := range h.versions[rule] {
		list := h.versions[rule]
		if v.from > by || i+1 < len(list) && list[i+1].from <= m.ID.Offset {
			continue // not in force meanwhile
		}
		set := h.compiled(v)
		if set == nil {
			fate.State, fate.Reason = StateSettled, "what the rule said then cannot be compiled any more"
			return true
		}
		asked = true
		if len(set.Lanes()[fate.Sink]) == 0 {
			continue
		}
		state := h.outcome(v, rule, m, fate.Sink)
		if !first && state != fate.State {
			fate.State, fate.Reason = StateSettled, "the rule changed before it was settled, what it said last at the time is not known"
			return true
		}
		fate.State, first = state, false
	}
	if !asked {
		fate.State, fate.Reason = StateSettled, "what the rule said then is not known"
		return true
	}
	return !first
}

// outcome is what a rule in one version made of a message for a sink.
func (h *history) outcome(v *version, rule uint32, m *message.Message, sink string) (state string) {
	var out message.Outcome
	h.evaluator(v, sink).Evaluate(rule, m, &out)
	switch {
	case len(out.Errors) > 0:
		return StateFailed
	case out.Shadow || len(out.Records) == 0:
		return StateFiltered
	}
	return StateDelivered
}
