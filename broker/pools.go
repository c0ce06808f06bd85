package broker

import "sync"

// A chunk is a piece of a connection's output.
type chunk struct {
	b    []byte // length: what is written so far
	size int    // index into chunkSizes; below 0: not pooled
}

// chunkSizes are what output is cut into. A connection that gets a message now
// and then borrows a small one; under load the large ones make large writes.
var chunkSizes = [...]int{2 << 10, 16 << 10, 64 << 10}

// pools hold what connections borrow only while they have something to do.
type pools struct {
	chunks [len(chunkSizes)]sync.Pool
	bursts sync.Pool
}

// chunk returns an empty chunk for a connection whose output holds queued
// bytes, with room for at least n.
func (p *pools) chunk(queued, n int) *chunk {
	size := 0
	for size < len(chunkSizes)-1 && (chunkSizes[size] < n || chunkSizes[size] <= queued) {
		size++
	}
	if chunkSizes[size] < n {
		return &chunk{b: make([]byte, 0, n), size: -1}
	}
	if c, ok := p.chunks[size].Get().(*chunk); ok {
		return c
	}
	return &chunk{b: make([]byte, 0, chunkSizes[size]), size: size}
}

func (p *pools) put(c *chunk) {
	if c.size >= 0 {
		c.b = c.b[:0]
		p.chunks[c.size].Put(c)
	}
}

func (p *pools) burst() *burst {
	if b, ok := p.bursts.Get().(*burst); ok {
		return b
	}
	return newBurst()
}

func (p *pools) putBurst(b *burst) {
	if cap(b.buf) > burstBytes { // grown for one large packet
		b.buf = make([]byte, burstBytes)
	}
	b.r, b.w = 0, 0
	p.bursts.Put(b)
}
