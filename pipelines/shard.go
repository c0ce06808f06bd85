package pipelines

import "time"

// A shard is a stretch of order: its records are written one batch at a time,
// in journal order (C18).
type shard struct {
	head, tail *batch // waiting
	flight     *batch // in a Write
	group      *group // nil without a Sharder
	state      shardState

	waiting      int // records
	waitingBytes int64
	stalled      bool // what waits here does not count as work at hand

	began    time.Time // of the write in flight
	deadline time.Time // when linger or back-off end
	heapAt   int       // its place in the deadlines
	next     *shard    // behind it among the ready ones

	retryAt  time.Time // no write before
	failures int       // in a row
}

type shardState uint8

const (
	idle       shardState = iota // nothing waits
	lingering                    // waits for more records, in the deadlines
	backingOff                   // waits to retry, in the deadlines; holds no permit
	ready                        // waits for a permit
	writing                      // a Write is in flight
)

func (s *shard) pushBack(b *batch) {
	if s.tail == nil {
		s.head = b
	} else {
		s.tail.next = b
	}
	s.tail = b
}

// pushFront puts b before everything that waits: what is retried goes first.
func (s *shard) pushFront(b *batch) {
	b.next = s.head
	s.head = b
	if s.tail == nil {
		s.tail = b
	}
}

func (s *shard) pop() *batch {
	b := s.head
	s.head, b.next = b.next, nil
	if s.head == nil {
		s.tail = nil
	}
	return b
}

// readyList is the shards that wait for a permit, served in turn.
type readyList struct {
	head, tail *shard
}

func (l *readyList) push(s *shard) {
	s.next = nil
	if l.tail == nil {
		l.head = s
	} else {
		l.tail.next = s
	}
	l.tail = s
}

func (l *readyList) pop() *shard { return l.remove(nil) }

// remove takes out the shard behind prev, the first one for nil.
func (l *readyList) remove(prev *shard) *shard {
	at := &l.head
	if prev != nil {
		at = &prev.next
	}
	s := *at
	*at = s.next
	if l.tail == s {
		l.tail = prev
	}
	s.next = nil
	return s
}

// popOldest takes out the shard whose next record is the oldest.
func (l *readyList) popOldest() *shard {
	var before, prev *shard
	oldest := l.head
	for s := l.head; s != nil; prev, s = s, s.next {
		if s.head.records[0].Message.Offset < oldest.head.records[0].Message.Offset {
			oldest, before = s, prev
		}
	}
	return l.remove(before)
}
