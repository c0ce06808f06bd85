package packet

import (
	"encoding/binary"
	"strconv"
)

// varintSize returns how many bytes n takes as a variable byte integer.
func varintSize(n int) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<14:
		return 2
	case n < 1<<21:
		return 3
	}
	return 4
}

func appendVarint(dst []byte, n int) []byte {
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}

// appendBinary appends b behind its 2-byte length. What was decoded always
// fits, so a longer one is a mistake of the code that made it; writing it
// would put the peer out of step.
func appendBinary[S ~string | ~[]byte](dst []byte, b S) []byte {
	if len(b) > 0xffff {
		panic("BUG: MQTT string of " + strconv.Itoa(len(b)) + " bytes")
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(b)))
	return append(dst, b...)
}

// openLength appends one byte that closeLength will make the length of what follows.
func openLength(dst []byte) (_ []byte, mark int) {
	return append(dst, 0), len(dst)
}

// closeLength writes the length of what follows the mark at the mark, moving
// it when the length takes more than the one byte that was left for it.
func closeLength(dst []byte, mark int) []byte {
	n := len(dst) - mark - 1
	if n < 1<<7 {
		dst[mark] = byte(n)
		return dst
	}
	checkRemaining(n)
	size := varintSize(n)
	dst = append(dst, 0, 0, 0)[:len(dst)+size-1]
	copy(dst[mark+size:], dst[mark+1:])
	appendVarint(dst[:mark], n)
	return dst
}

// checkRemaining panics when a packet is longer than MQTT can say.
func checkRemaining(n int) {
	if n > MaxRemaining {
		panic("BUG: MQTT packet of " + strconv.Itoa(n) + " bytes")
	}
}
