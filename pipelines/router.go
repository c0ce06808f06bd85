package pipelines

import (
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
)

// shardsPerWrite is how many shards a lane has for each write in flight when
// the sink does not say what belongs together: enough that one slow order key
// holds up few others.
const shardsPerWrite = 4

// A router finds the shard of a record.
type router interface {
	// route adds the record to its shard, now or when its group is free for it.
	route(r *message.Record, m mark, now time.Time)
	// leave says that n records of s will not be written any more.
	leave(s *shard, n int, now time.Time)
	// waiting shows the records that no Write has now.
	waiting(see func(*message.Record, mark))
	// batches shows the batches they are in.
	batches(see func(*batch))
	// prune takes out those of them that were never written and that gone
	// names; it is asked once for each, in the order of each shard.
	prune(gone func(*message.Record, mark) bool, now time.Time)
}

func newRouter(sink bridges.Sink, c *schedule) router {
	if sharder, ok := sink.(bridges.Sharder); ok {
		return &groupRouter{
			sharder: sharder, schedule: c,
			groups: make(map[uint32]*group), shards: make(map[uint64]*shard),
		}
	}
	h := &hashRouter{schedule: c, shards: make([]*shard, shardsPerWrite*c.config.InFlight)}
	for i := range h.shards {
		h.shards[i] = &shard{}
	}
	return h
}

// A hashRouter hashes the order key onto a fixed number of shards.
type hashRouter struct {
	schedule *schedule
	shards   []*shard
}

func (h *hashRouter) route(r *message.Record, m mark, now time.Time) {
	h.schedule.add(h.shards[r.Order%uint64(len(h.shards))], r, m, now)
}

func (h *hashRouter) leave(*shard, int, time.Time) {}

// A groupRouter asks the sink.
type groupRouter struct {
	sharder  bridges.Sharder
	schedule *schedule
	groups   map[uint32]*group
	shards   map[uint64]*shard // by group<<32 | shard
}

// A group is the shards under one mapping. When the mapping changes, records
// wait until the last one of the old mapping is settled (C18), and those
// behind them too, so that order is kept.
type group struct {
	gen        uint32
	open       int    // records in its shards or in flight
	head, tail *batch // records that wait for a new gen
}

func (g *groupRouter) route(r *message.Record, m mark, now time.Time) {
	s, gen := g.find(r)
	if s.group.head != nil || !s.group.admit(gen) {
		g.hold(s.group, r, m)
		return
	}
	s.group.open++
	g.schedule.add(s, r, m, now)
}

func (g *groupRouter) find(r *message.Record) (s *shard, gen uint32) {
	group, number, gen := g.sharder.Shard(r)
	key := uint64(group)<<32 | uint64(number)
	s = g.shards[key]
	if s == nil {
		s = &shard{group: g.group(group, gen)}
		g.shards[key] = s
	}
	return s, gen
}

func (g *groupRouter) group(number, gen uint32) *group {
	if g.groups[number] == nil {
		g.groups[number] = &group{gen: gen}
	}
	return g.groups[number]
}

// admit reports whether a record of gen may join, taking over a new gen when
// nothing of the old one is left.
func (p *group) admit(gen uint32) bool {
	if p.gen != gen && p.open == 0 {
		p.gen = gen
	}
	return p.gen == gen
}

func (g *groupRouter) hold(p *group, r *message.Record, m mark) {
	if p.tail == nil || len(p.tail.records) == g.schedule.config.Batch.Records {
		b := g.schedule.pool.get(0)
		if p.tail == nil {
			p.head = b
		} else {
			p.tail.next = b
		}
		p.tail = b
	}
	g.schedule.pool.add(p.tail, r, m)
}

func (g *groupRouter) leave(s *shard, n int, now time.Time) {
	p := s.group
	if p.open -= n; p.open == 0 && p.head != nil {
		g.free(p, now)
	}
}

// free routes what a group held again. The mapping may have changed once more,
// so each record is asked for anew, and what does not fit is held again in order.
func (g *groupRouter) free(p *group, now time.Time) {
	b := p.head
	p.head, p.tail = nil, nil
	for b != nil {
		for i := range b.records {
			g.route(&b.records[i], b.marks[i], now)
		}
		next := b.next
		g.schedule.pool.put(b)
		b = next
	}
}
