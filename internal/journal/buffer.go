package journal

import (
	"sync/atomic"
)

// chunkBytes is the size of the pieces of memory that blocks are carved from.
// A reader that keeps a message pins its piece, so it is not larger.
const chunkBytes = 256 << 10

// A chunk is a piece of memory holding commit blocks one after the other.
// Appenders fill it, the committer stamps what it takes, and once published
// its bytes never change: readers share them without a copy.
type chunk struct {
	seq   uint64 // position in the sequence of chunks
	first uint64 // no frame in it has a lower offset
	data  []byte // full length; what lies beyond end is not for readers
	end   atomic.Int64
	final atomic.Int64 // bytes in use once no more are added, 0 before
}

// A block is what one commit writes of one chunk: a header and its frames.
type block struct {
	chunk    *chunk
	from, to int    // the block in the chunk's data, header included
	first    uint64 // offsets of its frames
	last     uint64
	count    uint32
	state    bool // some frame is not a message
	shown    bool // readers see it
}

func (b *block) bytes() []byte { return b.chunk.data[b.from:b.to] }

// urgency says how soon a commit is due.
type urgency int

const (
	idle   urgency = iota // nothing to commit
	lazy                  // nobody waits
	urgent                // somebody waits
)

// buffer is the commit buffer: the blocks that the next commit writes.
type buffer struct {
	tail     *chunk
	used     int // bytes of tail in use
	open     block
	pending  []block
	spare    []block // the slice of the commit before, to be used again
	bytes    int64   // frames waiting to be taken
	inflight int64   // frames taken and not yet accounted for
	due      urgency
	next     uint64 // the next offset to be given out
	received int64  // Unix milliseconds of the newest message
}

// frame reserves size bytes for one frame and gives it the next offset.
func (b *buffer) frame(size int, k kind, epoch uint32) ([]byte, uint64) {
	b.reserve(size)
	offset := b.next
	b.next++
	f := b.tail.data[b.used : b.used+size]
	putFrameHead(f, size, offset, epoch, k)
	b.used += align(size)
	b.bytes += int64(align(size))
	b.open.to, b.open.last = b.used, offset
	b.open.count++
	b.open.state = b.open.state || k != kindMessage
	return f, offset
}

// reserve makes room for a frame in the open block, or in a new one.
func (b *buffer) reserve(size int) {
	need := align(size)
	if b.open.chunk == nil {
		need += blockHead
	}
	if b.tail == nil || b.used+need > len(b.tail.data) {
		b.closeBlock()
		b.grow(align(size) + blockHead)
	}
	if b.open.chunk == nil {
		b.open = block{chunk: b.tail, from: b.used, first: b.next}
		b.used += blockHead
	}
}

func (b *buffer) grow(need int) {
	c := &chunk{first: b.next, data: make([]byte, max(chunkBytes, need))}
	if b.tail != nil {
		c.seq = b.tail.seq + 1
		b.tail.final.Store(int64(b.used))
	}
	b.tail, b.used = c, 0
}

func (b *buffer) closeBlock() {
	if b.open.chunk != nil {
		b.pending = append(b.pending, b.open)
		b.open = block{}
	}
}

// take hands out what is to be committed. The slice is to be given back.
func (b *buffer) take() []block {
	b.closeBlock()
	blocks := b.pending
	b.pending, b.spare = b.spare[:0], nil
	b.inflight += b.bytes
	b.bytes, b.due = 0, idle
	return blocks
}

func (b *buffer) giveBack(blocks []block) {
	clear(blocks)
	b.spare = blocks[:0]
	b.inflight = 0
}
