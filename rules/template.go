package rules

import (
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/penstock/penstock/internal/problem"
	"github.com/penstock/penstock/rules/codec"
)

// A template is literal text with {expression} holes: a name.
type template struct {
	pieces []piece
	tail   string // the literal text behind the last hole
	// payload: a hole reads the payload; whole: not only fields of it.
	payload, whole bool
}

// A piece is some literal text and the hole behind it.
type piece struct {
	text  string
	value variable // read as it is, unless
	code  *program // there is a program
	// drop: the hole is a {name...} alone behind a slash: when it is empty
	// the slash goes too.
	drop bool
}

// constant reports whether the template has no holes.
func (t *template) constant() bool { return len(t.pieces) == 0 }

// A literalPart is text between holes and where it begins in the source.
type literalPart struct {
	text   string
	offset int
}

// template compiles a template; parts are its literal parts.
func (s *scope) template(text string) (*template, []literalPart, *problem.Problem) {
	t := &template{}
	var parts []literalPart
	for i := 0; ; {
		literal, hole, p := literalText(text, i)
		if p != nil {
			return nil, nil, p
		}
		parts = append(parts, literalPart{literal, i})
		if hole >= len(text) {
			t.tail = literal
			return t, parts, nil
		}
		end := holeEnd(text, hole+1)
		if end < 0 {
			p := problem.New("", "the { has no } that closes it").At(hole).WithHint("write {{ for a brace as it stands")
			return nil, nil, &p
		}
		pc, p := s.hole(text[hole+1 : end])
		if p != nil {
			p.Offset += hole + 1
			return nil, nil, p
		}
		pc.text = literal
		pc.drop = pc.drop && strings.HasSuffix(literal, "/")
		t.add(pc)
		i = end + 1
	}
}

// literalText returns the literal text from i up to the next hole, whose brace
// stands at the index returned.
func literalText(text string, i int) (string, int, *problem.Problem) {
	var b strings.Builder
	for i < len(text) {
		c := text[i]
		double := i+1 < len(text) && text[i+1] == c
		switch {
		case (c == '{' || c == '}') && double:
			i++
		case c == '{':
			return b.String(), i, nil
		case c == '}':
			p := problem.New("", "a } closes nothing here").At(i).WithHint("write }} for a brace as it stands")
			return "", 0, &p
		}
		b.WriteByte(c)
		i++
	}
	return b.String(), i, nil
}

// holeEnd returns the index of the brace that closes the hole whose expression
// begins at i, -1 for none. Braces inside of strings, comments, maps and
// predicates do not close it.
func holeEnd(text string, i int) int {
	depth := 0
	for i < len(text) {
		switch c := text[i]; c {
		case '"', '\'', '`':
			i = quoteEnd(text, i)
			continue
		case '/':
			if j := commentEnd(text, i); j > i {
				i = j
				continue
			}
		case '{':
			depth++
		case '}':
			if depth == 0 {
				return i
			}
			depth--
		}
		i++
	}
	return -1
}

// quoteEnd returns the index behind the string that begins at i.
func quoteEnd(text string, i int) int {
	quote := text[i]
	for i++; i < len(text); i++ {
		if text[i] == '\\' && quote != '`' {
			i++
		} else if text[i] == quote {
			return i + 1
		}
	}
	return len(text)
}

// commentEnd returns the index behind the comment that begins at i, or i.
func commentEnd(text string, i int) int {
	var end string
	switch {
	case strings.HasPrefix(text[i:], "//"):
		end = "\n"
	case strings.HasPrefix(text[i:], "/*"):
		end = "*/"
	default:
		return i
	}
	n := strings.Index(text[i+2:], end)
	if n < 0 {
		return len(text)
	}
	return i + 2 + n + len(end)
}

// hole compiles what stands between two braces.
func (s *scope) hole(text string) (piece, *problem.Problem) {
	name, dots := strings.CutSuffix(strings.TrimSpace(text), "...")
	if rest := s.rest(name); rest >= 0 {
		return piece{value: variable{fromCapture, rest}, drop: true}, nil
	}
	if dots && captureName.MatchString(name) {
		p := problem.New("", "no filter of the rule has {%s...}", name).WithHint("write {%s}", name)
		return piece{}, &p
	}
	t, p := s.parse(text)
	if p != nil {
		return piece{}, p
	}
	if id, ok := t.node.(*ast.IdentifierNode); ok && t.direct(id) {
		return piece{value: s.variables[id.Value]}, nil
	}
	code, p := t.program(t.node)
	return piece{code: code}, p
}

// direct reports whether a variable is written without running a program.
func (t *tree) direct(id *ast.IdentifierNode) bool {
	v, ok := t.scope.variables[id.Value]
	return ok && (v.source <= fromUser || v.source == fromSlot || v.source == fromCapture)
}

func (t *template) add(p piece) {
	t.pieces = append(t.pieces, p)
	switch {
	case p.code != nil:
		t.payload, t.whole = t.payload || p.code.payload, t.whole || p.code.whole
	case p.value.source == fromSlot:
		t.payload = true
	}
}

// render appends the text of t.
func (e *Evaluator) render(dst []byte, t *template) ([]byte, error) {
	if t.payload {
		if err := e.openPayload(t.whole); err != nil {
			return dst, err
		}
	}
	for i := range t.pieces {
		p := &t.pieces[i]
		dst = append(dst, p.text...)
		before := len(dst)
		var err error
		if dst, err = e.fill(dst, p); err != nil {
			return dst, err
		}
		if p.drop && len(dst) == before {
			dst = dst[:before-1]
		}
	}
	return append(dst, t.tail...), nil
}

// fill appends what stands in a hole.
func (e *Evaluator) fill(dst []byte, p *piece) ([]byte, error) {
	switch {
	case p.code != nil:
		v, err := e.run(p.code)
		if err != nil {
			return dst, err
		}
		return e.fillValue(dst, v)
	case p.value.source == fromSlot:
		return fillSlot(dst, e.slots[p.value.index])
	case p.value.source == fromID:
		return e.m.ID.AppendText(dst)
	}
	return append(dst, e.textOf(p.value)...), nil
}

func fillSlot(dst []byte, v codec.Value) ([]byte, error) {
	switch v.Kind {
	case codec.Text:
		return append(dst, v.Text()...), nil
	case codec.Int, codec.Float, codec.True, codec.False:
		n, err := v.Any()
		if err != nil {
			return dst, err
		}
		return codec.Append(dst, n, len(v.Raw)+32)
	case codec.Absent, codec.Null:
		return dst, newFault(kindNil, "a name has a hole, but there is nothing to fill it with")
	default:
		return dst, newFault(kindType, "a hole in a name takes text, a number or true or false, not a list or map")
	}
}

func (e *Evaluator) fillValue(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return dst, newFault(kindNil, "a name has a hole, but there is nothing to fill it with")
	case string:
		return append(dst, v...), nil
	case []byte:
		return append(dst, v...), nil
	}
	switch typeName(v) {
	case "a list", "a map":
		return dst, newFault(kindType, "a hole in a name takes text, a number or true or false, not %s", typeName(v))
	case "a time", "a duration":
		s, err := toString(&e.budget, []any{v})
		text, _ := s.(string)
		return append(dst, text...), err
	}
	return codec.Append(dst, v, 64)
}
