package config

// brackets follows the brackets and quotes of a text, byte by byte.
type brackets struct {
	open  []int // where those that are open stand
	quote byte  // that is open, 0: none
}

// step takes the byte at i into account.
func (b *brackets) step(text string, i int) {
	c := text[i]
	if b.quote != 0 {
		if c == b.quote && (c == '`' || !escaped(text, i)) {
			b.quote = 0
		}
		return
	}
	switch c {
	case '"', '\'', '`':
		b.quote = c
	case '{', '[', '(':
		b.open = append(b.open, i)
	case '}', ']', ')':
		b.open = b.open[:max(len(b.open)-1, 0)]
	}
}

// outside says whether no bracket and no quote is open.
func (b *brackets) outside() bool { return len(b.open) == 0 && b.quote == 0 }

// escaped says whether an odd number of backslashes stands before i.
func escaped(text string, i int) bool {
	n := 0
	for n < i && text[i-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// unclosedBrackets says whether quotes or brackets are open at the end of an
// expression.
func unclosedBrackets(value string) bool {
	var b brackets
	for i := range len(value) {
		b.step(value, i)
	}
	return !b.outside()
}

// hole returns the length of a template's hole: up to the brace that closes it.
func hole(s string) int {
	var b brackets
	for i := range len(s) {
		b.step(s, i)
		if b.outside() {
			return i + 1
		}
	}
	return len(s)
}
