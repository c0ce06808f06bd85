package problem

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Of a longer line only the part around the caret is shown.
const (
	maxExcerpt  = 120 // characters shown at most
	beforeCaret = 60  // of these, how many stand before the caret at least
	ellipsis    = '…'
)

// excerpt returns the part of line that is shown and the white space that puts
// a caret under the character at column, which counts from 1 and may be one
// beyond the end.
func excerpt(line string, column int) (shown, pad string) {
	runes := []rune(line)
	at := min(max(column-1, 0), len(runes))
	runes, at = window(runes, at)
	for i, r := range runes {
		if unicode.IsControl(r) && r != '\t' {
			runes[i] = unicode.ReplacementChar // a terminal must not obey a file
		}
	}
	return string(runes), indent(runes[:at])
}

// window cuts a long line down to the part around at.
func window(runes []rune, at int) ([]rune, int) {
	if len(runes) <= maxExcerpt {
		return runes, at
	}
	from := min(max(at-beforeCaret, 0), len(runes)-maxExcerpt)
	to := from + maxExcerpt
	part := append([]rune(nil), runes[from:to]...)
	if from > 0 {
		part[0] = ellipsis
	}
	if to < len(runes) {
		part[len(part)-1] = ellipsis
	}
	return part, at - from
}

// indent returns white space as wide as the runes: tabs stay tabs, and what a
// terminal shows two columns wide counts twice.
func indent(runes []rune) string {
	var b strings.Builder
	for _, r := range runes {
		switch {
		case r == '\t':
			b.WriteByte('\t')
		case unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r):
		case wide(r):
			b.WriteString("  ")
		default:
			b.WriteByte(' ')
		}
	}
	return b.String()
}

func wide(r rune) bool {
	k := width.LookupRune(r).Kind()
	return k == width.EastAsianWide || k == width.EastAsianFullwidth
}
