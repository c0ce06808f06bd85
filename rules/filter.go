package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/problem"
)

// maxTopic is the longest topic name or filter, in bytes [MQTT-4.7.3-3].
const maxTopic = 65535

var captureName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// A capture is a name that a filter gives to a level of the topic, or to all
// that is left of it.
type capture struct {
	name string
	rest bool
}

// A filter is a topic filter whose wildcards may have names.
type filter struct {
	levels   []level
	captures []capture // in the order of the filter
}

type levelKind byte

const (
	literal levelKind = iota
	single            // +
	multi             // #, always the last
)

type level struct {
	kind    levelKind
	text    string
	capture int // index into the rule's captures, -1 for none
}

// parseFilter reads a filter such as plant/{line}/+/{rest...}.
func parseFilter(path, text string) (filter, problem.List) {
	var f filter
	if p, ok := wrongFilter(path, text); !ok {
		return f, problem.List{p}
	}
	var problems problem.List
	offset := 0
	parts := strings.Split(text, "/")
	for i, part := range parts {
		l, c, detail := parseLevel(part, i == len(parts)-1)
		if detail == "" && c.name != "" && slices.ContainsFunc(f.captures, func(o capture) bool { return o.name == c.name }) {
			detail = fmt.Sprintf("the name {%s} is given twice", c.name)
		}
		if detail != "" {
			problems = append(problems, problem.New(path, "%s", detail).At(offset))
		}
		if c.name != "" {
			l.capture = len(f.captures)
			f.captures = append(f.captures, c)
		}
		f.levels = append(f.levels, l)
		offset += len(part) + 1
	}
	return f, problems
}

func wrongFilter(path, text string) (problem.Problem, bool) {
	switch {
	case text == "":
		return problem.New(path, "a topic filter may not be empty"), false
	case len(text) > maxTopic:
		return problem.New(path, "a topic filter has at most %d bytes", maxTopic), false
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return problem.New(path, "a topic filter is UTF-8 text without NUL"), false
	}
	return problem.Problem{}, true
}

// parseLevel reads one level; detail says what is wrong with it.
func parseLevel(part string, last bool) (l level, c capture, detail string) {
	l = level{kind: literal, text: part, capture: -1}
	switch {
	case part == "+":
		l.kind = single
	case part == "#" && last:
		l.kind = multi
	case part == "#":
		detail = `"#" stands only at the end of a filter`
	case strings.HasPrefix(part, "{") && strings.HasSuffix(part, "}"):
		return parseCapture(part, last)
	case strings.ContainsAny(part, "{}"):
		detail = "a {name} takes a whole level of the topic"
	case strings.ContainsAny(part, "+#"):
		detail = fmt.Sprintf("a wildcard takes a whole level of the topic, %q is neither", part)
	}
	return l, c, detail
}

func parseCapture(part string, last bool) (l level, c capture, detail string) {
	l = level{kind: single, capture: -1}
	c.name, c.rest = strings.CutSuffix(part[1:len(part)-1], "...")
	if c.rest {
		l.kind = multi
	}
	switch {
	case !captureName.MatchString(c.name):
		return l, capture{}, fmt.Sprintf("%q is not a name: letters, digits and _, no digit first", c.name)
	case reserved(c.name):
		return l, capture{}, fmt.Sprintf("%q is a word of the expression language and cannot be a name", c.name)
	case c.rest && !last:
		return l, c, fmt.Sprintf("{%s...} stands only at the end of a filter", c.name)
	}
	return l, c, ""
}

// reserved reports whether expressions read name as something else than a name.
func reserved(name string) bool {
	switch name {
	case "and", "or", "not", "in", "let", "if", "else", "true", "false", "nil",
		"matches", "contains", "startsWith", "endsWith":
		return true
	}
	return false
}

// renumber makes f's levels refer to the captures of the rule's first filter;
// false: the two do not have the same ones.
func (f *filter) renumber(captures []capture) bool {
	if len(f.captures) != len(captures) {
		return false
	}
	for i := range f.levels {
		l := &f.levels[i]
		if l.capture < 0 {
			continue
		}
		if l.capture = slices.Index(captures, f.captures[l.capture]); l.capture < 0 {
			return false
		}
	}
	f.captures = captures
	return true
}

// match reports whether the filter matches a topic and puts what its names
// stand for into captures, which are views of the topic.
func (f *filter) match(topic string, captures []string) bool {
	if len(topic) > 0 && topic[0] == '$' && f.levels[0].kind != literal {
		return false // a leading wildcard matches no $-topic [MQTT-4.7.2-1]
	}
	rest, more := topic, true
	for i := range f.levels {
		l := &f.levels[i]
		if l.kind == multi {
			l.keep(captures, rest)
			return true
		}
		if !more {
			return false
		}
		var part string
		part, rest, more = strings.Cut(rest, "/")
		if l.kind == literal && l.text != part {
			return false
		}
		l.keep(captures, part)
	}
	return !more
}

func (l *level) keep(captures []string, text string) {
	if l.capture >= 0 {
		captures[l.capture] = text
	}
}

// mqtt returns the filter as MQTT spells it.
func (f *filter) mqtt() string {
	parts := make([]string, len(f.levels))
	for i, l := range f.levels {
		parts[i] = [...]string{literal: l.text, single: "+", multi: "#"}[l.kind]
	}
	return strings.Join(parts, "/")
}
