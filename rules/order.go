package rules

import (
	"fmt"
	"strings"

	"github.com/expr-lang/expr/conf"

	"github.com/penstock/penstock/internal/problem"
)

// orders compiles the order templates of sinks in the scope of each rule that
// feeds them: the captures they may name are the rule's. A mistake is told
// once, however many rules there are.
type orders struct {
	sinks     []Sink
	functions conf.FunctionsTable
	used      []bool
	told      map[string]bool // by path and message
	problems  problem.List
}

func newOrders(sinks []Sink, functions conf.FunctionsTable) *orders {
	return &orders{sinks: sinks, functions: functions, used: make([]bool, len(sinks)), told: map[string]bool{}}
}

// compile returns the template of a sink for a rule, nil for the default.
func (o *orders) compile(sink int, rule string, s *scope) *template {
	text := o.sinks[sink].Order
	if text == "" || o.sinks[sink].Kind == "kafka" { // Kafka's order is the record key (I3)
		return nil
	}
	o.used[sink] = true
	t, _, p := s.template(text)
	if p != nil {
		o.report(sink, rule, *p)
	}
	return t
}

func (o *orders) report(sink int, rule string, p problem.Problem) {
	p.Path = fmt.Sprintf("sinks[%d].order", sink)
	told := p.Path + p.Message
	if o.told[told] {
		return
	}
	o.told[told] = true
	if unknownName(p) {
		p.Message += fmt.Sprintf(" in the rule %q, which feeds the sink", rule)
		if p.Hint == "" {
			p.Hint = "what order names must be a {name} in the filters of every rule with an output to the sink, or a variable such as client"
		}
	}
	o.problems = append(o.problems, p)
}

func unknownName(p problem.Problem) bool { return strings.HasPrefix(p.Message, "unknown name ") }

// finish checks, as far as that goes, what no rule has used, and returns all
// mistakes.
func (o *orders) finish() problem.List {
	for i, s := range o.sinks {
		if o.used[i] || s.Order == "" || s.Kind == "kafka" {
			continue
		}
		if _, _, p := newScope(nil, o.functions).template(s.Order); p != nil && !unknownName(*p) {
			o.report(i, "", *p)
		}
	}
	return o.problems
}
