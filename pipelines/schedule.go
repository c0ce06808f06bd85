package pipelines

import (
	"time"

	"github.com/penstock/penstock/internal/message"
)

// stallAfter is how long a write may take before what waits behind it no
// longer counts as work at hand, so that the lane reads on for other shards.
const stallAfter = 100 * time.Millisecond

// A schedule holds the records that wait for a Write, in shards, and decides
// whose turn it is. It reads no clock: now is handed in.
type schedule struct {
	config DeliveryConfig // with defaults
	pool   batchPool

	ready   readyList
	waits   deadlines // of shards lingering or backing off
	writing []*shard
	permits int // of config.InFlight
	flying  int // records in writes in flight

	// Work at hand: what waits in shards that advance.
	atHand      int
	atHandBytes int64
}

func newSchedule(c DeliveryConfig) *schedule {
	return &schedule{config: c, pool: batchPool{limit: c.Batch.Records}, permits: c.InFlight}
}

// full reports whether there is work at hand for two rounds of writes; more
// would only take memory.
func (c *schedule) full() bool {
	writes := 2 * c.config.InFlight
	return c.atHand >= writes*c.config.Batch.Records || c.atHandBytes >= int64(writes)*c.config.Batch.Bytes
}

// add puts a record at the end of its shard.
func (c *schedule) add(s *shard, r *message.Record, m mark, now time.Time) {
	b := s.tail
	if b == nil || b.sealed || b.bytes+int64(m.size) > c.config.Batch.Bytes {
		if b != nil {
			b.sealed = true
		}
		b = c.pool.get(0)
		b.opened = now
		s.pushBack(b)
	}
	c.pool.add(b, r, m)
	c.count(s, 1, int64(m.size))
	if len(b.records) == c.config.Batch.Records || b.bytes >= c.config.Batch.Bytes {
		b.sealed = true
	}
	// C19: an idle shard sends at once; a full batch ends the linger.
	switch {
	case s.state == idle:
		c.makeReady(s)
	case s.state == lingering && s.head.sealed:
		c.waits.remove(s)
		c.makeReady(s)
	}
}

// count changes what waits in a shard.
func (c *schedule) count(s *shard, records int, bytes int64) {
	s.waiting += records
	s.waitingBytes += bytes
	if !s.stalled {
		c.atHand += records
		c.atHandBytes += bytes
	}
}

// stall says whether what waits in s counts as work at hand.
func (c *schedule) stall(s *shard, stalled bool) {
	if s.stalled == stalled {
		return
	}
	s.stalled = stalled
	sign := 1
	if stalled {
		sign = -1
	}
	c.atHand += sign * s.waiting
	c.atHandBytes += int64(sign) * s.waitingBytes
}

func (c *schedule) makeReady(s *shard) {
	c.stall(s, false)
	s.state = ready
	c.ready.push(s)
}

// start takes the next batch of s, which was ready, into flight.
func (c *schedule) start(s *shard, now time.Time) *batch {
	b := s.pop()
	c.count(s, -len(b.records), -b.bytes)
	b.sealed, b.tried = true, true
	s.state, s.began, s.flight = writing, now, b
	c.writing = append(c.writing, s)
	c.permits--
	c.flying += len(b.records)
	return b
}

// end takes the batch out of flight; resume must follow.
func (c *schedule) end(s *shard, b *batch) {
	c.permits++
	c.flying -= len(b.records)
	s.flight = nil
	for i, w := range c.writing {
		if w == s {
			last := len(c.writing) - 1
			c.writing[i], c.writing[last] = c.writing[last], nil
			c.writing = c.writing[:last]
			break
		}
	}
}

// again puts a batch that must be written again before everything later.
func (c *schedule) again(s *shard, b *batch) {
	s.pushFront(b)
	c.count(s, len(b.records), b.bytes)
}

// resume decides what a shard whose write ended does next.
func (c *schedule) resume(s *shard, now time.Time) {
	c.stall(s, false)
	linger := time.Time{}
	if s.head != nil {
		linger = s.head.opened.Add(c.config.Batch.Linger)
	}
	switch {
	case s.head == nil:
		s.state = idle
	case now.Before(s.retryAt):
		c.stall(s, true)
		c.wait(s, backingOff, s.retryAt)
	case s.head.sealed || !now.Before(linger):
		c.makeReady(s)
	default: // C19: what came during the write lingers
		c.wait(s, lingering, linger)
	}
}

func (c *schedule) wait(s *shard, state shardState, until time.Time) {
	s.state, s.deadline = state, until
	c.waits.push(s)
}

// expire makes the shards ready whose linger or back-off ended.
func (c *schedule) expire(now time.Time) {
	for len(c.waits) > 0 && !c.waits[0].deadline.After(now) {
		s := c.waits[0]
		c.waits.remove(s)
		c.makeReady(s)
	}
}

// endLinger makes every lingering shard ready: the lane reads nothing more for
// now, so that waiting cannot fill their batches.
func (c *schedule) endLinger() {
	for i := 0; i < len(c.waits); {
		s := c.waits[i]
		if s.state != lingering {
			i++
			continue
		}
		c.waits.remove(s)
		c.makeReady(s)
	}
}

// markStalled finds the writes that take long, and returns when the next one
// will have; zero for none.
func (c *schedule) markStalled(now time.Time) (next time.Time) {
	for _, s := range c.writing {
		at := s.began.Add(stallAfter)
		switch {
		case s.stalled:
		case !now.Before(at):
			c.stall(s, true)
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	return next
}
