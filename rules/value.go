package rules

import (
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/penstock/penstock/internal/problem"
	"github.com/penstock/penstock/rules/codec"
)

// A value is what an output writes, compiled. nil is the payload as it came.
type value struct {
	parts []part
	tail  []byte
	// document: parts are the inside of a JSON object. Otherwise there is one
	// part, or none, and text and bytes are written as they are.
	document       bool
	null           bool // it says nothing, always
	payload, whole bool
}

// A part is some JSON as it stands and something to be written behind it.
type part struct {
	json  []byte
	value variable // written directly, unless
	code  *program // there is a program
	// round: the program rounds the field value to so many digits, which a
	// number needs no program for; nil otherwise.
	round *int64
}

// value compiles a `value`. A map that is written out is compiled key by key:
// what is constant is encoded now, fields and names are copied, and only what
// is left takes a program.
func (s *scope) value(text string) (*value, *problem.Problem) {
	t, p := s.parse(text)
	if p != nil {
		if strings.HasPrefix(p.Message, "unknown name ") && isWord(text) {
			p.Hint = strings.TrimSuffix("for the text itself write '"+`"`+text+`"'`+"; "+p.Hint, "; ")
		}
		return nil, p
	}
	b := valueBuilder{tree: t}
	switch n := t.node.(type) {
	case *ast.MapNode:
		b.value.document = true
		b.node(n)
	case *ast.StringNode:
		b.literal = append(b.literal, n.Value...)
	case *ast.NilNode:
		b.value.null = true
	default:
		b.node(n)
	}
	b.value.tail = b.literal
	return &b.value, b.failed
}

func isWord(text string) bool { return captureName.MatchString(text) }

type valueBuilder struct {
	tree    *tree
	value   value
	literal []byte // constant JSON since the last part
	failed  *problem.Problem
}

func (b *valueBuilder) node(node ast.Node) {
	if v, ok := constantValue(node); ok {
		if json, err := codec.Append(b.literal, v, maxExpression); err == nil {
			b.literal = json
			return
		}
	}
	if m, ok := node.(*ast.MapNode); ok && b.plainMap(m) {
		b.object(m)
		return
	}
	if id, ok := node.(*ast.IdentifierNode); ok && b.direct(id) {
		b.add(part{value: b.tree.scope.variables[id.Value]})
		return
	}
	code, p := b.tree.program(node)
	if p != nil {
		b.failed = p
		return
	}
	added := part{code: code}
	if slot, digits, ok := b.rounded(node); ok {
		added.value, added.round = slot, &digits
	}
	b.add(added)
}

// rounded recognizes round(FIELD) and round(FIELD, DIGITS), the one function
// that many outputs need.
func (b *valueBuilder) rounded(node ast.Node) (slot variable, digits int64, ok bool) {
	n, ok := node.(*ast.CallNode)
	if !ok || len(n.Arguments) < 2 {
		return slot, 0, false
	}
	callee, isName := n.Callee.(*ast.IdentifierNode)
	slot, ok = b.tree.scope.variableOf(n.Arguments[1])
	if !isName || callee.Value != internal+"round" || !ok || slot.source != fromSlot {
		return slot, 0, false
	}
	if len(n.Arguments) == 2 {
		return slot, 0, true
	}
	value, _ := constantValue(n.Arguments[2])
	digits, ok = integer(value)
	return slot, digits, ok && digits >= 0 && digits <= maxDigits
}

func (b *valueBuilder) add(p part) {
	p.json, b.literal = b.literal, nil
	if p.code != nil {
		b.value.payload = b.value.payload || p.code.payload
		b.value.whole = b.value.whole || p.code.whole
	} else if p.value.source == fromSlot {
		b.value.payload = true
	}
	b.value.parts = append(b.value.parts, p)
}

func (b *valueBuilder) direct(id *ast.IdentifierNode) bool {
	v, ok := b.tree.scope.variables[id.Value]
	return ok && (b.tree.direct(id) || v.source == fromReceived || v.source == fromRaw && !b.value.document)
}

// plainMap reports whether all keys of a map stand there as text.
func (b *valueBuilder) plainMap(m *ast.MapNode) bool {
	for _, p := range m.Pairs {
		pair, ok := p.(*ast.PairNode)
		if !ok {
			return false
		}
		if _, ok := pair.Key.(*ast.StringNode); !ok {
			return false
		}
	}
	return true
}

func keyOf(pair ast.Node) string {
	p, _ := pair.(*ast.PairNode)
	s, _ := p.Key.(*ast.StringNode)
	return s.Value
}

