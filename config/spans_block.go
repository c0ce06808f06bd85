package config

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// hexEscape is escape for \x, \u and \U; two \u may be one character.
func hexEscape(s string, digits int) (n, used int) {
	used = 2 + digits
	r, ok := hexRune(s, used)
	if !ok {
		return 1, min(used, len(s))
	}
	if digits == 4 && utf16.IsSurrogate(r) && strings.HasPrefix(s[used:], `\u`) {
		if low, ok := hexRune(s[used:], 6); ok {
			r, used = utf16.DecodeRune(r, low), 12
		}
	}
	return max(utf8.RuneLen(r), 1), used
}

func hexRune(s string, used int) (rune, bool) {
	if len(s) < used {
		return 0, false
	}
	v, err := strconv.ParseUint(s[2:used], 16, 32)
	return rune(v), err == nil
}

// header steps over the line of `|` or `>` and finds the indentation.
func (a *aligner) header() {
	line, _, found := strings.Cut(a.src[a.at:], "\n")
	a.at += len(line)
	if found {
		a.at++
	}
	for l := range strings.SplitSeq(a.src[a.at:], "\n") {
		if text := strings.TrimLeft(l, " "); text != "" {
			a.indent = len(l) - len(text)
			break
		}
	}
	if i := strings.IndexAny(line, "123456789"); i > 0 && i <= 2 {
		a.indent = min(a.indent, a.explicit(line[i]))
	}
	a.skipIndent()
}

// explicit returns the indentation that an indicator asks for: the parent's
// own is not known here, so that the first line of the value tells.
func (a *aligner) explicit(digit byte) int {
	first, _, _ := strings.Cut(a.value, "\n")
	lead := len(first) - len(strings.TrimLeft(first, " "))
	return max(a.indent-lead, int(digit-'0'))
}

func (a *aligner) skipIndent() {
	for n := 0; n < a.indent && a.at < len(a.src) && a.src[a.at] == ' '; n++ {
		a.at++
	}
}

// block finds one byte or a line end of a block scalar.
func (a *aligner) block() bool {
	if a.src[a.at] != '\n' {
		return a.take(1, 1, false)
	}
	n := a.folds()
	begin := a.at
	for a.at < len(a.src) && a.src[a.at] == '\n' {
		a.at++
		a.skipIndent()
	}
	end := a.at
	a.at = begin
	return a.take(n, end-begin, true)
}
