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
	e := v.evaluator(p.sink, Numbers(h.a))
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

func (v *version) evaluator(sink string, number func(kind, key string) (uint32, error)) *rules.Evaluator {
	if !v.compiled {
		v.compiled = true
		if set, err := rules.CompileOne(v.body); err == nil && set.Number(number) == nil {
			v.set = set
		}
	}
	if v.set == nil {
		return nil
	}
	if v.evaluators[sink] == nil {
		v.evaluators[sink] = v.set.Evaluator(sink)
	}
	return v.evaluators[sink]
}
