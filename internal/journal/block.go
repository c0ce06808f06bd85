package journal

import "hash/crc32"

// Flags of a block.
const (
	flagHead = 1 << 0 // its frame is the segment's state
	flagEnd  = 1 << 1 // no frames: the journal was closed in order
	flagZstd = 1 << 2 // the frames are compressed
	// flagFooter: the frame is the segment's footer; or no frames, and footer
	// says how long the block before it is, which is the footer's.
	flagFooter = 1 << 4
)

// blockHeader begins what one commit wrote.
type blockHeader struct {
	flags   byte
	journal uint64
	segment uint64
	synced  uint64 // every offset up to it was synced before this block was written (C3)
	first   uint64 // offset of the first frame; with none, the next offset
	length  uint32 // bytes of the frames as they are stored
	count   uint32 // frames that are entries
	raw     uint32 // compressed: bytes of the frames when they are not
	sum     uint32 // compressed: checksum of what is stored
	footer  uint32 // at the end of a sealed segment: bytes of the block before this one
	newer   bool   // read: a later version wrote it
}

func (h *blockHeader) put(b []byte) {
	le.PutUint32(b, blockMagic)
	b[4], b[5] = version, h.flags
	le.PutUint16(b[6:], blockHead)
	le.PutUint64(b[8:], h.journal)
	le.PutUint64(b[16:], h.segment)
	le.PutUint64(b[24:], h.synced)
	le.PutUint64(b[32:], h.first)
	le.PutUint32(b[40:], h.length)
	le.PutUint32(b[44:], h.count)
	le.PutUint32(b[48:], h.raw)
	le.PutUint32(b[52:], h.sum)
	le.PutUint32(b[56:], h.footer)
	le.PutUint32(b[60:], blockSum(b, h.segment))
}

func blockSum(b []byte, segment uint64) uint32 {
	return crc32.Update(seed(segment), castagnoli, b[:60])
}

// parseBlock reads a block header of the given segment. ok is false when b
// does not begin with one. newer says it is whole but of a later version.
func parseBlock(b []byte, segment uint64) (h blockHeader, newer, ok bool) {
	if len(b) < blockHead || le.Uint32(b) != blockMagic || le.Uint64(b[16:]) != segment ||
		le.Uint32(b[60:]) != blockSum(b, segment) {
		return h, false, false
	}
	h = blockHeader{
		flags: b[5], journal: le.Uint64(b[8:]), segment: segment, synced: le.Uint64(b[24:]),
		first: le.Uint64(b[32:]), length: le.Uint32(b[40:]), count: le.Uint32(b[44:]),
		raw: le.Uint32(b[48:]), sum: le.Uint32(b[52:]), footer: le.Uint32(b[56:]),
		newer: b[4] > version || le.Uint16(b[6:]) != blockHead,
	}
	return h, h.newer, true
}
