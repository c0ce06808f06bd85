package pipelines

import (
	"slices"
	"time"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines/deadletter"
)

// A batch is what one Write gets: consecutive records of one shard. It is
// filled while it waits, then never changes except by being cut.
type batch struct {
	records []message.Record
	marks   []mark // of the record at the same index
	next    *batch // behind it in its shard

	bytes  int64
	opened time.Time // when its first record came
	sealed bool      // takes no more: a bound is reached, or it was written before
	tried  bool      // it was handed to a Write, whose outcome may be open

	attempts int
	first    time.Time            // when it was first written
	downtime time.Duration        // the breaker's total at that time
	probe    bool                 // it tests whether the sink is back
	history  []deadletter.Attempt // the failed writes, for the dead letters

	err       error  // of the last attempt
	epoch     uint32 // of the link it was last written on
	abandoned bool   // its Write never ended; a copy is written instead
}

// note remembers a failed write.
func (b *batch) note(now time.Time, err error) {
	b.history = deadletter.AddAttempt(b.history, now, err)
}

// tries returns the failed writes with the last one, of which a letter is made.
func (b *batch) tries(now time.Time, err error) []deadletter.Attempt {
	return deadletter.AddAttempt(slices.Clone(b.history), now, err)
}

// slabSizes are the capacities batches grow through: four times the last, so
// that a shard with three records waiting holds sixteen, not a thousand.
const (
	smallestSlab = 16
	slabGrowth   = 4
	spareSlabs   = 64 // kept per size
)

// A batchPool keeps batches for reuse, by the capacity of their slices.
type batchPool struct {
	limit int // records in a batch
	spare [10][]*batch
}

// class returns the size class of a capacity for n records.
func (p *batchPool) class(n int) int {
	c, size := 0, smallestSlab
	for size < min(n, p.limit) {
		c, size = c+1, size*slabGrowth
	}
	return c
}

func (p *batchPool) get(class int) *batch {
	if n := len(p.spare[class]); n > 0 {
		b := p.spare[class][n-1]
		p.spare[class] = p.spare[class][:n-1]
		return b
	}
	size := smallestSlab
	for range class {
		size *= slabGrowth
	}
	size = min(size, p.limit)
	return &batch{records: make([]message.Record, 0, size), marks: make([]mark, 0, size)}
}

// put takes a batch back; its records must not be used any more.
func (p *batchPool) put(b *batch) {
	clear(b.records) // or they would hold on to journal blocks
	records, marks := b.records[:0], b.marks[:0]
	*b = batch{records: records, marks: marks}
	if c := p.class(cap(records)); len(p.spare[c]) < spareSlabs {
		p.spare[c] = append(p.spare[c], b)
	}
}

// grow gives b slices of the next size.
func (p *batchPool) grow(b *batch) {
	g := p.get(p.class(cap(b.records) + 1))
	g.records = append(g.records, b.records...)
	g.marks = append(g.marks, b.marks...)
	b.records, g.records = g.records, b.records
	b.marks, g.marks = g.marks, b.marks
	p.put(g)
}

// add appends a record. There must be room below the limit.
func (p *batchPool) add(b *batch, r *message.Record, m mark) {
	if len(b.records) == cap(b.records) {
		p.grow(b)
	}
	b.records = append(b.records, *r)
	b.marks = append(b.marks, m)
	b.bytes += int64(m.size)
}

// cut moves the records of b from index n on into a new batch, which inherits
// how often and since when they were tried.
func (p *batchPool) cut(b *batch, n int) *batch {
	rest := p.like(b)
	for i := n; i < len(b.records); i++ {
		p.add(rest, &b.records[i], b.marks[i])
	}
	clear(b.records[n:])
	b.records, b.marks = b.records[:n], b.marks[:n]
	b.bytes -= rest.bytes
	return rest
}

// like returns an empty batch with b's history.
func (p *batchPool) like(b *batch) *batch {
	n := p.get(0)
	n.opened, n.sealed, n.tried = b.opened, b.sealed, b.tried
	n.attempts, n.first, n.downtime = b.attempts, b.first, b.downtime
	n.history, n.err = slices.Clone(b.history), b.err
	return n
}
