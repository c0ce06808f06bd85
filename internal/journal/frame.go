package journal

import (
	"encoding/binary"
	"hash/crc32"
)

// Sizes and marks of the layout drawn in the package comment.
const (
	frameHead = 24
	blockHead = 64
	version   = 2 // 1 knew no compressed blocks; both are read

	// blockMagic reads "PBLK" in the file. It is larger than any frame's size,
	// which stands in the same place.
	blockMagic = 0x4b4c4250

	// maxFrame bounds a frame: the largest MQTT packet and then some.
	maxFrame = 1 << 29
)

// kind says what a frame is. Unknown kinds are skipped.
type kind byte

const (
	kindMessage  kind = 1  // a message, and the state that goes with it
	kindState    kind = 2  // all state there is, at the head of a segment
	kindNumber   kind = 3  // a name got a number (C16)
	kindCursor   kind = 4  // a lane's cursor (C15)
	kindFooter   kind = 5  // what is in a sealed segment (C5)
	kindForget   kind = 6  // a lane's cursor was dropped (C16)
	kindSaved    kind = 7  // a small named state (C21)
	kindTick     kind = 8  // time went on (C21)
	kindChange   kind = 9  // state without a message (C1)
	kindSnapshot kind = 10 // of one shard of the state outside the journal (C5)
)

var le = binary.LittleEndian

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seed folds a segment's id into every checksum of it: bytes of another
// segment, or bytes that somebody shaped like a frame and published, do not
// pass for frames of this one (C3).
func seed(segment uint64) uint32 { return uint32(segment) ^ uint32(segment>>32) }

func align(n int) int { return (n + 7) &^ 7 }

// putFrameHead fills everything of a frame's head but its checksum, which the
// committer adds when it knows the segment.
func putFrameHead(b []byte, size int, offset uint64, epoch uint32, k kind) {
	le.PutUint32(b, uint32(size))
	le.PutUint32(b[4:], 0)
	le.PutUint64(b[8:], offset)
	le.PutUint32(b[16:], epoch)
	b[20], b[21], b[22], b[23] = byte(k), 0, 0, 0
}

func frameSize(b []byte) int      { return int(le.Uint32(b)) }
func frameOffset(b []byte) uint64 { return le.Uint64(b[8:]) }
func frameEpoch(b []byte) uint32  { return le.Uint32(b[16:]) }
func frameKind(b []byte) kind     { return kind(b[20]) }

// frameSum is the checksum of a whole frame.
func frameSum(b []byte, seed uint32) uint32 { return crc32.Update(seed, castagnoli, b[8:]) }

// stampFrame writes the checksum.
func stampFrame(b []byte, seed uint32) { le.PutUint32(b[4:], frameSum(b, seed)) }

// frameFits reports whether b may begin with a frame, by its head alone.
func frameFits(b []byte) bool {
	if len(b) < frameHead {
		return false
	}
	size := le.Uint32(b)
	return size >= frameHead && size <= maxFrame && b[20] != 0 && b[21] == 0 && b[22] == 0 && b[23] == 0
}

// A section is one typed part of a frame: kind, length as a uvarint, bytes.
// A reader skips kinds it does not know, so that later ones need no new
// version of the format.
func appendSection(b []byte, kind byte, s string) []byte {
	if s == "" {
		return b
	}
	b = append(b, kind)
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendSectionBytes(b []byte, kind byte, s []byte) []byte {
	b = append(b, kind)
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// sectionSize is what appendSection adds for n bytes.
func sectionSize(n int) int {
	if n == 0 {
		return 0
	}
	return 1 + uvarintSize(uint64(n)) + n
}

func uvarintSize(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// nextSection splits the first section off b. ok is false at the end of b and
// when what is left is no section.
func nextSection(b []byte) (kind byte, body, rest []byte, ok bool) {
	if len(b) < 2 {
		return 0, nil, nil, false
	}
	if n := int(b[1]); n < 0x80 { // the common case: one byte of length
		if n > len(b)-2 {
			return 0, nil, nil, false
		}
		return b[0], b[2 : 2+n : 2+n], b[2+n:], true
	}
	n, w := binary.Uvarint(b[1:])
	if w <= 0 || n > uint64(len(b)-1-w) {
		return 0, nil, nil, false
	}
	end := 1 + w + int(n)
	return b[0], b[1+w : end : end], b[end:], true
}
