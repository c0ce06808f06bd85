package journal

import (
	"encoding/binary"

	"github.com/penstock/penstock/internal/fault"
)

// Sections of a footer.
const (
	secMessages = 1 // count, first and last offset, received of the first and the newest (8 each)
	secFrames   = 2 // bytes of all frames, highest offset (8 each)
	secGroup    = 3 // uvarints: messages, bytes; rules (4 each)
	secOther    = 4 // uvarints: messages, bytes of those in no group
	secStateful = 5 // frames with state: count, offset of the newest (8 each)
	secStates   = 6 // of each such frame, and of each snapshot: kind, uvarints: offset, block, size
	secUnlisted = 7 // empty but there: secStates is not complete
	secIndex    = 8 // uvarints: offset, position of its block
)

// footerRoom is what a footer takes beside what facts.room counts.
const footerRoom = 2*blockHead + frameHead + 160

// appendFooter appends the blocks that end a sealed segment: one with the
// facts, and one that says how long the first is, to be found from the end.
func appendFooter(b []byte, x *facts, h blockHeader, epoch uint32) []byte {
	from := len(b)
	b = append(b, make([]byte, blockHead+frameHead)...)
	b = x.appendTo(b)
	size := len(b) - from - blockHead
	b = append(b, make([]byte, align(size)-size)...)
	f := b[from+blockHead:]
	putFrameHead(f, size, 0, epoch, kindFooter)
	stampFrame(f[:size], seed(h.segment))
	h.flags, h.count, h.length = flagFooter, 0, uint32(len(f))
	h.put(b[from:])
	h.length, h.footer = 0, uint32(len(b)-from)
	b = append(b, make([]byte, blockHead)...)
	h.put(b[len(b)-blockHead:])
	return b
}

func (x *facts) appendTo(b []byte) []byte {
	b = append(b, secMessages, 40)
	for _, v := range []uint64{uint64(x.count), x.first, x.last, uint64(x.from), uint64(x.to)} {
		b = le.AppendUint64(b, v)
	}
	b = append(b, secFrames, 16)
	b = le.AppendUint64(b, uint64(x.bytes))
	b = le.AppendUint64(b, x.high)
	var body []byte
	for i := range x.groups {
		body = append(x.groups[i].appendTo(body[:0]), x.groups[i].rules...)
		b = appendSectionBytes(b, secGroup, body)
	}
	if x.other.count > 0 {
		b = appendSectionBytes(b, secOther, x.other.appendTo(body[:0]))
	}
	if x.stateful > 0 {
		b = append(b, secStateful, 16)
		b = le.AppendUint64(b, uint64(x.stateful))
		b = le.AppendUint64(b, x.newest)
	}
	if len(x.states) > 0 {
		b = appendSectionBytes(b, secStates, x.appendStates(body[:0]))
	}
	if x.unlisted {
		b = append(b, secUnlisted, 0)
	}
	if len(x.index) > 0 {
		b = appendSectionBytes(b, secIndex, x.appendIndex(body[:0]))
	}
	return b
}

func (g *group) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(g.count))
	return binary.AppendUvarint(b, uint64(g.bytes))
}

func (x *facts) appendStates(b []byte) []byte {
	for _, m := range x.states {
		b = append(b, byte(m.kind))
		b = binary.AppendUvarint(b, m.offset)
		b = binary.AppendUvarint(b, uint64(m.at))
		b = binary.AppendUvarint(b, uint64(m.size))
	}
	return b
}

func (x *facts) appendIndex(b []byte) []byte {
	for _, m := range x.index {
		b = binary.AppendUvarint(b, m.offset)
		b = binary.AppendUvarint(b, uint64(m.at))
	}
	return b
}

// decodeFacts reads a footer's sections.
func decodeFacts(b []byte) (*facts, error) {
	x := &facts{}
	for len(b) > 0 {
		k, body, rest, ok := nextSection(b)
		if !ok || !x.set(k, body) {
			return nil, errMalformed
		}
		b = rest
	}
	return x, nil
}

