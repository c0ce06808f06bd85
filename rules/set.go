// Package rules decides what becomes of a message: which rules want it, whether
// their conditions are met, and what each of their outputs writes.
//
//	from     a topic filter whose wildcards may have names
//	where    an expression that is true or false
//	to       sinks, each with a name (template), a key (template),
//	         a value (expression) and headers (templates)
//
// Rules are pure functions of the journaled message: no I/O, no goroutine, no
// clock. Compile does everything that can be done before a message comes: it
// checks types, turns the fields of the payload that a rule reads into slots,
// encodes what is constant, and reports all mistakes at once. After that
//
//   - a rule that reads no payload never looks at it;
//   - the fields it reads are found in one pass that also checks the payload
//     as a whole;
//   - whatever a rule or a payload tries, it ends: with a rule error, when
//     the work for one message exceeds a fixed budget.
package rules

import (
	"fmt"

	"github.com/expr-lang/expr/conf"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/internal/problem"
)

// A Sink is what rules must know of a sink.
type Sink struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`            // kafka, file or stdout
	Topic string `json:"topic,omitempty"` // Kafka: the topic of outputs that name none, "" for none
	Order string `json:"order,omitempty"` // the template `delivery.order`, "" for {client}/{topic}; unused by Kafka
}

// A Set is some rules, compiled. Number it once before use; after that it is
// safe for concurrent use.
type Set struct {
	rules    []*rule
	warnings problem.List

	numbers    []uint32   // of the rules
	outputs    [][]uint32 // of their outputs
	names      map[uint32]string
	index      index
	defaultAck message.Ack
}

// Compile compiles rules. The paths of its problems are relative to the list of
// rules (`[0].to[1].topic`), or `sinks[2].order` for the order template of a
// sink; offsets point into the text of expressions and templates. The Set is
// nil when there are any.
func Compile(cfgs []Config, sinks []Sink) (*Set, problem.List) {
	s := &Set{defaultAck: message.Ack{Level: message.AckStored}}
	var problems problem.List
	functions := conf.FunctionsTable(functionTable())
	first := map[string]int{}
	orders := newOrders(sinks, functions)
	for i := range cfgs {
		c := ruleCompiler{config: &cfgs[i], sinks: sinks, functions: functions, orders: orders}
		c.compile()
		path := fmt.Sprintf("[%d]", i)
		if j, ok := first[cfgs[i].Name]; ok && cfgs[i].Name != "" {
			c.complain("name", "another rule is named %q already, number %d of the list", cfgs[i].Name, j+1)
		} else {
			first[cfgs[i].Name] = i
		}
		problems = append(problems, c.problems.Under(path)...)
		s.warnings = append(s.warnings, c.warnings.Under(path)...)
		s.rules = append(s.rules, c.rule)
	}
	problems = append(problems, orders.finish()...)
	if len(problems) > 0 {
		return nil, problems
	}
	return s, nil
}

// Warnings returns what is allowed but probably not meant, with paths as
// Compile's.
func (s *Set) Warnings() problem.List { return s.warnings }

// SetDefaultAck sets the level of rules that name none, stored unless set. Call
// it before Number.
func (s *Set) SetDefaultAck(level message.AckLevel) { s.defaultAck.Level = level }

// Number asks for the number of every rule (kind "rule", key its name) and of
// every output (kind "output"; its key does not change when outputs change
// places, C16), and makes the Set ready for use.
func (s *Set) Number(assign func(kind, key string) (uint32, error)) error {
	s.numbers = make([]uint32, len(s.rules))
	s.outputs = make([][]uint32, len(s.rules))
	s.names = make(map[uint32]string, len(s.rules))
	s.index = index{}
	for i, r := range s.rules {
		number, err := assign("rule", r.name)
		if err != nil {
			return fmt.Errorf("number rule %s: %w", r.name, err)
		}
		s.numbers[i] = number
		s.names[number] = r.name
		for _, o := range r.outputs {
			n, err := assign("output", o.identity)
			if err != nil {
				return fmt.Errorf("number output %s: %w", o.identity, err)
			}
			s.outputs[i] = append(s.outputs[i], n)
		}
		s.enter(r, number)
	}
	return nil
}

func (s *Set) enter(r *rule, number uint32) {
	ack := r.ackOr(s.defaultAck)
	for i := range r.filters {
		s.index.add(&r.filters[i], number, ack)
	}
}

// Name returns the name of the rule with a number, "" when there is none.
func (s *Set) Name(number uint32) string { return s.names[number] }

// Want appends the numbers of the rules whose `from` matches the topic to dst,
// each once, and returns the strongest ack among them (I1), received when there
// are none. It allocates nothing but what dst lacks.
func (s *Set) Want(topic string, dst []uint32) ([]uint32, message.Ack) {
	return s.index.find(topic, dst)
}

// Evaluator returns what evaluates, for one lane, the rules with an output to
// the sink. It is not for concurrent use; any number of them may work at a time.
func (s *Set) Evaluator(sink string) *Evaluator {
	e := newEvaluator()
	for i, r := range s.rules {
		e.add(r, s.numbers[i], s.outputs[i], sink)
	}
	return e
}
