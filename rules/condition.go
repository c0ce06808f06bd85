package rules

import (
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/penstock/penstock/internal/problem"
	"github.com/penstock/penstock/rules/codec"
)

// A condition is a where or a when: steps that must all be met, in order.
type condition struct {
	text  string
	steps []step
	// payloadFrom is the first step that reads the payload: those before it
	// are tried without looking at the payload.
	payloadFrom int
	slots       []int // the fields it reads
	whole       bool
}

// A step is one operand of the && that a condition is made of.
type step struct {
	test *test // what settles the common case without running the program; or nil
	code *program
}

// A test compares a text variable or a field of the payload with a literal.
type test struct {
	variable variable
	operator string
	text     string
	number   float64
	integer  int64
	literal  codec.Kind // Text, Int, Float or True; of True: whether it must be true
	negate   bool
}

// condition compiles a condition.
func (s *scope) condition(text string) (*condition, *problem.Problem) {
	t, p := s.parse(text)
	if p != nil {
		return nil, p
	}
	if k := t.typ.Kind(); k != reflect.Bool && k != reflect.Interface {
		p := problem.New("", "a condition is true or false, this is %s", plainWords(" " + t.typ.String())[1:])
		return nil, &p
	}
	c := &condition{text: text}
	for _, node := range conjuncts(t.node, nil) {
		code, p := t.program(node)
		if p != nil {
			return nil, p
		}
		c.add(step{s.test(node), code})
	}
	c.order()
	return c, nil
}

func (c *condition) add(s step) {
	c.steps = append(c.steps, s)
	c.whole = c.whole || s.code.whole
	for _, l := range s.code.loads {
		if l.source == fromSlot {
			c.slots = append(c.slots, l.index)
		}
	}
}

// order puts what needs no payload and cannot fail first: whichever operand of
// && says no, the answer is no.
func (c *condition) order() {
	slices.SortStableFunc(c.steps, func(a, b step) int { return a.cost() - b.cost() })
	c.payloadFrom = slices.IndexFunc(c.steps, func(s step) bool { return s.code.payload })
	if c.payloadFrom < 0 {
		c.payloadFrom = len(c.steps)
	}
}

func (s *step) cost() int {
	if s.test != nil && s.test.variable.source != fromSlot {
		return 0
	}
	return 1
}

func conjuncts(node ast.Node, list []ast.Node) []ast.Node {
	if b, ok := node.(*ast.BinaryNode); ok && (b.Operator == "&&" || b.Operator == "and") {
		return conjuncts(b.Right, conjuncts(b.Left, list))
	}
	return append(list, node)
}

// test returns the test that an operand amounts to, or nil.
func (s *scope) test(node ast.Node) *test {
	operator, left, right := comparisonOf(node)
	switch operator {
	case "":
		return s.flag(node, false)
	case "not", "!":
		return s.flag(left, true)
	}
	v, ok := s.variableOf(left)
	if !ok {
		if v, ok = s.variableOf(right); !ok {
			return nil
		}
		operator, right = mirrored(operator), left
	}
	t := &test{variable: v, operator: operator}
	if !t.against(right) || !t.known() {
		return nil
	}
	return t
}

// flag is the test of a field that is itself true or false.
func (s *scope) flag(node ast.Node, negate bool) *test {
	if v, ok := s.variableOf(node); ok && v.source == fromSlot {
		return &test{variable: v, literal: codec.True, negate: negate}
	}
	return nil
}

// comparisonOf takes a comparison apart, which on 32 bits is a call by now.
func comparisonOf(node ast.Node) (operator string, left, right ast.Node) {
	switch n := node.(type) {
	case *ast.BinaryNode:
		return n.Operator, n.Left, n.Right
	case *ast.UnaryNode:
		return n.Operator, n.Node, nil
	case *ast.CallNode:
		callee, ok := n.Callee.(*ast.IdentifierNode)
		if ok && len(n.Arguments) == 3 && strings.HasPrefix(callee.Value, internal) {
			return callee.Value[len(internal):], n.Arguments[1], n.Arguments[2]
		}
	}
	return "", nil, nil
}

func (s *scope) variableOf(node ast.Node) (variable, bool) {
	id, ok := node.(*ast.IdentifierNode)
	if !ok {
		return variable{}, false
	}
	v, ok := s.variables[id.Value]
	return v, ok && (v.source <= fromUser || v.source == fromSlot || v.source == fromCapture)
}

func mirrored(operator string) string {
	switch operator {
	case "<":
		return ">"
	case "<=":
		return ">="
	case ">":
		return "<"
	case ">=":
		return "<="
	case "==", "!=":
		return operator
	}
	return ""
}

