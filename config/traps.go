package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/penstock/penstock/rules"
)

// singleQuotes is what nearly every trap of YAML needs.
const singleQuotes = "put it in single quotes"

// quoted returns how to write a text in single quotes, in one line.
func quoted(s string) string {
	if r := []rune(s); len(r) > 80 || strings.Contains(s, "\n") {
		return singleQuotes
	}
	return fmt.Sprintf("%s: '%s'", singleQuotes, strings.ReplaceAll(s, "'", "''"))
}

// bare takes anchors off a node, complaining about them and about aliases.
func (w *walker) bare(n ast.Node, t reflect.Type, s spot) (ast.Node, bool) {
	at := 0
	if n != nil {
		at = start(w.src, n)
	}
	hint := "write the value out"
	if t.Kind() == reflect.String && roleOf(s.shape) != secret {
		seg := valueAt(w.src, at)
		hint += ", or " + quoted(w.src.text[seg.from:seg.to])
	}
	switch v := n.(type) {
	case *ast.AnchorNode:
		w.complain(at, s.path, "& starts a YAML anchor, which is not supported", hint)
		switch v.Value.(type) {
		case *ast.MappingNode, *ast.SequenceNode:
			return v.Value, true
		}
		return nil, false
	case *ast.AliasNode:
		w.complain(at, s.path, "* starts a YAML alias, which is not supported", hint)
		return nil, false
	case *ast.TagNode:
		w.complain(at, s.path, "! starts a YAML tag, which is not supported", "leave the tag out")
		return nil, false
	}
	return n, n != nil
}

func isNull(n ast.Node) bool {
	_, null := n.(*ast.NullNode)
	return null
}

// null complains about a value that is missing.
func (w *walker) null(n ast.Node, t reflect.Type, s spot) bool {
	at, found := w.index.places[s.path]
	offset := start(w.src, n)
	if found && at.src == w.src {
		offset = at.key
	}
	word := written(w.src, n)
	if word != "" {
		offset = start(w.src, n)
	}
	hint := "write a value, or leave the key out"
	switch {
	case s.shape == "sinks.stdout" || s.shape == "sinks.kafka.tls":
		hint = fmt.Sprintf("for its defaults write %s: {}", s.leaf())
	case s.shape == expectedValue:
		hint = "for a tombstone write null; else write a value, or leave the key out"
	case t.Kind() == reflect.String && word != "":
		hint = fmt.Sprintf("for the text write '%s'; else leave the key out", word)
	}
	message := fmt.Sprintf("%q has no value", s.leaf())
	if comment := w.commentAt(offset); comment != "" && roleOf(s.shape) == filter { // # is a topic filter
		message = fmt.Sprintf("# starts a YAML comment here, so that %q has no value", s.leaf())
		hint = quoted(comment)
	}
	if strings.HasSuffix(s.path, "]") {
		message = fmt.Sprintf("this entry of %q is empty", s.leaf())
		hint = "write a value, or leave the entry out"
	}
	w.complain(offset, s.path, message, hint)
	return false
}

// commentAt returns the comment that stands in the place of the value of the
// key at an offset, "" for none.
func (w *walker) commentAt(offset int) string {
	line, _, _ := strings.Cut(w.src.text[offset:], "\n")
	_, after, _ := strings.Cut(line, ":")
	if after = strings.TrimSpace(after); strings.HasPrefix(after, "#") {
		return after
	}
	return ""
}

// written returns the word that stands for null, "" if there is none.
func written(src *source, n ast.Node) string {
	at := start(src, n)
	for _, word := range []string{"~", "null", "Null", "NULL"} {
		if strings.HasPrefix(src.text[at:], word) {
			return word
		}
	}
	return ""
}

// misreadText explains a text that YAML could not read as such.
func (w *walker) misreadText(at int, s spot) bool {
	seg, known := w.doc.broken[at]
	if !known || seg.to <= seg.from {
		w.complain(at, s.path, "YAML cannot read this", singleQuotes)
		return false
	}
	source := w.src.text[seg.from:seg.to]
	message, offset := indicator(source)
	hint := quoted(source)
	switch r := roleOf(s.shape); {
	case r == secret:
		w.src.hide(seg.from, seg.to)
		hint = singleQuotes
	case source[0] == '!' && r == expression:
		hint += ", or write not: not " + strings.TrimLeft(source, "! ")
	case source[0] == '!' && strings.HasSuffix(source, "}") || strings.HasPrefix(source, "!!"):
		hint = "leave the tag out; if it is text, " + singleQuotes
	}
	w.complain(at+offset, s.path, message, hint)
	return false
}

