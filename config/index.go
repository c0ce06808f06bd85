package config

import (
	"regexp"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/problem"
)

// A place is where a value was written.
type place struct {
	src        *source // nil: an environment variable
	variable   string
	key, value int   // offsets of the key and of the value
	text       spans // where each byte of the value's text stands
}

// An index knows the place of every value by its path.
type index struct {
	places map[string]place
	// broken holds the values with a complaint: what Validate says about them
	// is a consequence and not shown.
	broken  map[string]bool
	strange map[string]bool // maps with a key that is a map and unknown
	unread  bool            // a file could not be read as YAML at all
}

func newIndex() *index {
	return &index{places: map[string]place{}, broken: map[string]bool{}, strange: map[string]bool{}}
}

// nearest returns the place of path or of what holds it. exact says which.
func (ix *index) nearest(path string) (at place, exact, found bool) {
	for p := path; ; p = parent(p) {
		if at, found = ix.places[p]; found {
			return at, p == path, true
		}
		if p == "" {
			return place{}, false, false
		}
	}
}

// parent cuts the last key or list index off a path.
func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

// locate gives a problem that has only a path its place in a file.
func (ix *index) locate(p problem.Problem) problem.Problem {
	at, exact, found := ix.nearest(p.Path)
	switch {
	case p.Line > 0 || !found:
		return p
	case at.src == nil:
		p.File = at.variable
		return p
	case exact && p.Key:
		return at.src.place(p, at.key)
	case exact && len(at.text) > 0 && p.Offset > 0:
		return at.src.place(p, at.text.source(p.Offset, at.value))
	case exact:
		return at.src.place(p, at.value)
	}
	return at.src.place(p, at.key) // something is missing below that key
}

// consequence says whether a complaint only follows from one that was made
// before: about the value or what holds it, about the captures of its rule, or
// about a key that is now called missing.
func (ix *index) consequence(p problem.Problem) bool {
	for path := p.Path; path != ""; path = parent(path) {
		if ix.broken[path] || ix.broken[path+".from"] && usesCaptures(p.Path) {
			return true
		}
	}
	for b := range ix.broken {
		if parent(b) == p.Path && mentions(p.Message+" "+p.Hint, b[len(p.Path):]) {
			return true
		}
	}
	return false
}

// usesCaptures says whether the value at a path of a rule may name what its
// filters capture.
func usesCaptures(path string) bool {
	shape := regexp.MustCompile(`\[\d+\]`).ReplaceAllString(path, "")
	if below, ok := strings.CutPrefix(shape, "rules.to.headers."); ok && below != "" {
		return true
	}
	r := roleOf(shape)
	return r == expression || r == template || strings.HasPrefix(shape, "rules.tests")
}

// mentions says whether a text holds a key as a word of its own.
func mentions(text, key string) bool {
	key = strings.Trim(key, ".[]")
	return slices.Contains(strings.FieldsFunc(text, func(r rune) bool { return r < 0x80 && !alphanumeric(r) && r != '_' }), key)
}

// lost says whether there was a complaint about what is at path or below it.
func (ix *index) lost(path string) bool {
	for b := range ix.broken {
		rest, ok := strings.CutPrefix(b, path)
		if ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}
