// Package problem is how Penstock tells a person what is wrong with something
// they wrote: where it is, what is wrong in plain words, and what to do.
//
// A package that validates its part of the configuration knows only the path
// of a value (`rules[0].to[1].topic`); package config turns the path into
// file, line and column. A List of problems is an error, so that all of them
// are shown at once.
package problem

import (
	"cmp"
	"fmt"
	"strings"
)

// A Problem is one complaint about one place.
type Problem struct {
	// Path names the value: keys joined by dots, list indexes in brackets,
	// relative to whoever asked (`to[1].topic`), absolute once config has it.
	Path string
	// Offset is the byte offset of the complaint inside the value's text, for
	// values that are programs (expressions, templates); 0 is its beginning.
	Offset int
	// Key says the complaint is about the key at Path, not about its value.
	Key bool

	Message string // what is wrong, one plain sentence without a full stop
	Hint    string // what to do, or ""

	// File, Line and Column (both from 1, Column counting characters) are set
	// by config; Line 0 means unknown. Snippet is the source line itself.
	File    string
	Line    int
	Column  int
	Snippet string
	// Caret is the column of the caret in Snippet, where that is not Column
	// because a secret before it was masked; 0 = Column.
	Caret int
}

// New returns a problem with the value at path.
func New(path, format string, args ...any) Problem {
	return Problem{Path: path, Message: fmt.Sprintf(format, args...)}
}

// WithHint returns p with a hint.
func (p Problem) WithHint(format string, args ...any) Problem {
	p.Hint = fmt.Sprintf(format, args...)
	return p
}

// At returns p moved to an offset inside the value's text.
func (p Problem) At(offset int) Problem {
	p.Offset = offset
	return p
}

// Error prints the problem as people see it: place, message, the line with a
// caret under the column, and the hint.
func (p Problem) Error() string {
	var b strings.Builder
	switch {
	case p.Line > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	case p.File != "":
		fmt.Fprintf(&b, "%s: ", p.File)
	case p.Path != "":
		fmt.Fprintf(&b, "%s: ", p.Path)
	}
	b.WriteString(p.Message)
	if p.Snippet != "" {
		line, pad := excerpt(p.Snippet, cmp.Or(p.Caret, p.Column))
		fmt.Fprintf(&b, "\n    %s\n    %s^", line, pad)
	}
	if p.Hint != "" {
		fmt.Fprintf(&b, "\n    %s", p.Hint)
	}
	return b.String()
}

// A List is every problem found; a non-empty one is an error.
type List []Problem

// Error prints every problem, one after the other.
func (l List) Error() string {
	parts := make([]string, len(l))
	for i, p := range l {
		parts[i] = p.Error()
	}
	return strings.Join(parts, "\n")
}

// Err returns the list as an error, nil when it is empty.
func (l List) Err() error {
	if len(l) == 0 {
		return nil
	}
	return l
}

// Under returns the list with every path put below prefix.
func (l List) Under(prefix string) List {
	for i := range l {
		l[i].Path = Join(prefix, l[i].Path)
	}
	return l
}

// Join joins two paths.
func Join(prefix, path string) string {
	switch {
	case prefix == "":
		return path
	case path == "" || path[0] == '[':
		return prefix + path
	default:
		return prefix + "." + path
	}
}

// Nearest returns the candidate that word was probably meant to be, or "" when
// none is near: at most one edit for four letters, two up to eight, three beyond.
func Nearest(word string, candidates []string) string {
	best, bestAt := "", 1+min(3, 1+(len(word)-1)/4)
	for _, c := range candidates {
		if d := distance(word, c); d < bestAt && d < len(word) {
			best, bestAt = c, d
		}
	}
	return best
}

// DidYouMean returns `did you mean "x"?` for the nearest candidate, or "".
func DidYouMean(word string, candidates []string) string {
	if n := Nearest(word, candidates); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	return ""
}

// distance is the Damerau-Levenshtein distance with adjacent swaps.
func distance(a, b string) int {
	prev2 := make([]int, len(b)+1)
	prev := make([]int, len(b)+1)
	cur := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
