package journal

import (
	"errors"
	"io"
	"io/fs"
	"math"
)

// readBytes is how much a scan reads at once.
const readBytes = 256 << 10

// scan goes through the items of a segment - block headers and frames - in
// runs of whole, valid ones; a compressed block is a run of its own, as it was
// before it was compressed. What is not valid it steps over and tells.
type scan struct {
	f       io.ReaderAt
	segment uint64
	seed    uint32
	pos     int64  // the next item
	runAt   int64  // where the run that was handed out last begins
	end     int64  // nothing is read at or beyond it
	limit   uint64 // frames from this offset on are void: the scan ends
	last    uint64 // highest offset seen
	blockAt int64  // end of the block the scan is in, 0 unknown
	reuse   bool   // runs are overwritten by the next
	buf     []byte // what was read last, from bufAt on
	bufAt   int64
	lent    bool // a run is a part of buf
	unpacker
	unpacked // the run of a compressed block, while it is handed out

	header func(at int64, h *blockHeader)             // may be nil
	bad    func(from, to int64, last uint64, h *item) // may be nil
	newer  bool                                       // a block of a later version was met
}

// item is what stands behind a damaged region.
type item struct {
	block bool   // a block of entries, or a frame that is alone in its block
	first uint64 // its offset
}

func newScan(f io.ReaderAt, s *segment, pos, end int64) *scan {
	return &scan{f: f, segment: s.id, seed: seed(s.id), pos: pos, end: end, limit: s.limit.Load(), last: s.base - 1}
}

// next returns the next run of whole valid items; nil at the end.
func (s *scan) next() ([]byte, error) {
	want := readBytes
	for s.pos < s.end {
		b, err := s.read(s.pos, want)
		if err != nil {
			return nil, err
		}
		n, need := s.valid(b)
		switch {
		case n > 0:
			s.runAt, s.lent = s.pos, true
			s.pos += int64(n)
			return b[:n:n], nil
		case s.run != nil:
			return s.takeUnpacked(), nil
		case s.pos >= s.end: // void from here
			return nil, nil
		case need > len(b) && int64(need) <= s.end-s.pos:
			want = need // a frame larger than the buffer
		default:
			if err := s.skip(); err != nil {
				return nil, err
			}
			want = readBytes
		}
	}
	return nil, nil
}

// read returns up to n bytes at pos, in memory of its own unless reuse is set.
func (s *scan) read(pos int64, n int) ([]byte, error) {
	if rest := s.rest(pos); rest != nil {
		return rest, nil
	}
	n = int(min(int64(n), s.end-pos))
	b := s.buf
	if s.lent && !s.reuse || cap(b) < n {
		b = make([]byte, n)
	}
	b = b[:n]
	s.buf, s.bufAt, s.lent = b, pos, false
	return b, readFull(s.f, b, pos)
}

// pageBytes is the piece in which an unreadable region is read again.
const pageBytes = 4096

// readFull fills b. What the disk cannot read, or the file does not have,
// stays zero, which passes for nothing: one bad sector is damage, not the end.
func readFull(f io.ReaderAt, b []byte, pos int64) error {
	n, err := f.ReadAt(b, pos)
	if n == len(b) {
		return nil
	}
	clear(b[n:])
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	if errors.Is(err, fs.ErrClosed) {
		return err
	}
	for at := n; at < len(b); at += pageBytes {
		page := b[at:min(at+pageBytes, len(b))]
		if k, _ := f.ReadAt(page, pos+int64(at)); k < len(page) {
			clear(page[k:])
		}
	}
	return nil
}

// valid returns how many bytes at the beginning of b are whole valid items.
// When there are none, need is the size of the first item if b cuts it.
func (s *scan) valid(b []byte) (n, need int) {
	for len(b)-n >= 8 {
		if le.Uint32(b[n:]) == blockMagic { // not for each frame: a header is on the heap
			if h, ok := s.compressed(b[n:]); ok {
				if n == 0 {
					need = s.unpack(b, &h)
				}
				return n, need
			}
		}
		size, need := s.check(b[n:], s.pos+int64(n))
		if size == 0 {
			return n, need
		}
		if size < 0 { // void
			s.end = s.pos + int64(n)
			return n, 0
		}
		n += size
	}
	return n, 0
}

// check returns the size of the item that b, at the file position at, begins
// with: 0 when it is not whole or not valid, -1 when it is void.
func (s *scan) check(b []byte, at int64) (size, need int) {
	if le.Uint32(b) == blockMagic {
		return s.checkBlock(b, at)
	}
	size = align(frameSize(b))
	if !frameFits(b) || s.blockAt > at && at+int64(size) > s.blockAt {
		return 0, 0
	}
	if size > len(b) {
		return 0, size
	}
	f := b[:frameSize(b)]
	if frameSum(f, s.seed) != le.Uint32(b[4:]) {
		return 0, 0
	}
	if lone(frameKind(f)) {
		return size, 0
	}
	if frameOffset(f) >= s.limit {
		return -1, 0
	}
	s.last = max(s.last, frameOffset(f))
	return size, 0
}