// against takes the literal to compare with; false: it is none.
func (t *test) against(node ast.Node) bool {
	switch n := node.(type) {
	case *ast.StringNode:
		t.literal, t.text = codec.Text, n.Value
	case *ast.IntegerNode:
		t.literal, t.integer, t.number = codec.Int, int64(n.Value), float64(n.Value)
	case *ast.ConstantNode:
		t.literal = codec.Int
		t.integer, _ = n.Value.(int64)
		t.number = float64(t.integer)
	case *ast.FloatNode:
		t.literal, t.number = codec.Float, n.Value
	case *ast.BoolNode:
		t.literal, t.negate = codec.True, !n.Value
	default:
		return false
	}
	return true
}

// known reports whether the operator is one the test can do.
func (t *test) known() bool {
	switch t.operator {
	case "==", "!=":
		return t.variable.source == fromSlot || t.literal == codec.Text
	case "<", "<=", ">", ">=":
		return t.variable.source == fromSlot && (t.literal == codec.Int || t.literal == codec.Float)
	case "startsWith", "endsWith", "contains":
		return t.variable.source != fromSlot && t.literal == codec.Text
	}
	return false
}

// met reports whether the test is met; sure is false where only the program
// can tell, or say what is wrong.
func (t *test) met(e *Evaluator) (met, sure bool) {
	if t.variable.source != fromSlot {
		return t.compareText(e.textOf(t.variable)), true
	}
	v := e.slots[t.variable.index]
	switch {
	case t.literal == codec.True && (v.Kind == codec.True || v.Kind == codec.False):
		met = (v.Kind == codec.True) != t.negate
		return met != (t.operator == "!="), true
	case t.literal == codec.Text && v.Kind == codec.Text:
		return t.compareText(v.Text()), true
	case t.literal == codec.Int && v.Kind == codec.Int:
		return ordered(t.operator, v.Int64(), t.integer), true
	case (t.literal == codec.Int || t.literal == codec.Float) && v.Number():
		f, err := v.Float64()
		return ordered(t.operator, f, t.number), err == nil
	}
	return false, false
}

func (t *test) compareText(s string) bool {
	switch t.operator {
	case "==":
		return s == t.text
	case "!=":
		return s != t.text
	case "startsWith":
		return strings.HasPrefix(s, t.text)
	case "endsWith":
		return strings.HasSuffix(s, t.text)
	default:
		return strings.Contains(s, t.text)
	}
}

func ordered[T int64 | float64](operator string, a, b T) bool {
	switch operator {
	case "==":
		return a == b
	case "!=":
		return a != b
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	default:
		return a >= b
	}
}

// met reports whether the message meets c. missing: it does not, because the
// evaluation failed where a field of the payload is absent.
func (e *Evaluator) met(c *condition, place string) (met, missing bool, failed *fault) {
	if c == nil {
		return true, false, nil
	}
	met, missing, failed = e.try(c, place)
	if e.trace != nil {
		e.trace.tried(e, c, met, missing, failed)
	}
	return met, missing, failed
}

func (e *Evaluator) try(c *condition, place string) (met, missing bool, failed *fault) {
	e.budget.absent = false
	for i := range c.steps {
		if i == c.payloadFrom {
			if err := e.openPayload(c.whole); err != nil {
				return false, false, at(place, err)
			}
		}
		ok, err := e.step(&c.steps[i])
		if err == nil && ok {
			continue
		}
		if err == nil {
			return false, false, nil
		}
		f := at(place, err)
		if (f.kind == kindType || f.kind == kindNil) && e.anyAbsent(c, i) {
			return false, true, nil
		}
		return false, false, f
	}
	return true, false, nil
}

func (e *Evaluator) step(s *step) (bool, error) {
	if s.test != nil {
		if met, sure := s.test.met(e); sure {
			return met, nil
		}
	}
	v, err := e.run(s.code)
	if err != nil {
		return false, err
	}
	met, ok := v.(bool)
	if !ok {
		return false, newFault(kindType, "a condition is true or false, this is %s", typeName(v))
	}
	return met, nil
}

// anyAbsent reports whether a field of the payload that c reads is absent, once
// step i failed.
func (e *Evaluator) anyAbsent(c *condition, i int) bool {
	if e.budget.absent {
		return true
	}
	if i < c.payloadFrom {
		return false // the payload was not looked at
	}
	return slices.ContainsFunc(c.slots, func(slot int) bool { return e.slots[slot].Missing() })
}