// explainBroken explains the values that YAML misread in a file of which
// nothing else could be read.
func (w *walker) explainBroken() {
	for at, seg := range w.doc.broken {
		message, offset := indicator(w.src.text[seg.from:seg.to])
		w.complain(at+offset, "", message, singleQuotes)
	}
}

// indicator says what the special character of a text means to YAML.
func indicator(source string) (message string, offset int) {
	switch c := source[0]; c {
	case '!':
		return "! starts a YAML tag here, not a text", 0
	case '{', '[':
		return fmt.Sprintf("%c starts a YAML %s here, not a text", c, map[byte]string{'{': "map", '[': "list"}[c]), 0
	case '"', '\'':
		return fmt.Sprintf("%c starts a quoted YAML text here, which ends before the line does", c), 0
	case '&':
		return "& starts a YAML anchor here", 0
	case '*':
		return "* starts a YAML alias here", 0
	case '|', '>':
		return fmt.Sprintf("%c starts a block of text here", c), 0
	case '-', '?', ',', ']', '}':
		return fmt.Sprintf("%c has a meaning of its own in YAML and cannot begin a text here", c), 0
	case '@', '`', '%':
		return fmt.Sprintf("%c cannot begin a plain YAML text", c), 0
	}
	return colonOrBracket(source)
}

// colonOrBracket is indicator for what is inside a text.
func colonOrBracket(source string) (message string, offset int) {
	if i := strings.Index(source, ": "); i >= 0 {
		return "`: ` ends a YAML key, it cannot stand inside plain text", i
	}
	if strings.HasSuffix(source, ":") {
		return "a `:` at the end makes the text a YAML key", len(source) - 1
	}
	if i := strings.IndexAny(source, "{}[]"); i >= 0 {
		return fmt.Sprintf("%c cannot stand in plain text inside brackets", source[i]), i
	}
	return "YAML cannot read this", 0
}

// colon complains about `: ` in plain text inside brackets, which the library
// lets pass but YAML does not.
func (w *walker) colon(n ast.Node, value string, s spot) bool {
	if !isPlain(n) || !strings.Contains(value, ": ") {
		return false
	}
	hint := quoted(value)
	if roleOf(s.shape) == secret {
		hint = singleQuotes
	}
	message, offset := colonOrBracket(value)
	w.complain(start(w.src, n)+offset, s.path, message, hint)
	return true
}

// cut complains about a plain text that a comment ends too early. Where the
// text may well end there, nothing is said.
func (w *walker) cut(n ast.Node, value string, end int, s spot) bool {
	r := roleOf(s.shape)
	if !isPlain(n) || r == filePath || r == secret {
		return false
	}
	rest, _, _ := strings.Cut(w.src.text[end:], "\n")
	gap := len(rest) - len(strings.TrimLeft(rest, " \t"))
	if gap == 0 || gap == len(rest) || rest[gap] != '#' {
		return false
	}
	if !unfinished(value, r) && (gap > 1 || !glued(rest[gap:], r)) {
		return false
	}
	whole := value + strings.TrimRight(rest, " \t")
	w.complain(end+gap, s.path, "a # after a blank starts a YAML comment, which cuts this text short", quoted(whole))
	return true
}

// glued says whether what begins with # looks like a part of an expression,
// template or topic rather than a remark.
func glued(comment string, r role) bool {
	return (r == expression || r == template || r == filter) && len(comment) > 1 &&
		comment[1] != ' ' && comment[1] != '\t' && comment[1] != '#'
}

// unfinished says whether a text ends in the middle: an operator, or quotes or
// brackets that are open.
func unfinished(value string, r role) bool {
	switch r {
	case expression:
		return endsInOperator(value) || unclosedBrackets(value)
	case filter, template:
		return strings.HasSuffix(value, "/") || strings.Count(value, "{") > strings.Count(value, "}")
	default:
		return false
	}
}

