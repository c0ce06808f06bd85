package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// An expander replaces ${env:NAME}, ${env:NAME:-default} and ${file:path} in
// texts.
type expander struct {
	environ map[string]string
	dir     string // relative paths begin here
	literal bool   // nothing is replaced
}

// An expandError is a reference that cannot be replaced.
type expandError struct {
	offset        int // in the text
	message, hint string
}

// expand replaces the references in a text and in its map to the file. In a
// template what is put in is literal, and holes, which are expressions, stay
// as they are.
func (e *expander) expand(value string, m spans, start int, r role) (string, spans, *expandError) {
	if e.literal || r == expression || !strings.Contains(value, "${") {
		return value, m, nil
	}
	var out strings.Builder
	var places spans
	copyTo := func(from, to int) {
		for i := from; i < to; i++ {
			places = places.add(m.source(i, start), 1, false)
		}
		out.WriteString(value[from:to])
	}
	done := 0
	for _, at := range references(value, r) {
		copyTo(done, at)
		put, used, err := e.reference(value[at:])
		if err != nil {
			err.offset = at
			return value, m, err
		}
		if r == template {
			put = strings.NewReplacer("{", "{{", "}", "}}").Replace(put)
		}
		places = places.add(m.source(at, start), len(put), true)
		out.WriteString(put)
		done = at + used
	}
	copyTo(done, len(value))
	return out.String(), places, nil
}

// references returns where a text has ${ or $${, in a template outside holes.
func references(value string, r role) []int {
	var found []int
	for i := 0; i < len(value); {
		rest := value[i:]
		switch {
		case strings.HasPrefix(rest, "$${"):
			found = append(found, i)
			i += len("$${")
		case strings.HasPrefix(rest, "${"):
			found = append(found, i)
			i += max(referenceEnd(rest), 1) + 1
		case r == template && strings.HasPrefix(rest, "{{"):
			i += 2
		case r == template && rest[0] == '{':
			i += hole(rest)
		default:
			i++
		}
	}
	return found
}

// referenceEnd returns where the brace is that closes a reference, -1 if none
// does.
func referenceEnd(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// reference returns what the reference at the beginning of s stands for and
// how long it is.
func (e *expander) reference(s string) (put string, used int, err *expandError) {
	if strings.HasPrefix(s, "$${") {
		return "${", len("$${"), nil
	}
	end := referenceEnd(s)
	if end < 0 {
		return "", 0, &expandError{message: "this ${ is never closed", hint: "write $${ for a literal ${"}
	}
	kind, rest, _ := strings.Cut(s[len("${"):end], ":")
	switch kind {
	case "env":
		put, err = e.variable(rest)
	case "file":
		put, err = e.content(rest)
	default:
		err = unknownReference(s[:end+1])
	}
	return put, end + 1, err
}

func unknownReference(ref string) *expandError {
	hint := "write ${env:NAME} or ${file:path}, or $${ for a literal ${"
	if regexp.MustCompile(`^\$\{[A-Za-z_][A-Za-z0-9_]*\}$`).MatchString(ref) {
		name := ref[len("${") : len(ref)-1]
		hint = fmt.Sprintf("for an environment variable write ${env:%s}; for a hole in a template write {%s}", name, name)
	}
	return &expandError{message: "this is not a reference", hint: hint}
}

// variable returns the value of NAME or of NAME:-default.
func (e *expander) variable(rest string) (string, *expandError) {
	name, otherwise, hasDefault := strings.Cut(rest, ":-")
	if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(name) {
		return "", &expandError{message: "this is not the name of an environment variable", hint: "write ${env:NAME} or ${env:NAME:-default}"}
	}
	if strings.Contains(otherwise, "${") {
		return "", &expandError{message: "a default cannot hold another reference"}
	}
	value, set := e.environ[name]
	switch {
	case set && (value != "" || !hasDefault):
		return value, nil
	case hasDefault:
		return otherwise, nil
	}
	return "", &expandError{
		message: fmt.Sprintf("the environment variable %s is not set", name),
		hint:    fmt.Sprintf("set it, or give a default: ${env:%s:-default}", name),
	}
}

// content returns what is in a file, without one line feed at its end.
func (e *expander) content(path string) (string, *expandError) {
	if path == "" {
		return "", &expandError{message: "the file's path is missing", hint: "write ${file:path}"}
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(e.dir, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", &expandError{message: "read referenced file: " + err.Error()}
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}
