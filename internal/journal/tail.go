package journal

import "sync"

// tail is the newest published chunks, which readers that keep up read from.
type tail struct {
	bound int64

	mu     sync.Mutex
	chunks []*chunk // ascending, without a gap
	bytes  int64
}

// add publishes c, if it is new, and lets go of the oldest chunks: those
// beyond the bound, and those that every reader has passed. needed is the
// lowest offset a reader still wants.
func (t *tail) add(c *chunk, needed uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.chunks); n > 0 && t.chunks[n-1].seq >= c.seq {
		return
	}
	t.chunks = append(t.chunks, c)
	t.bytes += int64(len(c.data))
	drop := 0
	for drop < len(t.chunks)-2 && (t.bytes > t.bound || t.chunks[drop+1].first <= needed) {
		t.bytes -= int64(len(t.chunks[drop].data))
		drop++
	}
	if drop > 0 {
		n := copy(t.chunks, t.chunks[drop:])
		clear(t.chunks[n:])
		t.chunks = t.chunks[:n]
	}
}

// after returns the chunk that follows c. wait: it is not published yet;
// otherwise nil means that it was let go.
func (t *tail) after(c *chunk) (next *chunk, wait bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.chunks)
	if n == 0 || t.chunks[n-1].seq <= c.seq {
		return nil, true
	}
	i := c.seq + 1 - t.chunks[0].seq
	if c.seq+1 < t.chunks[0].seq {
		return nil, false
	}
	return t.chunks[i], false
}

// find returns the chunk in which offset is, or would be; nil when the tail
// begins above it.
func (t *tail) find(offset uint64) *chunk {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.chunks) == 0 || t.chunks[0].first > offset {
		return nil
	}
	lo, hi := 0, len(t.chunks)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; t.chunks[mid].first <= offset {
			lo = mid
		} else {
			hi = mid
		}
	}
	return t.chunks[lo]
}

// size is the memory the tail holds.
func (t *tail) size() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bytes
}
