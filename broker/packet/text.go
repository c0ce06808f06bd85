package packet

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// textFault is what is wrong with a text; the zero value is nothing.
type textFault byte

const (
	badUTF8 textFault = iota + 1
	hasNUL
	hasWildcard
)

// Eight bytes at a time: ones and tops are a 1 and an 0x80 in every byte.
const (
	ones = 0x0101010101010101
	tops = 0x8080808080808080
)

// zeroes is non-zero when one of the eight bytes of x is zero.
func zeroes(x uint64) uint64 { return (x - ones) &^ x & tops }

// plainTopic reports whether b is ASCII without NUL, `+` and `#`: what nearly
// every topic name is. It may say false for others; checkTopic then looks
// closer.
func plainTopic(b []byte) bool {
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		if (x|zeroes(x)|zeroes(x^('+'*ones))|zeroes(x^('#'*ones)))&tops != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c >= 0x80 || c == 0 || c == '+' || c == '#' {
			return false
		}
	}
	return true
}

// checkText finds ill-formed UTF-8, surrogates included, and U+0000
// ([MQTT-1.5.4-1], [MQTT-1.5.4-2]).
func checkText(b []byte) textFault {
	if bytes.IndexByte(b, 0) >= 0 {
		return hasNUL
	}
	if !utf8.Valid(b) {
		return badUTF8
	}
	return 0
}

// checkTopic is checkText for a topic name, in which wildcards have no place.
func checkTopic(b []byte) textFault {
	if plainTopic(b) {
		return 0
	}
	if f := checkText(b); f != 0 {
		return f
	}
	if bytes.IndexByte(b, '+') >= 0 || bytes.IndexByte(b, '#') >= 0 {
		return hasWildcard
	}
	return 0
}

// error makes the fault an error about the field called what.
func (f textFault) error(v Version, what string) error {
	switch f {
	case badUTF8:
		return malformed(v.clause("MQTT-1.5.4-1", "MQTT-1.5.3-1"), what+" is not well-formed UTF-8")
	case hasNUL:
		return malformed(v.clause("MQTT-1.5.4-2", "MQTT-1.5.3-2"), what+" contains U+0000")
	case hasWildcard:
		return fail(TopicNameInvalid, "MQTT-3.3.2-2", what+" contains a wildcard")
	}
	return nil
}
