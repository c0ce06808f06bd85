package broker

import "time"

// stallPatience is how long a subscriber that takes nothing may hold up a
// publisher (I7).
const stallPatience = 100 * time.Millisecond

// pause makes the read loop wait where reading on would outrun others: the
// journal, when too many acknowledgements wait for it, and subscribers, as
// long as they make progress.
func (c *conn) pause(b *burst) error {
	if b.waits >= c.srv.o.ReceiveMaximum {
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

// awaitRoom waits until fewer acknowledgements than the receive maximum wait
// for the journal. Meanwhile the socket is not read and its keep-alive clock
// stands still (C12).
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
		return true
	case <-sub.done:
		return false
	case <-c.done:
		return false
	}
}

// drainedAt returns a channel that is closed when the backlog is down to mark, and
// how long to wait for that; nil when there is nothing to wait for. A
// subscriber that has taken nothing for stallPatience is stalled: nobody waits
// for it until it has caught up.
func (c *conn) drainedAt(mark int) (drained chan struct{}, left time.Duration) {
	cl := c.client
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.conn != c || c.out.stalled || c.backlog() <= mark {
		return nil, 0
	}
	left = stallPatience - (c.srv.elapsed() - c.out.progress)
	if left <= 0 {
		c.out.stalled = true
		return nil, 0
	}
	if c.out.drained == nil {
		c.out.drained = make(chan struct{})
	}
	return c.out.drained, left
}
