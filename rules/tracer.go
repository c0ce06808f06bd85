package rules

import (
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/message"
)

// A tracer notes what an Evaluator does with one message, for Explain. An
// Evaluator at work for a lane has none.
type tracer struct {
	rule      RuleExplained
	condition *ConditionExplained // the last one that was tried and not yet placed
}

// explain evaluates one rule and returns what happened.
func (e *Evaluator) explain(number uint32, m *message.Message, ack message.Ack) RuleExplained {
	r := e.rules[number].rule
	t := &tracer{rule: RuleExplained{
		Number: number, Rule: r.name, Shadow: r.shadow, Ack: ackText(ack), Filters: r.config.From, Result: ResultNoMatch,
	}}
	e.trace = t
	defer func() { e.trace = nil }()
	var out message.Outcome
	e.Evaluate(number, m, &out)
	if t.rule.Filter != "" {
		t.rule.Result = result(&out)
	}
	if r.where != nil && len(t.rule.Outputs) == 0 {
		t.rule.Where = t.take()
	}
	return t.rule
}

func result(out *message.Outcome) string {
	switch {
	case len(out.Records) > 0:
		return ResultRecords
	case len(out.Errors) > 0:
		return ResultFailed
	case out.Missing:
		return ResultMissing
	}
	return ResultFiltered
}

func ackText(a message.Ack) string {
	if a.Within > 0 {
		return a.Level.String() + " within " + a.Within.String()
	}
	return a.Level.String()
}

func (t *tracer) take() *ConditionExplained {
	c := t.condition
	t.condition = nil
	return c
}

// matched notes the filter that matches and its captures.
func (t *tracer) matched(e *Evaluator, filter int) {
	t.rule.Filter = e.rule.config.From[filter]
	for i, c := range e.rule.scope.captures {
		t.rule.Captures = append(t.rule.Captures, Capture{c.name, strings.Clone(e.captures[i])})
	}
}

// tried notes how a condition turned out.
func (t *tracer) tried(e *Evaluator, c *condition, met, missing bool, failed *fault) {
	var r reads
	r.condition(c)
	t.condition = &ConditionExplained{Text: c.text, Met: met, Missing: missing, Error: faultOf(failed), Reads: r.fields(e)}
}

// begun notes that the outputs' turn has come.
func (t *tracer) begun(r *rule) {
	if r.where != nil {
		t.rule.Where = t.take()
	}
}

// made notes what an output added to out, whose records and errors were so
// many before.
func (t *tracer) made(e *Evaluator, o *numbered, out *message.Outcome, records, errors int) {
	x := OutputExplained{Index: o.index, Number: o.number, Sink: o.sink.Name, When: t.take()}
	if x.When == nil || x.When.Met {
		var r reads
		r.output(o.output)
		x.Reads = r.fields(e)
	}
	if len(out.Records) > records {
		x.Record = recordOf(&out.Records[records])
	}
	if len(out.Errors) > errors && (x.When == nil || x.When.Error == nil) {
		if f, ok := out.Errors[errors].Err.(*fault); ok { //nolint:errorlint // ruleError puts it there itself
			x.Error = faultOf(f)
		}
	}
	t.rule.Outputs = append(t.rule.Outputs, x)
}

func faultOf(f *fault) *Fault {
	if f == nil {
		return nil
	}
	return &Fault{Kind: f.kind, Text: f.Error()}
}

func recordOf(r *message.Record) *RecordExplained {
	x := &RecordExplained{
		Topic: r.Topic, Key: slices.Clone(Bytes(r.Key)), Value: slices.Clone(Bytes(r.Value)), Null: r.Null, Optional: r.Optional,
	}
	for _, h := range r.Headers {
		x.Headers = append(x.Headers, HeaderExplained{h.Name, slices.Clone(h.Value)})
	}
	return x
}

// reads collects the fields of the payload that something reads.
type reads struct {
	slots []int
	whole bool
}

func (r *reads) condition(c *condition) {
	r.slots, r.whole = append(r.slots, c.slots...), r.whole || c.whole
}

func (r *reads) variable(v variable) {
	if v.source == fromSlot {
		r.slots = append(r.slots, v.index)
	}
}

func (r *reads) program(p *program) {
	for _, l := range p.loads {
		r.variable(l.variable)
	}
	r.whole = r.whole || p.whole
}

func (r *reads) template(t *template) {
	if t == nil {
		return
	}
	for _, p := range t.pieces {
		r.piece(p.value, p.code)
	}
}

func (r *reads) piece(v variable, code *program) {
	if code != nil {
		r.program(code)
	} else {
		r.variable(v)
	}
}

func (r *reads) output(o *output) {
	r.template(o.topic)
	r.template(o.key)
	if o.value != nil {
		for _, p := range o.value.parts {
			r.piece(p.value, p.code)
		}
	}
	for _, h := range o.headers {
		r.template(h.value)
	}
	r.template(o.order)
}

// fields returns the fields with the values they have, those that were looked
// at.
func (r *reads) fields(e *Evaluator) []Field {
	var list []Field
	if r.whole && e.decoded {
		list = append(list, Field{Name: "payload"})
	}
	if !e.scanned || e.scanErr != nil {
		return list
	}
	slices.Sort(r.slots)
	for _, slot := range slices.Compact(r.slots) {
		f := Field{Name: e.rule.scope.fields[slot], Absent: e.slots[slot].Missing()}
		if !f.Absent {
			f.Value, _ = e.writeSlot(nil, e.slots[slot])
		}
		list = append(list, f)
	}
	return list
}
