package config

import (
	"slices"
	"strings"
)

// A span says that length bytes of a value's text, from text on, stand in the
// file from source on. The bytes of a fixed span all come from one place: an
// escape, a folded line end, an expanded variable.
type span struct {
	text, source, length int
	fixed                bool
}

// spans maps every byte of a value's text to the file, in order and without
// gaps.
type spans []span

// add appends the next length bytes of the text.
func (m spans) add(source, length int, fixed bool) spans {
	if length == 0 {
		return m
	}
	text := 0
	if n := len(m); n > 0 {
		last := &m[n-1]
		text = last.text + last.length
		if !fixed && !last.fixed && last.source+last.length == source {
			last.length += length
			return m
		}
	}
	return append(m, span{text, source, length, fixed})
}

// source returns where in the file the byte at a text offset stands; the end
// of the text is behind its last byte.
func (m spans) source(text, otherwise int) int {
	for _, s := range slices.Backward(m) {
		switch {
		case text < s.text:
		case s.fixed:
			return s.source
		default:
			return s.source + min(text-s.text, s.length)
		}
	}
	return otherwise
}

// styles of YAML scalars.
type style byte

const (
	plain style = iota
	single
	double
	literal
	folded
)

// An aligner finds each byte of a scalar's decoded value in the file. The
// value is goccy/go-yaml's; following it through the source text gives the
// places that the library does not keep.
type aligner struct {
	src    string
	at     int // next byte of src
	value  string
	done   int // bytes of value found
	indent int // of block scalars
	out    spans
}

// align returns the places of value, whose scalar begins at start, and where
// it ends. ok is false when the source does not say what the value says.
func align(src string, start int, value string, s style) (m spans, end int, ok bool) {
	a := &aligner{src: src, at: start, value: value}
	switch s {
	case single, double:
		a.at++
		ok = a.run(a.quoted(s))
		a.at = min(a.at+1, len(src)) // the closing quote
	case literal, folded:
		a.header()
		ok = a.run(a.block)
	default:
		ok = a.run(a.flow)
	}
	return a.out, a.at, ok
}

// run finds the whole value, step by step.
func (a *aligner) run(step func() bool) bool {
	for a.done < len(a.value) {
		before := a.done
		if a.at >= len(a.src) || !step() || a.done == before {
			return a.done == len(a.value)
		}
	}
	return true
}

// take finds n bytes of the value at the next used bytes of the source.
func (a *aligner) take(n, used int, fixed bool) bool {
	if a.done+n > len(a.value) || a.at+used > len(a.src) {
		return false
	}
	if !fixed && a.value[a.done:a.done+n] != a.src[a.at:a.at+used] {
		return false
	}
	a.out = a.out.add(a.at, n, fixed)
	a.done += n
	a.at += used
	return true
}

// flow finds one byte, or a folded line end, of a plain scalar or of what
// stands between quotes.
func (a *aligner) flow() bool {
	if n := lineBreak(a.src[a.at:]); n > 0 {
		return a.take(a.folds(), n, true)
	}
	return a.take(1, 1, false)
}

// quoted is flow with the escapes of a style of quotes.
func (a *aligner) quoted(s style) func() bool {
	return func() bool {
		if s == single && strings.HasPrefix(a.src[a.at:], "''") {
			return a.take(1, 2, true)
		}
		for s == double && a.src[a.at] == '\\' {
			n, used := escape(a.src[a.at:])
			if n > 0 {
				return a.take(n, used, true)
			}
			a.at += used // an escaped line end stands for nothing
			if a.at >= len(a.src) {
				return false
			}
		}
		return a.flow()
	}
}

// folds returns how many bytes of the value stand for a line end: one blank,
// or the line feeds of the empty lines.
func (a *aligner) folds() int {
	n := 0
	for a.done+n < len(a.value) && a.value[a.done+n] == '\n' {
		n++
	}
	return max(n, 1)
}

// lineBreak returns the length of a line end with the white space around it
// and the empty lines after it; 0: there is none here.
func lineBreak(s string) int {
	trimmed := strings.TrimLeft(s, " \t")
	if !strings.HasPrefix(trimmed, "\n") {
		return 0
	}
	return len(s) - len(strings.TrimLeft(trimmed, " \t\n"))
}

// escape returns how many bytes an escape of double quotes stands for and how
// long it is.
func escape(s string) (n, used int) {
	if len(s) < 2 {
		return 1, len(s)
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[1]]
	if digits > 0 {
		return hexEscape(s, digits)
	}
	switch s[1] {
	case '\n':
		return 0, 1 + lineBreak(s[1:])
	case 'N', '_':
		return 2, 2
	case 'L', 'P':
		return 3, 2
	}
	return 1, 2
}
