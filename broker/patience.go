package broker

import (
	"time"

	"github.com/penstock/penstock/broker/packet"
)

// stallPatience is how long a subscriber that takes nothing may hold up a
// publisher (I7).
const stallPatience = 100 * time.Millisecond

// refusedPause is how long a device that floods what there is no room for is
// not read. Reading on only to refuse more would take the processors from
// others (I7).
const refusedPause = time.Millisecond

// pause makes the read loop wait where reading on would outrun others: the
// journal, when too many acknowledgements wait for it or it has no room, and
// subscribers, as long as they make progress.
func (c *conn) pause(b *burst) error {
	if b.unroomy {
		b.unroomy = false
		if b.w >= greedyBytes {
			c.hold(b)
		}
	}
	if b.waits >= c.srv.o.ReceiveMaximum && c.version < packet.V5 {
		c.awaitRoom()
		c.countOwed(b)
	}
	for i, sub := range b.slow {
		for c.waitFor(b, sub) {
		}
		b.slow[i] = nil
	}
	b.slow = b.slow[:0]
	return nil
}

// hold waits for refusedPause.
func (c *conn) hold(b *burst) {
	b.timer.Reset(refusedPause)
	defer b.timer.Stop()
	select {
	case <-b.timer.C:
	case <-c.done:
	}
}

// awaitRoom waits until fewer acknowledgements than the receive maximum wait
// for the journal. Meanwhile the socket is not read and its keep-alive clock
// stands still (C12). A 5.0 client knows the bound: what it sends beyond it is
// an error, and its other packets are read.
func (c *conn) awaitRoom() {
	cl := c.client
	cl.mu.Lock()
	var room chan struct{}
	if cl.session.Acks.Len() >= c.srv.o.ReceiveMaximum {
		room = make(chan struct{})
		c.room = room
	}
	cl.mu.Unlock()
	if room == nil {
		return
	}
	select {
	case <-room:
	case <-c.done:
	}
	c.heardNow()
}

// waitFor waits a little for a slow subscriber and reports whether to go on
// waiting: not when it has caught up, takes nothing any more, or is gone.
func (c *conn) waitFor(b *burst, sub *conn) bool {
	held, known := unsent(sub.nc)
	drained, left := sub.drainedAt(lowMark)
	if drained == nil {
		return false
	}
	b.timer.Reset(left)
	defer b.timer.Stop()
	defer c.heardNow()
	select {
	case <-drained:
		return false
	case <-b.timer.C:
		if known {
			// Nothing unsent: the subscriber has taken all it was given, and it is
			// the writer that has not had its turn.
			now, _ := unsent(sub.nc)
			known = now == 0 || now+leastProgress <= held
		}
		return sub.moves(known)
	case <-sub.done:
		return false
	case <-c.done:
		return false
	}
}

// leastProgress is how many bytes a subscriber takes within stallPatience if it
// is not to count as stalled: one that takes a byte now and then would hold up
// others for as long as it likes.
const leastProgress = 4 << 10

// drainedAt returns a channel that is closed when the backlog is down to mark,
// and how long to wait for it at most; nil when there is nothing to wait for.
func (c *conn) drainedAt(mark int) (drained chan struct{}, left time.Duration) {
	cl := c.client
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.conn != c || c.out.stalled || c.backlog() <= mark {
		return nil, 0
	}
	if c.out.drained == nil { // the first to wait: its patience begins now
		c.out.drained = make(chan struct{})
		c.out.progress = c.srv.elapsed()
	}
	return c.out.drained, stallPatience - (c.srv.elapsed() - c.out.progress)
}

// moves reports whether a subscriber for which somebody has waited made
// progress; kernel says that its socket did. One that made none for
// stallPatience is stalled: nobody waits for it until it has caught up.
func (c *conn) moves(kernel bool) bool {
	cl := c.client
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if kernel {
		c.out.progress = c.srv.elapsed()
	}
	if c.srv.elapsed()-c.out.progress >= stallPatience {
		c.out.stalled = true
	}
	return !c.out.stalled
}
