// Package codec reads and writes the payloads that rules look into.
//
// A rule names the fields it reads as Paths. Paths.Scan goes over a JSON text
// once, checks all of it, and notes where each field stands; a Value is
// decoded only when somebody asks for it. Decode makes Go values of a whole
// text. Both agree with each other and with encoding/json on what is valid
// (RFC 8259) and on what it means, except that
//
//   - integers that fit are int64, never float64;
//   - a text nested deeper than MaxDepth is refused;
//   - of an object's repeated keys the last one counts, and only that one: an
//     earlier object under the same key is forgotten, not merged.
//
// Strings without escapes are views into the text they were read from, which
// must therefore never change.
package codec

import (
	"strconv"
)

// MaxDepth is how deep arrays and objects may nest.
const MaxDepth = 1000

// A SyntaxError says where a text stops being JSON.
type SyntaxError struct {
	Offset int // bytes into the text
	Detail string
}

func (e *SyntaxError) Error() string {
	return "invalid JSON at byte " + strconv.Itoa(e.Offset) + ": " + e.Detail
}

func syntax(at int, detail string) error { return &SyntaxError{Offset: at, Detail: detail} }

// bad words the error for the byte at i, which is none of what may stand there.
func bad(data []byte, i int, wanted string) error {
	if i >= len(data) {
		return syntax(len(data), "unexpected end, "+wanted)
	}
	return syntax(i, "unexpected "+strconv.QuoteRune(rune(data[i]))+", "+wanted)
}
