package pipelines_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// A modelSink is a destination that fails in every way the contract knows, and
// checks at each write what a lane promises:
//
//   - no two writes of one key at a time (C18)
//   - no record before an earlier one of its key, unless that is refused (I3)
//   - none again that a stored cursor covers, and none without cause (C15)
type modelSink struct {
	fail func(format string, args ...any)

	mu      sync.Mutex
	rand    *rand.Rand
	healthy bool
	down    time.Time // unavailable until
	gen     uint32
	keys    map[string]*modelKey
	busy    map[string]bool // keys in a running write
	written map[string]int  // by record id
	allowed map[string]int  // how often more than once
	offset  map[string]uint64
	lossy   bool // the lane may give records up
	latest  bool // also some of a message; after a crash, none of it
}

// A modelKey is the records of one key in journal order.
type modelKey struct {
	ids     []string
	at      map[string]int
	settled []bool // written, or refused
	last    int    // index after the last one that came for the first time
}

func newModelSink(seed uint64, fail func(string, ...any)) *modelSink {
	return &modelSink{
		fail: fail, rand: rand.New(rand.NewPCG(seed, 1)), keys: map[string]*modelKey{}, busy: map[string]bool{},
		written: map[string]int{}, allowed: map[string]int{}, offset: map[string]uint64{},
	}
}

// expect tells the sink of a record that will come.
func (s *modelSink) expect(r message.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := string(r.AppendID(nil))
	k := s.keys[string(r.Key)]
	if k == nil {
		k = &modelKey{at: map[string]int{}}
		s.keys[string(r.Key)] = k
	}
	k.at[id] = len(k.ids)
	k.ids = append(k.ids, id)
	k.settled = append(k.settled, poisonous(&r))
	s.offset[id] = r.Message.Offset
}

func poisonous(r *message.Record) bool { return strings.HasPrefix(string(r.Value), "x") }

func (s *modelSink) Open(context.Context) error  { return nil }
func (s *modelSink) Close(context.Context) error { return nil }

func (s *modelSink) Write(ctx context.Context, batch []message.Record) error {
	delay := s.begin(batch)
	select {
	case <-time.After(delay):
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range batch {
		delete(s.busy, string(batch[i].Key))
	}
	return s.outcome(batch)
}

func (s *modelSink) begin(batch []message.Record) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := map[string]bool{}
	for i := range batch {
		key := string(batch[i].Key)
		if s.busy[key] && !mine[key] {
			s.fail("two writes of key %s at a time", key)
		}
		mine[key], s.busy[key] = true, true
	}
	return time.Duration(s.rand.IntN(50)) * time.Millisecond
}

func (s *modelSink) outcome(batch []message.Record) error {
	bad := slices.ContainsFunc(batch, func(r message.Record) bool { return poisonous(&r) })
	if time.Now().Before(s.down) {
		return &bridges.Unavailable{Err: errors.New("down")}
	}
	dice := s.rand.IntN(12)
	if s.healthy {
		dice = 11
	}
	switch {
	case dice == 0:
		return &bridges.Retry{Err: errors.New("busy")}
	case dice == 1: // the answer is lost after some were written
		s.some(batch)
		return errors.New("timeout")
	case dice == 2:
		s.down = time.Now().Add(time.Duration(s.rand.IntN(20)) * time.Second)
		s.some(batch)
		return &bridges.Unavailable{Err: errors.New("connection reset")}
	case dice == 3 || bad && dice < 7:
		return s.part(batch)
	case bad:
		return &bridges.Reject{Err: errors.New("poison")}
	}
	for i := range batch {
		s.store(&batch[i])
	}
	return nil
}

// some stores the first records of a batch whose outcome stays open.
func (s *modelSink) some(batch []message.Record) {
	for i := range batch[:s.rand.IntN(len(batch)+1)] {
		if poisonous(&batch[i]) {
			return
		}
		s.store(&batch[i])
		s.allowed[string(batch[i].AppendID(nil))]++
	}
}

