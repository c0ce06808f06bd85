package codec

import (
	"encoding/binary"
	"math/bits"
)

// space returns the index of the first byte at or after i that is not white
// space.
func space(data []byte, i int) int {
	for i < len(data) {
		switch data[i] {
		case ' ', '\t', '\n', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// Words of eight bytes tell in a few instructions whether one of them ends the
// plain part of a string.
const (
	eachByte = 0x0101010101010101
	highBits = 0x8080808080808080
)

// plainRun returns the index of the first byte at or after i that is a quote, a
// backslash, a control character or not ASCII.
func plainRun(data []byte, i int) int {
	for i+8 <= len(data) {
		w := binary.LittleEndian.Uint64(data[i:])
		quote := w ^ eachByte*'"'
		slash := w ^ eachByte*'\\'
		// Each term's lowest high bit is exact; borrows only reach higher bytes.
		stop := (w | (w - eachByte*0x20) | (quote - eachByte) | (slash - eachByte)) & highBits
		if stop != 0 {
			return i + bits.TrailingZeros64(stop)/8
		}
		i += 8
	}
	for i < len(data) && data[i] >= 0x20 && data[i] < 0x80 && data[i] != '"' && data[i] != '\\' {
		i++
	}
	return i
}

// text scans the string whose opening quote stands at i. end is the index
// behind its closing quote; plain says that it holds ASCII without escapes.
func text(data []byte, i int) (end int, plain bool, err error) {
	plain = true
	for i++; ; {
		i = plainRun(data, i)
		if i >= len(data) {
			return i, false, syntax(len(data), "unexpected end inside a string")
		}
		switch c := data[i]; {
		case c == '"':
			return i + 1, plain, nil
		case c == '\\':
			plain = false
			if i, err = escape(data, i); err != nil {
				return i, false, err
			}
		case c < 0x20:
			return i, false, syntax(i, "control character inside a string")
		default:
			plain = false
			i++
		}
	}
}

// escape scans the escape whose backslash stands at i.
func escape(data []byte, i int) (int, error) {
	if i+1 >= len(data) {
		return i, syntax(len(data), "unexpected end inside a string")
	}
	switch data[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, nil
	case 'u':
		for j := i + 2; j < i+6; j++ {
			if j >= len(data) || hexDigit(data[j]) < 0 {
				return i, bad(data, j, "four hexadecimal digits must follow \\u")
			}
		}
		return i + 6, nil
	}
	return i, bad(data, i+1, "no such escape")
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// digits returns the index behind the digits at i, of which there must be one.
func digits(data []byte, i int, wanted string) (int, error) {
	first := i
	for i < len(data) && data[i] >= '0' && data[i] <= '9' {
		i++
	}
	if i == first {
		return i, bad(data, i, wanted)
	}
	return i, nil
}

// number scans the number that begins at i; integer says that it has neither
// a fraction nor an exponent.
func number(data []byte, i int) (end int, integer bool, err error) {
	if data[i] == '-' {
		i++
	}
	first := i
	if i, err = digits(data, i, "a digit must follow"); err != nil {
		return i, false, err
	}
	if data[first] == '0' && i > first+1 {
		return i, false, syntax(first, "a number begins with a needless zero")
	}
	whole := i
	if i < len(data) && data[i] == '.' {
		if i, err = digits(data, i+1, "a digit must follow the point"); err != nil {
			return i, false, err
		}
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		i, err = exponent(data, i+1)
	}
	return i, i == whole, err
}

func exponent(data []byte, i int) (int, error) {
	if i < len(data) && (data[i] == '+' || data[i] == '-') {
		i++
	}
	return digits(data, i, "a digit must follow the exponent")
}

// word scans one of true, false and null at i.
func word(data []byte, i int) (end int, kind Kind, err error) {
	want, kind := "true", True
	switch data[i] {
	case 'f':
		want, kind = "false", False
	case 'n':
		want, kind = "null", Null
	}
	for j := range len(want) {
		if i+j >= len(data) || data[i+j] != want[j] {
			return i, 0, bad(data, i+j, "a value was expected")
		}
	}
	return i + len(want), kind, nil
}

// scalar scans the value at i that is neither an array nor an object.
func scalar(data []byte, i int) (end int, kind Kind, plain bool, err error) {
	if i >= len(data) {
		return i, 0, false, bad(data, i, "a value was expected")
	}
	switch c := data[i]; {
	case c == '"':
		end, plain, err = text(data, i)
		return end, Text, plain, err
	case c == '-' || c >= '0' && c <= '9':
		end, integer, err := number(data, i)
		if integer && (end-i <= 18 || fitsInt64(data[i:end])) {
			return end, Int, true, err
		}
		return end, Float, true, err
	case c == 't' || c == 'f' || c == 'n':
		end, kind, err = word(data, i)
		return end, kind, true, err
	}
	return i, 0, false, bad(data, i, "a value was expected")
}

// fitsInt64 reports whether the digits are those of an int64.
func fitsInt64(number []byte) bool {
	limit := "9223372036854775807"
	if number[0] == '-' {
		number, limit = number[1:], "9223372036854775808"
	}
	return len(number) < len(limit) || len(number) == len(limit) && view(number) <= limit
}
