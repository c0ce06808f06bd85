package config

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// indicators begin something else than a plain scalar.
const indicators = "!{}[]\"'@`%&*|>?-,"

// misread finds the value that made the parser stop, if it is one that single
// quotes would help.
func misread(src *source, err error) (segment, bool) {
	var e *syntaxError
	if !errors.As(err, &e) || unclosed(e.Message) {
		return segment{}, false
	}
	at := src.offset(e.Line, e.Column)
	for _, from := range valueStarts(src, src.lineOf(at)) {
		seg := valueAt(src, from)
		if from <= at && at <= seg.to+1 && seg.to > from && needsQuotes(src, seg) {
			return seg, true
		}
	}
	return segment{}, false
}

// unclosed says whether the error is about what only its author can mend: an
// escape, or quotes or brackets that end nowhere.
func unclosed(message string) bool {
	return strings.Contains(message, "could not find end character") ||
		strings.Contains(message, "unknown escape") || strings.Contains(message, "end token") || strings.Contains(message, "flow map content") || strings.Contains(message, "nested more")
}

// valueStarts returns where values may begin on a line, the last first.
func valueStarts(src *source, line int) []int {
	before := regexp.MustCompile(`^[ \t]*(?:-[ \t]+)+|(?:[\w.-]+|"[^"]*"|'[^']*'):[ \t]+|[\[,][ \t]*`)
	var starts []int
	for _, m := range before.FindAllStringIndex(src.line(line), -1) {
		starts = append(starts, src.lines[line]+m[1])
	}
	slices.Reverse(starts)
	return starts
}

// needsQuotes says whether YAML reads text as something else than plain text.
func needsQuotes(src *source, seg segment) bool {
	text := src.text[seg.from:seg.to]
	return strings.ContainsRune(indicators, rune(text[0])) || strings.Contains(text, ": ") || strings.HasSuffix(text, ":") ||
		strings.ContainsAny(text, "{}[]") && inBrackets(src, seg.from)
}

// inBrackets says whether an offset is inside brackets that its line opens.
func inBrackets(src *source, at int) bool {
	begin := src.lines[src.lineOf(at)]
	return scanBrackets(src.text[begin:at], false) < at-begin
}

// valueAt returns the segment of the value that begins at from: up to a
// comment or the line's end, inside brackets up to what ends the value there.
func valueAt(src *source, from int) segment {
	i := src.lineOf(from)
	line := src.line(i)
	column := from - src.lines[i]
	n := len(line) - column
	if inBrackets(src, from) {
		n = scanBrackets(line[column:], true)
	}
	text := line[column : column+n]
	if c := strings.Index(text, " #"); c >= 0 {
		text = text[:c]
	}
	return segment{from, from + len(strings.TrimRight(text, " \t"))}
}

// scanBrackets returns where text leaves the brackets it began in: with
// inside, at the first comma or closing bracket of the outer level; without,
// at the bracket that is still open at the end, len(text) if none is.
func scanBrackets(text string, inside bool) int {
	var s brackets
	for i := range len(text) {
		if inside && s.outside() && strings.IndexByte(",}]", text[i]) >= 0 {
			return i
		}
		s.step(text, i)
	}
	if !inside && len(s.open) > 0 {
		return s.open[0]
	}
	return len(text)
}

// blot replaces what is special in a segment by placeholders, one for each
// character, so that every later column stays. text is src.text with earlier
// segments replaced.
func blot(text string, src *source, seg segment) string {
	line, column := src.at(seg.from)
	width := utf8.RuneCountInString(src.text[seg.from:seg.to])
	lines := strings.Split(text, "\n")
	runes := []rune(lines[line-1])
	for i := column - 1; i < column-1+width; i++ {
		if i == column-1 || runes[i] < 0x80 && !alphanumeric(runes[i]) {
			runes[i] = placeholder
		}
	}
	lines[line-1] = string(runes)
	return strings.Join(lines, "\n")
}

func alphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// tagged finds the tags, which must not stay: one without a value on its line
// takes the lines that follow as its value.
func (d *document) tagged(src *source, file *ast.File) (tags []segment) {
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		for _, n := range ast.Filter(ast.TagType, doc.Body) {
			seg := valueAt(src, start(src, n))
			if _, again := d.broken[seg.from]; !again && seg.to > seg.from {
				tags = append(tags, seg)
			}
		}
	}
	return tags
}

// start returns where a node begins in the file.
func start(src *source, n ast.Node) int {
	t := n.GetToken()
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		t = m.Values[0].Key.GetToken()
	}
	if m, ok := n.(*ast.MappingValueNode); ok {
		t = m.Key.GetToken()
	}
	if t == nil || t.Position == nil {
		return 0
	}
	read := src
	if src.patched != nil {
		read = src.patched
	}
	line, column := read.at(read.find(t))
	return src.offset(line, column)
}

// find returns the offset of a token. The library's position of a plain text
// of several lines may be that of a later line; the token's text tells.
func (s *source) find(t *token.Token) int {
	at := s.offset(t.Position.Line, t.Position.Column)
	first, _, _ := strings.Cut(strings.TrimSpace(t.Origin), "\n")
	if t.Type == token.ImplicitNullType || strings.HasPrefix(s.text[at:], first) {
		return at
	}
	if before := strings.LastIndex(s.text[:at], first); before >= 0 {
		return before
	}
	return at
}
