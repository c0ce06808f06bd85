package journal

import (
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

// The values of Options.Compression and of the key `compression`.
const (
	CompressionNone = "none"
	CompressionZstd = "zstd"
)

const (
	// minPacked is the size from which on the frames of a block are worth
	// compressing. A commit of a few small messages is not: what it costs is the
	// sync.
	minPacked = 1 << 10
	// maxPacked bounds what a block may unpack to, and so the memory that a
	// reader needs for it whatever the file says. Frames of larger blocks, each
	// a message of its own, are stored as they are.
	maxPacked = 16 << 20
	// minFrame is the fewest bytes a frame takes on disk, so that the size of a
	// torn tail bounds how many offsets were in it (C2). The checksum alone
	// keeps four of each frame from being compressed.
	minFrame = 3
)

// A packer compresses blocks. It belongs to who writes a segment; the zero
// value leaves them as they are.
type packer struct {
	zstd *zstd.Encoder
	buf  []byte
}

func newPacker(compression string) packer {
	if compression != CompressionZstd {
		return packer{}
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), zstd.WithWindowSize(chunkBytes), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic("BUG: options of the compressor: " + err.Error()) // they are constants
	}
	return packer{zstd: enc}
}

// pack returns a stamped block as it is to be written: compressed, when that
// makes it smaller by an eighth, else as it is. What it returns is valid until
// the next call.
func (p *packer) pack(data []byte, h blockHeader) []byte {
	raw := data[blockHead:]
	if p.zstd == nil || len(raw) < minPacked || len(raw) > maxPacked {
		return data
	}
	p.buf = append(p.buf[:0], data[:blockHead]...)
	p.buf = p.zstd.EncodeAll(raw, p.buf)
	n := len(p.buf) - blockHead
	if n > len(raw)-len(raw)/8 || n < minFrame*int(h.count) {
		return data
	}
	h.flags |= flagZstd
	h.length, h.raw = uint32(n), uint32(len(raw))
	h.sum = crc32.Update(seed(h.segment), castagnoli, p.buf[blockHead:])
	h.put(p.buf)
	for len(p.buf)%8 != 0 {
		p.buf = append(p.buf, 0)
	}
	return p.buf
}

// packed is what a compressed block takes in the file, header included.
func (h *blockHeader) packed() int64 { return blockHead + (int64(h.length)+7)&^7 }

// An unpacker turns compressed blocks back. The zero value is ready.
type unpacker struct{ zstd *zstd.Decoder }

// unpack returns a compressed block, given with its header, as it would be
// without compression, in buf if that is large enough. It returns nil when the
// checksum is wrong or what it holds is not what the header says.
func (u *unpacker) unpack(b []byte, h *blockHeader, buf []byte) []byte {
	body := b[blockHead : blockHead+int(h.length)]
	if h.raw > maxPacked || crc32.Update(seed(h.segment), castagnoli, body) != h.sum || !u.ready() {
		return nil
	}
	size := blockHead + int(h.raw)
	if cap(buf) < size {
		buf = make([]byte, size)
	}
	plain := *h
	plain.flags &^= flagZstd
	plain.length, plain.raw, plain.sum = h.raw, 0, 0
	plain.put(buf[:blockHead])
	// The capacity bounds what is written, whatever the body says.
	out, err := u.zstd.DecodeAll(body, buf[:blockHead:size])
	if err != nil || len(out) != size {
		return nil
	}
	return out
}

func (u *unpacker) ready() bool {
	if u.zstd == nil {
		u.zstd, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(maxPacked), zstd.WithDecodeAllCapLimit(true)) // nil on an error
	}
	return u.zstd != nil
}

// spanOf is how many offsets may have been in so many bytes of a torn tail.
func spanOf(bytes int64) uint64 { return uint64(bytes+minFrame-1) / minFrame }

// unpacked is what a scan keeps of a compressed block.
type unpacked struct {
	run  []byte // its frames, with a header
	took int64  // what it takes in the file
	void bool   // it ends with frames that are void
	room []byte // memory for the next one
}

// compressed reports whether b begins with the header of a compressed block.
func (s *scan) compressed(b []byte) (h blockHeader, ok bool) {
	if len(b) < blockHead || le.Uint32(b) != blockMagic || b[5]&flagZstd == 0 {
		return h, false
	}
	h, _, ok = parseBlock(b, s.segment)
	return h, ok
}

// rest is what was read and not used yet, if it begins with a whole compressed
// block; several of them are read at once.
func (s *scan) rest(pos int64) []byte {
	if pos <= s.bufAt || pos-s.bufAt >= int64(len(s.buf)) {
		return nil
	}
	b := s.buf[pos-s.bufAt:]
	if h, ok := s.compressed(b); ok && h.packed() <= int64(len(b)) {
		return b
	}
	return nil
}

// unpack takes in the compressed block that b, at the position of the scan,
// begins with; the run stays nil when it is damaged. When b cuts the block,
// need says how much there should be.
func (s *scan) unpack(b []byte, h *blockHeader) (need int) {
	total := h.packed()
	if total > int64(len(b)) && total <= s.end-s.pos {
		return int(total)
	}
	s.newer = s.newer || h.newer
	s.blockAt = 0
	if s.header != nil {
		s.header(s.pos, h)
	}
	if total > int64(len(b)) {
		return 0
	}
	plain := s.unpacker.unpack(b, h, s.room)
	if s.reuse && plain != nil {
		s.room = plain
	}
	s.run, s.took = s.sound(plain), total
	return 0
}

// takeUnpacked hands out the run of a compressed block.
func (s *scan) takeUnpacked() []byte {
	run := s.run
	s.runAt = s.pos
	s.pos += s.took
	if s.void {
		s.end = s.pos
	}
	s.unpacked = unpacked{room: s.room}
	return run
}

// sound returns a run up to the first frame that is void, and nil when some
// frame is not valid: then the whole block is damaged.
func (s *scan) sound(run []byte) []byte {
	if run == nil {
		return nil
	}
	last := s.last
	for at := blockHead; at < len(run); {
		b := run[at:]
		if !frameFits(b) || align(frameSize(b)) > len(b) || frameSum(b[:frameSize(b)], s.seed) != le.Uint32(b[4:]) {
			return nil
		}
		if frameOffset(b) >= s.limit {
			s.void = true
			run = run[:at:at]
			break
		}
		last = max(last, frameOffset(b))
		at += align(frameSize(b))
	}
	s.last = last
	return run
}
