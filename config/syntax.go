package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/penstock/penstock/internal/problem"
)

// A file is parsed again at most so often, and a large one less often.
const (
	maxRepairs     = 100
	maxRepairBytes = 16 << 20 // of all texts parsed for one file
	maxBroken      = 1000     // values that are explained
)

// A document is what could be read of one file.
type document struct {
	body ast.Node // nil: nothing
	// broken holds the values that YAML misread, by the offset of their
	// beginning: the tree has a placeholder there.
	broken map[int]segment
}

// A segment is the source text of a value on one line.
type segment struct{ from, to int }

// parse reads the file into a tree. A value that YAML cannot read because it
// should have been quoted is replaced by a placeholder of the same width and
// the file is parsed again, so that one such value does not hide the
// complaints about everything else.
func parse(src *source) (document, problem.List) {
	doc := document{broken: map[int]segment{}}
	text := src.text
	for n := range maxRepairs {
		if n > 10 && n*len(text) > maxRepairBytes || len(doc.broken) > maxBroken {
			break
		}
		file, err := parseYAML(text)
		if err != nil {
			seg, ok := misread(src, err)
			if _, again := doc.broken[seg.from]; !ok || again {
				return doc, problem.List{syntaxProblem(src, err)}
			}
			doc.broken[seg.from] = seg
			text = src.patch(blot(text, src, seg))
			continue
		}
		tags := doc.tagged(src, file)
		if len(tags) == 0 {
			problems := doc.take(src, file)
			return doc, problems
		}
		for _, seg := range tags[:min(len(tags), maxBroken)] {
			doc.broken[seg.from] = seg
			text = blot(text, src, seg)
		}
		src.patch(text)
	}
	p := src.problem(0, "too many texts are wrong for YAML to read the rest").WithHint("mend the others first")
	return doc, problem.List{p}
}

// take makes the only document of the file the body.
func (d *document) take(src *source, file *ast.File) problem.List {
	var problems problem.List
	for _, doc := range file.Docs {
		body := doc.Body
		switch {
		case body == nil || body.Type() == ast.DirectiveType || body.Type() == ast.CommentType:
		case d.body == nil:
			d.body = body
		case len(problems) == 0:
			problems = append(problems, src.problem(start(src, body), "a file holds one YAML document").
				WithHint("put what follows --- into a file of its own"))
		}
	}
	return problems
}

// parseYAML parses text unless it is nested so deeply that the parser, which
// is recursive, could exhaust the stack.
func parseYAML(text string) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil { // the parser does so for a few malformed files
			file, err = nil, &syntaxError{Message: "this cannot be read as YAML", Line: 1, Column: 1}
		}
	}()
	tokens := lexer.Tokenize(text)
	if t := tooDeep(tokens); t != nil {
		return nil, &syntaxError{fmt.Sprintf("nested more than %d deep", maxDepth), t.Position.Line, t.Position.Column}
	}
	file, err = parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	var located interface {
		GetMessage() string
		GetToken() *token.Token
	}
	if errors.As(err, &located) && located.GetToken() != nil {
		p := located.GetToken().Position
		return nil, &syntaxError{located.GetMessage(), p.Line, p.Column}
	}
	if err != nil {
		return nil, &syntaxError{err.Error(), 1, 1}
	}
	return file, nil
}

// tooDeep returns the first token beyond maxDepth. Block collections nest by
// indentation, except for what may stand several times on one line.
func tooDeep(tokens token.Tokens) *token.Token {
	flow, inLine, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, inLine = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType, token.MappingValueType:
			inLine++
		default:
		}
		if max(flow, inLine) > maxDepth && (flow > maxDepth || flow == 0) {
			return t
		}
	}
	return nil
}

// A syntaxError is where goccy/go-yaml stopped, in characters from 1.
type syntaxError struct {
	Message      string
	Line, Column int
}

func (e *syntaxError) Error() string { return e.Message }

