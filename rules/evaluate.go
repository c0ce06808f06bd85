package rules

import (
	"unsafe"

	"github.com/expr-lang/expr/vm"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/rules/codec"
)

// An Evaluator evaluates the rules of one lane. It keeps what one message
// costs to set up and reuses it for the next.
type Evaluator struct {
	rules   map[uint32]*feed
	numbers []uint32

	// The message at hand.
	m        *message.Message
	rule     *rule
	captures []string
	budget   budget
	slots    []codec.Value
	scanned  bool
	scanErr  error
	decoded  bool
	payload  any
	wholeErr error

	vm      vm.VM
	env     map[string]any
	topics  map[string]string
	name    []byte // scratch for topics and order keys
	headers []message.Header

	trace *tracer // nil but for Explain
}

// A feed is a rule and those of its outputs that a lane serves.
type feed struct {
	*rule
	number  uint32
	outputs []numbered
}

type numbered struct {
	*output
	number uint32
}

func newEvaluator() *Evaluator {
	e := &Evaluator{rules: map[uint32]*feed{}, env: map[string]any{}, topics: map[string]string{}}
	e.vm.MemoryBudget = maxItems
	e.env[budgetName] = &e.budget
	return e
}

// add takes in a rule's outputs to a sink, if there are any; "" is every sink.
func (e *Evaluator) add(r *rule, number uint32, outputs []uint32, sink string) {
	f := &feed{rule: r, number: number}
	for i, o := range r.outputs {
		if sink == "" || o.sink.Name == sink {
			f.outputs = append(f.outputs, numbered{o, outputs[i]})
		}
	}
	if len(f.outputs) > 0 {
		e.rules[number] = f
		e.numbers = append(e.numbers, number)
	}
}

// Rules returns the numbers of the rules with an output to the sink.
func (e *Evaluator) Rules() []uint32 { return e.numbers }

// Evaluate adds to out what the rule makes of the message for the sink. The
// records refer to the message's bytes.
func (e *Evaluator) Evaluate(number uint32, m *message.Message, out *message.Outcome) {
	f := e.rules[number]
	if f == nil || !e.begin(f.rule, m) {
		out.Filtered = true
		return
	}
	out.Shadow = f.shadow
	met, missing, failed := e.met(f.where, "where")
	switch {
	case failed != nil:
		out.Errors = append(out.Errors, ruleError(failed, 0, f.drop))
		return
	case !met:
		out.Filtered, out.Missing = true, missing
		return
	}
	if e.trace != nil {
		e.trace.begun(f.rule)
	}
	left, missed := false, false
	for i := range f.outputs {
		l, m := e.output(f, &f.outputs[i], out)
		left, missed = left || l, missed || m
	}
	out.Filtered = !left
	out.Missing = !left && missed
}

// Matches reports whether the topic of a message is one that the rule wants.
// A message that the journal has for the rule may not match it any more.
func (e *Evaluator) Matches(number uint32, m *message.Message) bool {
	f := e.rules[number]
	return f != nil && e.begin(f.rule, m)
}

// begin prepares for a message; false: its topic is not the rule's any more.
func (e *Evaluator) begin(r *rule, m *message.Message) bool {
	e.m, e.rule = m, r
	e.scanned, e.scanErr = false, nil
	e.decoded, e.payload, e.wholeErr = false, nil, nil
	e.budget.reset()
	if n := len(r.scope.captures); cap(e.captures) < n {
		e.captures = make([]string, n)
	} else {
		e.captures = e.captures[:n]
	}
	for i := range r.filters {
		if r.filters[i].match(m.Topic, e.captures) {
			if e.trace != nil {
				e.trace.matched(e, i)
			}
			return true
		}
	}
	return false
}

// openPayload makes the fields of the payload that the rule reads ready, once
// a message; whole: all of it.
func (e *Evaluator) openPayload(whole bool) error {
	if n := e.rule.scope.paths.Len(); !e.scanned && n > 0 {
		if cap(e.slots) < n {
			e.slots = make([]codec.Value, n)
		}
		e.slots = e.slots[:n]
		e.scanned = true
		e.scanErr = e.rule.scope.paths.Scan(e.m.Payload, e.slots)
	}
	if whole && !e.decoded {
		e.decoded = true
		e.payload, e.wholeErr = codec.Decode(e.m.Payload)
	}
	if n := e.rule.scope.paths.Len(); n > 0 && e.scanErr != nil {
		return e.scanErr
	}
	return e.wholeErr
}

// run runs a program on the message.
func (e *Evaluator) run(p *program) (any, error) {
	for _, l := range p.loads {
		v, err := e.load(l.variable)
		if err != nil {
			return nil, err
		}
		e.env[l.name] = v
	}
	v, err := e.vm.Run(p.code, e.env)
	for _, l := range p.loads {
		e.env[l.name] = nil // it would keep a block of the journal in memory
	}
	return v, err
}

func (e *Evaluator) load(v variable) (any, error) {
	switch v.source {
	case fromQoS:
		return int(e.m.QoS), nil
	case fromRetain:
		return e.m.Retain, nil
	case fromReceived:
		return e.m.Time(), nil
	case fromRaw:
		return e.m.Payload, nil
	case fromProperties:
		return properties(&e.m.Properties), nil
	case fromPayload:
		return e.payload, nil
	case fromSlot:
		return e.slots[v.index].Any()
	default:
		return e.textOf(v), nil
	}
}

// textOf returns a variable that is text.
func (e *Evaluator) textOf(v variable) string {
	switch v.source {
	case fromTopic:
		return e.m.Topic
	case fromClient:
		return e.m.Client
	case fromUser:
		return e.m.User
	case fromID:
		return e.m.ID.String()
	default:
		return e.captures[v.index]
	}
}

// properties returns the MQTT properties as expressions see them; those that
// are absent are nil.
func properties(p *message.Properties) map[string]any {
	user := make(map[string]any, len(p.UserProperties))
	for _, u := range p.UserProperties {
		user[u.Name] = u.Value // the last one counts
	}
	m := map[string]any{"user": user}
	if p.ContentType != "" {
		m["content_type"] = p.ContentType
	}
	if p.ResponseTopic != "" {
		m["response_topic"] = p.ResponseTopic
	}
	if p.CorrelationData != nil {
		m["correlation_data"] = p.CorrelationData
	}
	if p.HasMessageExpiry {
		m["message_expiry"] = int64(p.MessageExpiry)
	}
	if p.HasPayloadFormat {
		m["payload_format"] = int64(p.PayloadFormat)
	}
	return m
}

// appendReceived appends the time the message came in.
func (e *Evaluator) appendReceived(dst []byte) []byte {
	return codec.AppendTime(dst, e.m.Time())
}

// bytesOf returns the bytes of a text, which nobody changes.
func bytesOf(s string) []byte {
	return unsafe.Slice(unsafe.StringData(s), len(s)) //nolint:gosec // records are immutable, as strings are
}
