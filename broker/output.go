package broker

import (
	"time"

	"github.com/penstock/penstock/broker/packet"
)

// Marks of a connection's output, in bytes. Above highMark publishers wait for
// the subscriber; below lowMark they go on. Above directMark QoS 1 and 2
// messages wait in the session, where they are counted; above maxOutput QoS 0
// messages are dropped (I6).
const (
	lowMark    = 256 << 10
	highMark   = 512 << 10
	directMark = 1 << 20
	maxOutput  = 8 << 20
)

// output is what a connection has still to write. It belongs to the
// connection and is guarded by the mutex of its client.
type output struct {
	chunks  []*chunk // oldest first
	spare   []*chunk // the other slice, to swap with
	bytes   int      // in chunks and in the hands of the writer
	writing bool     // somebody is the writer: only he touches the socket

	progress time.Duration // when the subscriber last took something
	stalled  bool          // it takes nothing: nobody waits for it
	drained  chan struct{} // closed at lowMark; nil: nobody waits
	idle     chan struct{} // closed when the writer ends; nil: nobody waits
}

// tail returns a chunk with room for n bytes at its end.
func (o *output) tail(p *pools, n int) *chunk {
	if k := len(o.chunks); k > 0 {
		if c := o.chunks[k-1]; cap(c.b)-len(c.b) >= n {
			return c
		}
	}
	c := p.chunk(o.bytes, n)
	o.chunks = append(o.chunks, c)
	return c
}

// append adds bytes, filling up the last chunk first.
func (o *output) append(p *pools, b []byte) {
	o.bytes += len(b)
	if k := len(o.chunks); k > 0 {
		c := o.chunks[k-1]
		n := min(len(b), cap(c.b)-len(c.b))
		c.b = append(c.b, b[:n]...)
		b = b[n:]
	}
	for len(b) > 0 {
		c := p.chunk(o.bytes, 1)
		n := min(len(b), cap(c.b))
		c.b = append(c.b, b[:n]...)
		b = b[n:]
		o.chunks = append(o.chunks, c)
	}
}

// ack adds a PUBACK, PUBREC, PUBREL or PUBCOMP. Before 5.0, and for success,
// only the packet identifier is sent.
func (c *conn) ack(t packet.Type, id uint16, reason packet.ReasonCode) {
	ch := c.out.tail(&c.srv.pool, 8)
	n := len(ch.b)
	if reason == packet.Success || c.version < packet.V5 {
		ch.b = packet.AppendAck(ch.b, t, id)
	} else {
		first := byte(t) << 4
		if t == packet.TypePubrel {
			first |= 2
		}
		ch.b = append(ch.b, first, 3, byte(id>>8), byte(id), byte(reason))
	}
	c.out.bytes += len(ch.b) - n
}

// claim makes the caller start the writer, unless there is one or nothing to
// write. The caller holds the client's mutex, and calls startWriter after
// letting it go.
func (c *conn) claim() bool {
	if c.out.writing || c.out.bytes == 0 {
		return false
	}
	c.out.writing = true
	c.out.progress = c.srv.elapsed()
	return true
}

// startWriter starts the writer after a successful claim. The function value
// is made once, so that starting allocates nothing.
func (c *conn) startWriter() {
	if c.writer == nil {
		c.writer = c.writeLoop
	}
	c.srv.conns.Add(1)
	go c.writer()
}

// writeLoop writes until there is nothing left.
func (c *conn) writeLoop() {
	defer c.srv.conns.Done()
	var failed bool
	for {
		chunks, ok := c.nextChunks(failed)
		if !ok {
			return
		}
		for _, ch := range chunks {
			if !failed {
				failed = !c.write(ch.b)
			}
			c.wrote(len(ch.b))
			c.srv.pool.put(ch)
		}
	}
}

// write writes b; after a failure the connection is broken.
func (c *conn) write(b []byte) bool {
	if _, err := c.nc.Write(b); err != nil {
		_ = c.nc.Close()
		return false
	}
	return true
}

// nextChunks hands the writer all output there is, and ends his role when there
// is none.
func (c *conn) nextChunks(failed bool) ([]*chunk, bool) {
	mu := &c.client.mu
	mu.Lock()
	defer mu.Unlock()
	if len(c.out.chunks) == 0 && !failed {
		c.refill()
	}
	if len(c.out.chunks) == 0 {
		c.endWriting()
		return nil, false
	}
	chunks := c.out.chunks
	clear(c.out.spare)
	c.out.chunks, c.out.spare = c.out.spare[:0], chunks
	return chunks, true
}

func (c *conn) endWriting() {
	c.out.writing = false
	if len(c.out.spare) > 16 { // an idle connection holds no buffers
		c.out.chunks, c.out.spare = nil, nil
	}
	if c.out.idle != nil {
		close(c.out.idle)
		c.out.idle = nil
	}
}

// wrote notes that n bytes have left.
func (c *conn) wrote(n int) {
	mu := &c.client.mu
	mu.Lock()
	c.out.bytes -= n
	c.moved()
	mu.Unlock()
}

// moved notes that the subscriber took something, and lets publishers go on
// when it has taken enough. The caller holds the client's mutex.
func (c *conn) moved() {
	c.out.progress = c.srv.elapsed()
	if c.backlog() > lowMark {
		return
	}
	c.out.stalled = false
	if c.out.drained != nil {
		close(c.out.drained)
		c.out.drained = nil
	}
}

// backlog is what a subscriber is behind, in bytes.
func (c *conn) backlog() int { return c.out.bytes + c.client.queued() }

// flushOwn writes what the read loop has produced for its own client without
// a goroutine, as far as the socket takes it at once.
func (c *conn) flushOwn() {
	mu := &c.client.mu
	mu.Lock()
	if !c.claim() {
		mu.Unlock()
		return
	}
	if c.raw == nil || len(c.out.chunks) != 1 {
		mu.Unlock()
		c.startWriter()
		return
	}
	ch := c.out.chunks[0]
	c.out.chunks = c.out.chunks[:0]
	mu.Unlock()
	n, err := c.raw.tryWrite(ch.b)
	if err != nil {
		_ = c.nc.Close()
		n = len(ch.b)
	}
	c.finishOwn(ch, n)
}

// finishOwn ends the read loop's turn as the writer after n bytes of ch have
// left, and passes it on when there is more to write.
func (c *conn) finishOwn(ch *chunk, n int) {
	mu := &c.client.mu
	mu.Lock()
	c.out.bytes -= n
	if n == len(ch.b) {
		c.srv.pool.put(ch)
	} else {
		ch.b = ch.b[:copy(ch.b, ch.b[n:])]
		c.out.chunks = append([]*chunk{ch}, c.out.chunks...)
	}
	c.moved()
	more := len(c.out.chunks) > 0
	if !more {
		c.endWriting()
	}
	mu.Unlock()
	if more {
		c.startWriter()
	}
}
