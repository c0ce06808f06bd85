package config

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/penstock/penstock/internal/problem"
)

// scalar returns the text of a scalar as it was written, where its bytes stand
// and where it ends.
func (w *walker) scalar(n ast.Node) (value string, m spans, end int, ok bool) {
	value, s, ok := scalarValue(n)
	if !ok {
		return "", nil, 0, false
	}
	at := start(w.src, n)
	m, end, found := align(w.src.text, at, value, s)
	if !found {
		m = nil // a place inside the text is then its beginning
	}
	return value, m, end, true
}

// scalarValue returns the decoded text of a scalar and its style.
func scalarValue(n ast.Node) (string, style, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		switch n.Token.Type {
		case token.SingleQuoteType:
			return n.Value, single, true
		case token.DoubleQuoteType:
			return n.Value, double, true
		default:
			return n.Value, plain, true
		}
	case *ast.LiteralNode:
		if n.Start.Type == token.FoldedType {
			return n.Value.Value, folded, true
		}
		return n.Value.Value, literal, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode, *ast.MergeKeyNode:
		return n.GetToken().Value, plain, true
	}
	return "", plain, false
}

// isPlain says whether a scalar stands without quotes.
func isPlain(n ast.Node) bool {
	_, s, ok := scalarValue(n)
	return ok && s == plain
}

// read returns the text of a scalar with its references expanded, after every
// trap of YAML has been ruled out. what names what is expected.
func (w *walker) read(n ast.Node, s spot, what, example string) (string, bool) {
	value, m, end, ok := w.scalar(n)
	if !ok {
		return "", w.notText(n, s, what, example)
	}
	at := start(w.src, n)
	r := roleOf(s.shape)
	if r == secret {
		w.src.hide(at, end)
	}
	if strings.ContainsRune(value, placeholder) {
		return "", w.misreadText(at, s)
	}
	if w.colon(n, value, s) || w.cut(n, value, end, s) || w.emptyBlock(n, value, s) {
		return "", false
	}
	value, m, err := w.expander.expand(value, m, at, r)
	if err != nil {
		w.complain(m.source(err.offset, at), s.path, err.message, err.hint)
		return "", false
	}
	w.note(s, m)
	return value, true
}

// note adds to the place of a value where the bytes of its text stand.
func (w *walker) note(s spot, m spans) {
	at := w.index.places[s.path]
	if at.src == w.src {
		at.text = m
		w.index.places[s.path] = at
	}
}

// text reads a text.
func (w *walker) text(n ast.Node, s spot) (any, bool) {
	value, ok := w.read(n, s, "a text", exampleOf(s))
	if !ok || !w.once(n, s) {
		return nil, false
	}
	switch words := wordsOf[s.shape]; {
	case words != nil && value != "" && !slices.Contains(words, value):
		return nil, w.unknownWord(n, s, value, words)
	case roleOf(s.shape) == filePath && value != "" && !filepath.IsAbs(value):
		return filepath.Join(w.expander.dir, value), true
	}
	return value, true
}

func (w *walker) unknownWord(n ast.Node, s spot, value string, words []string) bool {
	hint := problem.DidYouMean(value, words)
	for _, word := range words {
		if strings.EqualFold(word, value) {
			hint = problem.DidYouMean(word+"x", words)
		}
	}
	if hint == "" {
		hint = "one of: " + strings.Join(words, ", ")
	}
	w.complain(start(w.src, n), s.path, strconv.Quote(value)+" is not a value of "+strconv.Quote(s.leaf()), hint)
	return false
}

func (w *walker) boolean(n ast.Node, s spot) (any, bool) {
	value, ok := w.read(n, s, "true or false", "true")
	if !ok || !w.once(n, s) {
		return nil, false
	}
	switch value {
	case "true", "True", "TRUE":
		return true, true
	case "false", "False", "FALSE":
		return false, true
	}
	return nil, w.wrongType(n, s, "true or false", "true")
}

// number reads a whole number, or a size where the field says so.
func (w *walker) number(n ast.Node, s spot) (any, bool) {
	if s.unit == "bytes" {
		return quantity(w, n, s, "a size", "64KiB", parseSize)
	}
	value, ok := w.read(n, s, "a whole number", "4")
	if !ok || !w.once(n, s) {
		return nil, false
	}
	v, err := strconv.ParseInt(value, 10, 32)
	if err != nil {
		return nil, w.wrongType(n, s, "a whole number", "4")
	}
	return v, true
}

func (w *walker) duration(n ast.Node, s spot) (any, bool) {
	return quantity(w, n, s, "a duration", "30s", parseDuration)
}

// quantity reads a number with a unit.
func quantity[T any](w *walker, n ast.Node, s spot, what, example string, parse func(string) (T, error)) (any, bool) {
	value, ok := w.read(n, s, what, example)
	if !ok || !w.once(n, s) {
		return nil, false
	}
	v, err := parse(value)
	if err != nil {
		p := quantityProblem(s.path, err)
		w.complain(start(w.src, n), s.path, p.Message, p.Hint)
		return nil, false
	}
	return v, true
}

// once complains about a scalar that an earlier file has set.
func (w *walker) once(n ast.Node, s spot) bool {
	at, found := w.index.places[s.path]
	if s.nested || !found || at.src == w.src {
		return true
	}
	line, column := at.src.at(at.value)
	message := strconv.Quote(s.path) + " is set already at " + at.src.name + ":" + strconv.Itoa(line) + ":" + strconv.Itoa(column)
	w.complain(start(w.src, n), s.path, message, "set it in one file only")
	return false
}