func (s *scan) checkBlock(b []byte, at int64) (size, need int) {
	if len(b) < blockHead {
		return 0, blockHead
	}
	h, newer, ok := parseBlock(b, s.segment)
	if !ok {
		return 0, 0
	}
	s.newer = s.newer || newer
	if h.flags&flagHead != 0 {
		s.last = max(s.last, h.synced) // what was passed over before it is not missing
	}
	s.blockAt = at + blockHead + int64(h.length)
	if s.header != nil {
		s.header(at, &h)
	}
	return blockHead, 0
}

// skip steps over what is at pos: to the next valid item, or to the end. Zeros
// up to the end of the newest segment are no damage: it was made of them.
func (s *scan) skip() error {
	from := s.pos
	s.blockAt = 0
	next, zeros, err := s.resync(from)
	if err != nil {
		return err
	}
	s.pos = s.end
	if next != nil {
		s.pos = next.at
	}
	unused := zeros && next == nil && s.limit == math.MaxUint64
	if s.bad != nil && !unused && s.last+1 < s.limit {
		var it *item
		if next != nil {
			it = &next.item
		}
		s.bad(from, s.pos, s.last, it)
	}
	return nil
}

// found is a valid item behind damage.
type found struct {
	at int64
	item
}

// resync looks for the first valid item behind from; nil when there is none.
// zeros: all bytes up to there are zero. It reads in windows that overlap by
// one block header.
func (s *scan) resync(from int64) (next *found, zeros bool, err error) {
	zeros = true
	buf := make([]byte, min(readBytes, s.end-from))
	for at := from; at < s.end; at += int64(len(buf) - blockHead) {
		b := buf[:min(int64(len(buf)), s.end-at)]
		if err := readFull(s.f, b, at); err != nil {
			return nil, zeros, err
		}
		for i := 0; i+8 <= len(b); i += 8 {
			if le.Uint64(b[i:]) == 0 {
				continue
			}
			zeros = false
			if it, ok := s.begins(b[i:], at+int64(i)); ok && at+int64(i) > from {
				return &found{at + int64(i), it}, zeros, nil
			}
		}
		if int64(len(b)) == s.end-at {
			break
		}
	}
	return nil, zeros, nil
}

// begins reports whether a whole valid item is at position at, where b is.
func (s *scan) begins(b []byte, at int64) (it item, ok bool) {
	if h, _, ok := parseBlock(b, s.segment); ok {
		return item{h.flags&flagFooter == 0, h.first}, true
	}
	if !s.plausible(b, at) {
		return it, false
	}
	if size := frameSize(b); size > len(b) {
		b = make([]byte, size)
		if readFull(s.f, b, at) != nil {
			return it, false
		}
	}
	b = b[:frameSize(b)]
	return item{lone(frameKind(b)), frameOffset(b)}, frameSum(b, s.seed) == le.Uint32(b[4:])
}

// plausible is the cheap part of begins for a frame: its size and offset are
// possible here.
func (s *scan) plausible(b []byte, at int64) bool {
	if !frameFits(b) || int64(align(frameSize(b))) > s.end-at {
		return false
	}
	offset := frameOffset(b)
	if lone(frameKind(b)) {
		return offset <= s.last+1
	}
	return offset > s.last && offset-s.last <= uint64(s.end)/frameHead+maxGap
}

// maxGap is how many offsets may be missing between two neighbours: a segment
// that begins after a torn tail leaves out as many as the tail could hold.
const maxGap = 1 << 32

// walk calls f for each frame that is left, with the position of its block.
func (s *scan) walk(f func(at int64, frame []byte) error) error {
	block := s.pos
	for {
		run, err := s.next()
		if run == nil || err != nil {
			return err
		}
		at := s.runAt // in a compressed block only its beginning has a place
		for len(run) > 0 {
			size := blockHead
			if le.Uint32(run) == blockMagic {
				block = at
			} else if err := f(block, run[:frameSize(run):frameSize(run)]); err != nil {
				return err
			} else {
				size = align(frameSize(run))
			}
			run, at = run[size:], at+int64(size)
		}
	}
}

// frames calls f for each frame of a run.
func frames(run []byte, f func(b []byte) error) error {
	for len(run) > 0 {
		if le.Uint32(run) == blockMagic {
			run = run[blockHead:]
			continue
		}
		size := frameSize(run)
		if err := f(run[:size:size]); err != nil {
			return err
		}
		run = run[align(size):]
	}
	return nil
}