// syntaxProblem says in plain words what the parser found.
func syntaxProblem(src *source, err error) problem.Problem {
	var e *syntaxError
	if !errors.As(err, &e) {
		return src.problem(0, err.Error())
	}
	offset := src.offset(e.Line, e.Column)
	if p, ok := indentation(src, e); ok {
		return p
	}
	message, hint := plainWords(e.Message)
	if strings.HasSuffix(message, "is never closed") || strings.HasSuffix(message, "is missing here") {
		for _, line := range []int{e.Line, e.Line - 1} {
			if at, found := closedInComment(src, line); found {
				return src.problem(at, "a # after a blank starts a YAML comment, which holds the closing bracket").
					WithHint("put a text that holds ` #` in single quotes")
			}
		}
	}
	return src.problem(offset, message).WithHint("%s", hint)
}

// plainWords translates the parser's messages.
func plainWords(m string) (message, hint string) {
	for _, w := range [...]struct{ found, message, hint string }{
		{"end character of double-quoted", `this " is never closed`, ""},
		{"end character of single-quoted", "this ' is never closed", "inside single quotes a ' is written twice: ''"},
		{"flow mapping end token", "this { is never closed", ""},
		{"sequence end token", "this [ is never closed", ""},
		{"flow map content", "this { is never closed", ""},
		{"character corresponding to", "this bracket closes nothing", "put the text in single quotes"},
		{"found character '\t'", "a tab cannot indent YAML", "use blanks"},
		{"tab character", "a tab cannot indent YAML", "use blanks"},
		{"unknown escape character", "this escape is unknown in double quotes", `put the text in single quotes, where \ is an ordinary character`},
		{"invalid header option", "this | or > starts a block of text", "put the text in single quotes"},
		{"mapping value is not allowed", "a key and its value cannot stand here", "put a text that holds `: ` in single quotes, or check the indentation"},
		{"must be specified", "a comma or a closing bracket is missing here", "put a text with brackets, quotes or commas in single quotes"},
		{"value is not allowed in this context", "this text cannot stand here", "put a text with special characters in single quotes, or check the indentation"},
		{"block sequence entries", "a list cannot begin here", "check the indentation, or put the text in single quotes"},
		{"unexpected scalar value type", "this cannot be read as a value", "put the text in single quotes"},
		{"non-map value", "a key with `:` is expected here", ""},
		{"unexpected key name", "a key with `:` is expected here", ""},
		{"required ':'", "a key with `:` is expected here", ""},
	} {
		if strings.Contains(m, w.found) {
			return w.message, w.hint
		}
	}
	return "not YAML: " + strings.ReplaceAll(m, "\n", " "), ""
}

// closedInComment returns where on a line a comment begins that holds a
// closing bracket.
func closedInComment(src *source, line int) (offset int, found bool) {
	i := min(max(line, 1), len(src.lines)) - 1
	text := src.line(i)
	at := strings.Index(text, " #")
	if at < 0 || strings.TrimSpace(text[:at]) == "" || !strings.ContainsAny(text[at:], "]}") {
		return 0, false
	}
	return src.lines[i] + at + 1, true
}

// indentation recognises keys that are indented wrongly.
func indentation(src *source, e *syntaxError) (problem.Problem, bool) {
	const hint = "give the keys of one map the same indentation"
	at := src.offset(e.Line, e.Column)
	before, line := src.text[src.lines[src.lineOf(at)]:at], src.line(src.lineOf(at))
	isKey := regexp.MustCompile(`^[ ]*[\w.-]+:( |$)`).MatchString(line)
	if strings.Contains(e.Message, "value is not allowed in this context") && isKey && strings.TrimSpace(before) == "" {
		return src.problem(at, "this key is indented like none of the keys above").WithHint(hint), true
	}
	if p, ok := deeperKey(src, e); ok {
		return p.WithHint(hint), true
	}
	return problem.Problem{}, false
}

// deeperKey recognises a key indented deeper than the one above it, which the
// parser reports at the value between them.
func deeperKey(src *source, e *syntaxError) (problem.Problem, bool) {
	if !strings.Contains(e.Message, "mapping value is not allowed") || e.Line >= len(src.lines) {
		return problem.Problem{}, false
	}
	above, below := src.line(e.Line-1), src.line(e.Line)
	deep := len(below) - len(strings.TrimLeft(below, " "))
	key, _, isKey := strings.Cut(below[deep:], ":")
	if !isKey || key == "" || deep <= len(above)-len(strings.TrimLeft(above, " -")) {
		return problem.Problem{}, false
	}
	return src.problem(src.lines[e.Line]+deep, "this key is indented deeper than the one above, which has a value already"), true
}