// set takes in one section; it reports whether that is sound.
func (x *facts) set(k byte, body []byte) (ok bool) {
	switch k {
	case secMessages:
		var count, from, to uint64
		ok = numbers(body, &count, &x.first, &x.last, &from, &to)
		x.count, x.from, x.to = int64(count), int64(from), int64(to)
	case secFrames:
		var n uint64
		ok = numbers(body, &n, &x.high)
		x.bytes = int64(n)
	case secGroup:
		g, rest, ok := decodeGroup(body)
		g.rules = string(rest)
		x.groups = append(x.groups, g)
		return ok && len(rest)%4 == 0
	case secOther:
		x.other, _, ok = decodeGroup(body)
	case secStateful:
		var n uint64
		ok = numbers(body, &n, &x.newest)
		x.stateful = int64(n)
	case secStates:
		x.states, ok = decodeStates(body)
	case secUnlisted:
		x.unlisted, ok = true, true
	case secIndex:
		x.index, ok = decodeIndex(body)
	default:
		ok = true // of a later version
	}
	return ok
}

// numbers reads numbers of 8 bytes each.
func numbers(b []byte, to ...*uint64) bool {
	if len(b) < 8*len(to) {
		return false
	}
	for i, v := range to {
		*v = le.Uint64(b[8*i:])
	}
	return true
}

func decodeGroup(b []byte) (g group, rest []byte, ok bool) {
	var v [2]uint64
	rest, ok = uvarints(b, v[:])
	return group{count: int64(v[0]), bytes: int64(v[1])}, rest, ok
}

func decodeStates(b []byte) (list []stateMark, ok bool) {
	for len(b) > 0 {
		k := kind(b[0])
		var v [3]uint64
		if b, ok = uvarints(b[1:], v[:]); !ok {
			return nil, false
		}
		list = append(list, stateMark{v[0], int64(v[1]), uint32(v[2]), k})
	}
	return list, true
}

func decodeIndex(b []byte) (list []mark, ok bool) {
	for len(b) > 0 {
		var v [2]uint64
		if b, ok = uvarints(b, v[:]); !ok {
			return nil, false
		}
		list = append(list, mark{v[0], int64(v[1])})
	}
	return list, true
}

// uvarints reads as many numbers as v holds and returns what follows them.
func uvarints(b []byte, v []uint64) (rest []byte, ok bool) {
	for i := range v {
		n, w := binary.Uvarint(b)
		if w <= 0 {
			return nil, false
		}
		v[i], b = n, b[w:]
	}
	return b, true
}

// readFooter returns what the footer of a segment of that size says; nil when
// it has none that is sound, which then has to be read. newer: a later version
// wrote it.
func readFooter(f fault.File, s *segment, size int64) (x *facts, newer bool, err error) {
	length, newer, err := footerLength(f, s, size)
	if length == 0 || newer || err != nil {
		return nil, newer, err
	}
	block := make([]byte, length)
	if err := readFull(f, block, size-blockHead-length); err != nil {
		return nil, false, err
	}
	if _, _, ok := parseBlock(block, s.id); !ok {
		return nil, false, nil
	}
	frame := block[blockHead:]
	if !frameFits(frame) || frameSize(frame) > len(frame) || frameKind(frame) != kindFooter {
		return nil, false, nil
	}
	frame = frame[:frameSize(frame)]
	if frameSum(frame, seed(s.id)) != le.Uint32(frame[4:]) {
		return nil, false, nil
	}
	x, err = decodeFacts(frame[frameHead:])
	if err != nil {
		return nil, false, nil //nolint:nilerr // a footer that makes no sense is as good as none
	}
	return x, false, nil
}

// footerLength reads the last block of a segment, which says how long the
// footer before it is; 0: there is none.
func footerLength(f fault.File, s *segment, size int64) (length int64, newer bool, err error) {
	if size < 2*blockHead {
		return 0, false, nil
	}
	var b [blockHead]byte
	if err := readFull(f, b[:], size-blockHead); err != nil {
		return 0, false, err
	}
	h, newer, ok := parseBlock(b[:], s.id)
	if !ok || h.flags&flagFooter == 0 {
		return 0, false, nil
	}
	length = int64(h.footer)
	if length < blockHead+frameHead || length > size-blockHead {
		return 0, newer, nil
	}
	return length, newer, nil
}
