package rules

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"github.com/penstock/penstock/internal/problem"
)

// Bounds of one expression's text.
const (
	maxNodes      = 2000
	maxExpression = 64 << 10 // bytes; the parser recurses on brackets
)

// A tree is an expression that was parsed, checked and rewritten for us.
type tree struct {
	text   string
	source file.Source
	node   ast.Node
	typ    reflect.Type // as the checker knows it
	scope  *scope
}

// A program is a part of an expression, ready to run.
type program struct {
	code  *vm.Program
	loads []load
	// payload: it reads the payload, decoded; whole: not only fields of it.
	payload, whole bool
}

// A load is a variable a program reads, under the name it reads it by.
type load struct {
	name string
	variable
}

// parse compiles the text of an expression as far as its parts have in common.
func (s *scope) parse(text string) (*tree, *problem.Problem) {
	if len(text) > maxExpression {
		p := problem.New("", "an expression has at most %d bytes", maxExpression)
		return nil, &p
	}
	written := text
	if strconv.IntSize == 32 {
		text = s.wideLiterals(text)
	}
	parsed, err := parser.ParseWithConfig(text, s.config)
	if err != nil {
		return nil, s.complaint(text, err)
	}
	typ, err := checker.Check(parsed, s.config)
	if err != nil {
		p := s.complaint(text, err)
		if p.Hint == "" {
			p.Hint = s.hint(parsed.Node)
		}
		return nil, p
	}
	r := rewriter{scope: s}
	node := r.rewrite(parsed.Node)
	if r.failed != nil {
		r.failed.Offset = byteOffset(text, r.failed.Offset)
		return nil, r.failed
	}
	return &tree{text: written, source: parsed.Source, node: node, typ: typ, scope: s}, nil
}

// program compiles a part of the tree.
func (t *tree) program(node ast.Node) (*program, *problem.Problem) {
	code, err := compiler.Compile(&parser.Tree{Node: node, Source: t.source}, t.scope.config)
	if err != nil {
		message, _, _ := strings.Cut(err.Error(), "\n")
		p := problem.New("", "%s", message).At(byteOffset(t.text, node.Location().From))
		return nil, &p
	}
	p := &program{code: code}
	ast.Walk(&node, &loader{scope: t.scope, program: p, seen: map[string]bool{}})
	return p, nil
}

// A loader finds out what a program reads.
type loader struct {
	scope   *scope
	program *program
	seen    map[string]bool
}

// Visit notes a variable once.
func (l *loader) Visit(node *ast.Node) {
	id, ok := (*node).(*ast.IdentifierNode)
	if !ok || l.seen[id.Value] {
		return
	}
	v, ok := l.scope.variables[id.Value]
	if !ok {
		return
	}
	l.seen[id.Value] = true
	l.program.loads = append(l.program.loads, load{id.Value, v})
	l.program.whole = l.program.whole || v.source == fromPayload
	l.program.payload = l.program.payload || v.source == fromPayload || v.source == fromSlot
}

// complaint makes a problem of one of expr's errors.
func (s *scope) complaint(text string, err error) *problem.Problem {
	var located *file.Error
	if !errors.As(err, &located) {
		p := problem.New("", "%s", err)
		return &p
	}
	p := problem.New("", "%s", plainWords(located.Message)).At(byteOffset(text, located.From))
	if located.Message == `unexpected token Operator(":")` && strings.ContainsRune(text, '(') {
		p.Hint = "inside of map(...) and the like a map takes two braces: map(list, {{a: .b}})"
	}
	if name, ok := strings.CutPrefix(located.Message, "unknown name "); ok {
		p.Message = fmt.Sprintf("unknown name %q", name)
		p.Hint = problem.DidYouMean(name, s.names())
		if name == "now" {
			p.Hint = "a rule gives the same answer whenever it runs: use received, the time the message came in"
		}
	}
	return &p
}

// plainWords says what expr says about its tokens and Go's types in the words
// of the language.
func plainWords(message string) string {
	return strings.NewReplacer(
		"unexpected token EOF", "the expression ends too early",
		"unexpected end of expression", "the expression ends too early",
		"mismatched types", "types do not match:",
		"float64", "number", "int64", "number", " int", " number", "map[string]interface {}", "map", "[]interface {}", "list",
		"string", "text", "[]uint8", "bytes", "time.Time", "time", "time.Duration", "duration", "unknown and", "any value and", "and unknown", "and any value",
	).Replace(message)
}

// hint explains a comparison of a text with a number, such as line == 7.
func (s *scope) hint(node ast.Node) string {
	h := &mismatch{scope: s}
	ast.Walk(&node, h)
	return h.hint
}

type mismatch struct {
	scope *scope
	hint  string
}

// Visit looks at one comparison.
func (m *mismatch) Visit(node *ast.Node) {
	b, ok := (*node).(*ast.BinaryNode)
	if !ok || m.hint != "" || mirrored(b.Operator) == "" {
		return
	}
	text, number := b.Left, b.Right
	if isNumber(text) {
		text, number = number, text
	}
	id, ok := text.(*ast.IdentifierNode)
	if !ok || !isNumber(number) {
		return
	}
	if v, ok := m.scope.variables[id.Value]; ok && (v.source == fromCapture || v.source <= fromUser) {
		m.hint = fmt.Sprintf("%s is text: write int(%s)", id.Value, id.Value)
	}
}

func isNumber(node ast.Node) bool {
	switch node.Type().Kind() {
	case reflect.Int, reflect.Int64, reflect.Float64:
		return true
	default:
		return false
	}
}

// byteOffset turns a place counted in characters into one in bytes.
func byteOffset(text string, characters int) int {
	at := 0
	for range characters {
		if at >= len(text) {
			break
		}
		_, n := utf8.DecodeRuneInString(text[at:])
		at += n
	}
	return at
}