func endsInOperator(value string) bool {
	for _, op := range []string{"==", "!=", "<", ">", "=", "&&", "||", "+", "-", "*", "/", "%", "(", "[", "{", ",", "?", ":", "!", "|", " and", " or", " not", " in", " matches", " contains"} {
		if strings.HasSuffix(value, op) {
			return true
		}
	}
	return false
}

// emptyBlock complains about `|` or `>` with nothing below: as in `where: >3`,
// which is an empty text for YAML.
func (w *walker) emptyBlock(n ast.Node, value string, s spot) bool {
	block, is := n.(*ast.LiteralNode)
	if !is || strings.TrimSpace(value) != "" {
		return false
	}
	at := start(w.src, n)
	line := w.src.line(w.src.lineOf(at))
	text := line[at-w.src.lines[w.src.lineOf(at)]:]
	w.complain(at, s.path, block.Start.Value[:1]+" starts a block of text here, and nothing is in it", quoted(strings.TrimSpace(text)))
	return true
}

// notText complains about a map or list where a text belongs: in a template or
// expression with brackets it was meant as one.
func (w *walker) notText(n ast.Node, s spot, what, example string) bool {
	r := roleOf(s.shape)
	if !isFlow(n) || r != expression && r != template && r != secret && s.leaf() != "topic" {
		return w.wrongType(n, s, what, example)
	}
	at := start(w.src, n)
	seg := valueAt(w.src, at)
	source := w.src.text[seg.from:seg.to]
	message := fmt.Sprintf("{...} without quotes is a YAML map, but %q takes %s", s.leaf(), what)
	if source[0] == '[' {
		message = fmt.Sprintf("[...] without quotes is a YAML list, but %q takes %s", s.leaf(), what)
	}
	hint := quoted(source)
	if r == secret {
		w.src.hide(seg.from, seg.to)
	}
	if r == secret || strings.Contains(source, "'") || unclosedBrackets(source) {
		hint = singleQuotes
	}
	w.complain(at, s.path, message, hint)
	return false
}

// isFlow says whether a map or list is written with brackets.
func isFlow(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.IsFlowStyle
	case *ast.SequenceNode:
		return n.IsFlowStyle
	}
	return false
}

// wrongType says what is expected instead of what is there.
func (w *walker) wrongType(n ast.Node, s spot, what, example string) bool {
	if value, _, ok := scalarValue(n); ok && strings.ContainsRune(value, placeholder) {
		return w.misreadText(start(w.src, n), s)
	}
	subject := fmt.Sprintf("%q takes", s.leaf())
	if s.path == "" {
		subject = "the file should hold"
	} else if strings.HasSuffix(s.path, "]") {
		subject = fmt.Sprintf("an entry of %q is", s.leaf())
	}
	hint := ""
	if example != "" {
		hint = "for example: " + example
	}
	w.complain(start(w.src, n), s.path, fmt.Sprintf("%s %s, but this is %s", subject, what, found(n)), hint)
	return false
}

// found names what a node is.
func found(n ast.Node) string {
	if _, isMap := entriesOf(n); isMap {
		return "a map"
	}
	if _, isList := itemsOf(n); isList {
		return "a list"
	}
	if value, _, ok := scalarValue(n); ok && len(value) <= 40 && !strings.ContainsAny(value, "\n\ufdd0") {
		return "'" + value + "'"
	}
	return "a text"
}

// mapExample and listExample show the shortest forms of a type.
func mapExample(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Config]():
		return "listeners: [{bind: 127.0.0.1:1883}]"
	case reflect.TypeFor[rules.GivenConfig]():
		return "{topic: plant/7/telemetry, payload: {temp: 91}}"
	}
	var keys []string
	for _, f := range fieldsOf(t) {
		keys = append(keys, f.key+": ...")
	}
	return "{" + strings.Join(keys[:min(len(keys), 2)], ", ") + "}"
}

func listExample(t reflect.Type) string {
	if t.Kind() == reflect.Struct {
		return "[" + mapExample(t) + "]"
	}
	return "[one, two]"
}