func (b *valueBuilder) object(m *ast.MapNode) {
	pairs := slices.Clone(m.Pairs)
	slices.SortStableFunc(pairs, func(x, y ast.Node) int { return strings.Compare(keyOf(x), keyOf(y)) })
	b.literal = append(b.literal, '{')
	for i, p := range pairs {
		if i > 0 {
			b.literal = append(b.literal, ',')
		}
		pair, _ := p.(*ast.PairNode)
		if i > 0 && keyOf(p) == keyOf(pairs[i-1]) {
			twice := problem.New("", "the key %q is written twice", keyOf(p)).
				At(byteOffset(b.tree.text, pair.Key.Location().From))
			b.failed = &twice
		}
		b.literal = append(codec.AppendText(b.literal, keyOf(p)), ':')
		b.node(pair.Value)
	}
	b.literal = append(b.literal, '}')
}

// write appends what v says. null: it says nothing at all.
func (e *Evaluator) write(dst []byte, v *value) (_ []byte, null bool, err error) {
	if v.payload {
		if err := e.openPayload(v.whole); err != nil {
			return dst, false, err
		}
	}
	if !v.document {
		return e.writeBare(dst, v)
	}
	for i := range v.parts {
		p := &v.parts[i]
		dst = append(dst, p.json...)
		if dst, err = e.writePart(dst, p); err != nil {
			return dst, false, err
		}
	}
	return append(dst, v.tail...), false, nil
}

// writeBare appends a value that is not a map written out.
func (e *Evaluator) writeBare(dst []byte, v *value) (_ []byte, null bool, err error) {
	if len(v.parts) == 0 {
		return append(dst, v.tail...), v.null, nil
	}
	p := &v.parts[0]
	switch {
	case p.code != nil:
		result, err := e.run(p.code)
		if err != nil {
			return dst, false, err
		}
		return e.writeAny(dst, result)
	case p.value.source == fromRaw:
		return append(dst, e.m.Payload...), false, nil
	case p.value.source == fromReceived:
		dst, err = e.writePart(dst, p)
		return dst, false, err
	case p.value.source == fromID:
		dst, err = e.m.ID.AppendText(dst)
		return dst, false, err
	case p.value.source != fromSlot:
		return append(dst, e.textOf(p.value)...), false, nil
	}
	slot := e.slots[p.value.index]
	if slot.Kind == codec.Text {
		return append(dst, slot.Text()...), false, nil
	}
	dst, err = e.writeSlot(dst, slot)
	return dst, slot.Missing(), err
}

func (e *Evaluator) writeAny(dst []byte, v any) (_ []byte, null bool, err error) {
	switch v := v.(type) {
	case nil:
		return dst, true, nil
	case string:
		return append(dst, v...), false, nil
	case []byte:
		return append(dst, v...), false, nil
	}
	dst, err = codec.Append(dst, v, maxText)
	return dst, false, err
}

// writePart appends a part as JSON.
func (e *Evaluator) writePart(dst []byte, p *part) ([]byte, error) {
	switch {
	case p.round != nil && e.slots[p.value.index].Number():
		return writeRounded(dst, e.slots[p.value.index], *p.round)
	case p.code != nil:
		v, err := e.run(p.code)
		if err != nil {
			return dst, err
		}
		return codec.Append(dst, v, maxText)
	case p.value.source == fromSlot:
		return e.writeSlot(dst, e.slots[p.value.index])
	case p.value.source == fromReceived:
		return append(e.appendReceived(append(dst, '"')), '"'), nil
	case p.value.source == fromID:
		dst, err := e.m.ID.AppendText(append(dst, '"'))
		return append(dst, '"'), err
	}
	return codec.AppendText(dst, e.textOf(p.value)), nil
}

func writeRounded(dst []byte, v codec.Value, digits int64) ([]byte, error) {
	if v.Kind == codec.Int {
		return append(dst, v.Raw...), nil
	}
	f, err := v.Float64()
	if err != nil {
		return dst, err
	}
	return codec.AppendFloat(dst, roundFloat(f, digits))
}

// writeSlot appends a field of the payload as JSON. Scalars keep the text they
// came with; lists and maps are written anew, with sorted keys.
func (e *Evaluator) writeSlot(dst []byte, v codec.Value) ([]byte, error) {
	switch {
	case v.Missing():
		return append(dst, "null"...), nil
	case v.Kind == codec.Object || v.Kind == codec.Array:
		decoded, err := v.Any()
		if err != nil {
			return dst, err
		}
		return codec.Append(dst, decoded, maxText)
	case v.Verbatim():
		return append(dst, v.Raw...), nil
	}
	return codec.AppendText(dst, v.Text()), nil
}
