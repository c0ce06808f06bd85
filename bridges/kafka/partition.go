package kafka

import (
	"sync"
	"time"
)

// A partition takes one batch at a time: the next sequence is known only when
// the batch before it is confirmed.
type partition struct {
	topic *topic
	id    int32

	mu       sync.Mutex
	holder   *write    // guarded by mu: whose batch is on its way or in doubt
	producer *producer // guarded by mu: under which sequence counts
	sequence int32     // guarded by mu: of the next record
}

// take reserves the partition for w. When another write that will not come back
// still holds it, that one is returned for eviction; busy means wait.
func (p *partition) take(w *write, patience time.Duration) (evict *write, busy bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.holder; h != nil && h != w {
		if !h.abandoned(w, patience) {
			return nil, true
		}
		evict = h
		p.producer = nil // its batch may be in the log: its numbers are burnt
	}
	p.holder = w
	return evict, false
}

// stamp gives the next batch its numbers under the sink's present producer.
// They are spent only by confirm.
func (p *partition) stamp(current *producer) stamp {
	p.mu.Lock()
	defer p.mu.Unlock()
	if current.id < 0 {
		return unstamped()
	}
	if p.producer != current {
		// Kafka lets a producer id that is new to a partition begin anywhere.
		p.producer, p.sequence = current, 0
	}
	return stamp{current.id, current.epoch, p.sequence}
}

// confirm counts n records as written and frees the partition.
func (p *partition) confirm(w *write, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sequence = int32(uint32(p.sequence+int32(n)) & 0x7fffffff) // Kafka's wraps to 0
	p.release(w)
}

// giveUp frees the partition of a batch that was not written.
func (p *partition) giveUp(w *write) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release(w)
}

// release is called with mu held.
func (p *partition) release(w *write) {
	if p.holder == w {
		p.holder = nil
	}
}