// part fails some keys from some record on.
func (s *modelSink) part(batch []message.Record) error {
	failed := map[int]error{}
	keys := map[string]bool{}
	for i := range batch {
		key := string(batch[i].Key)
		switch {
		case poisonous(&batch[i]):
			failed[i] = &bridges.Reject{Err: errors.New("poison")}
		case keys[key] || !s.healthy && s.rand.IntN(8) == 0:
			keys[key] = true
			failed[i] = &bridges.Retry{Err: errors.New("not leader")}
		default:
			s.store(&batch[i])
		}
	}
	return &bridges.Partial{Failed: failed}
}

// store writes a record at the destination.
func (s *modelSink) store(r *message.Record) {
	id := string(r.AppendID(nil))
	k := s.keys[string(r.Key)]
	if k == nil {
		s.fail("record %s was never published", id)
		return
	}
	at := k.at[id]
	if gap := slices.Index(k.settled[:at], false); gap >= 0 && !s.lossy {
		s.fail("record %s was written before %s of the same key", id, k.ids[gap])
	}
	if s.lossy && !k.settled[at] && at < k.last { // one that a removed rule was owed may come late
		s.fail("record %s was written after %s of the same key", id, k.ids[k.last-1])
	}
	k.last = max(k.last, at+1)
	k.settled[at] = true
	if s.written[id]++; s.written[id] > 1+s.allowed[id] {
		s.fail("record %s was written %d times, %d are due", id, s.written[id], 1+s.allowed[id])
	}
}

// crash allows once more what the stored cursor does not cover.
func (s *modelSink) crash(c journal.Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.busy)
	for id, n := range s.written {
		if n > 0 && !covers(c, s.offset[id]) {
			s.allowed[id]++
		}
	}
	for _, k := range s.keys { // what is written again may have others before it
		k.last = 0
		for at, id := range k.ids {
			if s.written[id] > 0 && covers(c, s.offset[id]) && !s.latest {
				k.last = at + 1
			}
		}
	}
}

func covers(c journal.Cursor, offset uint64) bool {
	return offset < c.Low || slices.ContainsFunc(c.Settled, func(r journal.Range) bool {
		return r.First <= offset && offset <= r.Last
	})
}

// A modelSharder also says what belongs together, and changes its mind.
type modelSharder struct{ *modelSink }

func (s modelSharder) Shard(r *message.Record) (group, shard, gen uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.healthy && s.rand.IntN(200) == 0 {
		s.gen = uint32(s.rand.IntN(4)) // an old one may come back
	}
	return uint32(r.Order>>8) % 2, uint32(r.Order) % (s.gen + 1), s.gen
}

// modelConfirmations check what a lane says to those who wait for rule 1 (C13).
type modelConfirmations struct {
	sink *modelSink
	last map[uint64]bool     // by offset: what was said last
	life map[uint64]struct{} // offsets told of in this life of the lane
	word map[uint64]string
}

func (c *modelConfirmations) note(offset uint64, payload string) {
	c.sink.mu.Lock()
	defer c.sink.mu.Unlock()
	c.word[offset], _, _ = strings.Cut(payload, " ")
}

func (c *modelConfirmations) Expects(rule uint32) bool { return rule == 1 }

func (c *modelConfirmations) Settle(offset uint64, _, _ uint32, delivered bool) {
	c.sink.mu.Lock()
	defer c.sink.mu.Unlock()
	if _, again := c.life[offset]; again {
		c.sink.fail("offset %d was told of twice", offset)
	}
	c.life[offset], c.last[offset] = struct{}{}, delivered
	word := c.word[offset]
	fails := word == "error" || word == "drop" || word == "x"
	if fails == delivered && (delivered || !c.sink.lossy) {
		c.sink.fail("offset %d, %q: told delivered=%v", offset, word, delivered)
	}
	if !delivered {
		return
	}
	required := map[string][]int{"ok": {1}, "twice": {1, 2}, "optional": {1}}[word]
	for _, output := range required {
		id := string(message.AppendRecordID(nil, message.ID{Journal: 1, Epoch: 1, Offset: offset}, 1, uint32(output)))
		if c.sink.written[id] == 0 {
			c.sink.fail("offset %d was called delivered before %s was written", offset, id)
		}
	}
}
