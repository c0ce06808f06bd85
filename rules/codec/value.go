package codec

import (
	"errors"
	"math"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// Kind says what a Value is.
type Kind byte

// The kinds. Absent is the zero Value: the path leads nowhere.
const (
	Absent Kind = iota
	Null
	False
	True
	Int   // an integer that fits int64
	Float // every other number
	Text
	Object
	Array
)

// ErrRange is the error of a number too large for a float64.
var ErrRange = errors.New("number out of range")

// A Value is a place in a JSON text that was checked.
type Value struct {
	Raw   []byte // the value's own text, a view
	Kind  Kind
	plain bool // a Text of ASCII without escapes
}

// Missing reports whether there is nothing: the path leads nowhere, or to null.
func (v Value) Missing() bool { return v.Kind <= Null }

// Number reports whether v is a number.
func (v Value) Number() bool { return v.Kind == Int || v.Kind == Float }

// Int64 returns the number of an Int.
func (v Value) Int64() int64 {
	digits := v.Raw
	if digits[0] == '-' {
		digits = digits[1:]
	}
	var n uint64
	for _, c := range digits {
		n = n*10 + uint64(c-'0')
	}
	if v.Raw[0] == '-' {
		return int64(-n)
	}
	return int64(n)
}

// Float64 returns the number of an Int or a Float, or ErrRange.
func (v Value) Float64() (float64, error) {
	if v.Kind == Int {
		return float64(v.Int64()), nil
	}
	f, err := strconv.ParseFloat(view(v.Raw), 64)
	if err != nil || math.IsInf(f, 0) {
		return 0, ErrRange
	}
	return f, nil
}

// Text returns the text of a Text: a view where it has no escapes.
func (v Value) Text() string { return unquote(v.Raw[1:len(v.Raw)-1], v.plain) }

// Verbatim reports whether the JSON text of a scalar can be written as it is:
// it is not a text that is broken UTF-8.
func (v Value) Verbatim() bool {
	return v.plain || v.Kind != Text || utf8.Valid(v.Raw)
}

// Any decodes v: nil, bool, int64, float64, string, []any or map[string]any.
func (v Value) Any() (any, error) {
	switch v.Kind {
	case Absent, Null:
		return nil, nil
	case False, True:
		return v.Kind == True, nil
	case Int:
		return v.Int64(), nil
	case Float:
		return v.Float64()
	case Text:
		return v.Text(), nil
	default:
		return Decode(v.Raw)
	}
}

// view returns b as a string that shares its bytes.
func view(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // the text of a message never changes
}

// unquote returns the text of a string's inside: a view where no byte changes.
func unquote(inside []byte, plain bool) string {
	if plain {
		return view(inside)
	}
	i := 0
	for i < len(inside) && inside[i] != '\\' {
		i++
	}
	if i == len(inside) && utf8.Valid(inside) {
		return view(inside)
	}
	return view(unescape(make([]byte, 0, len(inside)), inside))
}

// unescape appends the text of a string's inside. What is not UTF-8 becomes
// U+FFFD byte by byte, as encoding/json has it.
func unescape(dst, inside []byte) []byte {
	for i := 0; i < len(inside); {
		switch c := inside[i]; {
		case c == '\\' && inside[i+1] == 'u':
			r, n := unicodeEscape(inside[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
		case c == '\\':
			dst = append(dst, unescaped(inside[i+1]))
			i += 2
		case c < utf8.RuneSelf:
			dst = append(dst, c)
			i++
		default:
			r, n := utf8.DecodeRune(inside[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
		}
	}
	return dst
}

func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// unicodeEscape decodes the \u escape b begins with, two of them when they are
// a surrogate pair, and returns how many bytes it took.
func unicodeEscape(b []byte) (rune, int) {
	r := hex4(b)
	if r < 0xD800 || r > 0xDFFF {
		return r, 6
	}
	if r < 0xDC00 && len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
		if low := hex4(b[6:]); low >= 0xDC00 && low <= 0xDFFF {
			return (r-0xD800)<<10 + (low - 0xDC00) + 0x10000, 12
		}
	}
	return utf8.RuneError, 6
}

func hex4(b []byte) rune {
	var r rune
	for _, c := range b[2:6] {
		r = r<<4 + rune(hexDigit(c))
	}
	return r
}
