package pipelines_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
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
	if s.written[id] == 0 && at < k.last {
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

// A history is a random life of a lane: messages come, the destination fails,
// the process crashes, the journal lags.
type history struct {
	*rapid.T
	rig   *rig
	sink  *modelSink
	wants map[string]int // dead letters to come, by payload
	in    uint64
	n     int
	rand  *rand.Rand
}

var words = []string{"ok", "ok", "ok", "ok", "ok", "ok", "filter", "missing", "error", "drop", "twice", "x poison"}

// publish publishes n messages.
func (h *history) publish(n int) {
	for range n {
		h.n++
		topic := fmt.Sprintf("t%d", h.rand.IntN(6))
		word := words[h.rand.IntN(len(words))]
		payload := fmt.Sprintf("%s %d", word, h.n)
		if word == "error" || word == "x poison" {
			h.wants[payload]++
		}
		h.in++
		h.rig.journal.publishSeen(topic, payload, func(m *message.Message) {
			var out message.Outcome
			fakeRules{}.Evaluate(1, m, &out)
			for _, r := range out.Records {
				h.sink.expect(r)
			}
		}, 1)
	}
}

func (h *history) pass() {
	pass(time.Duration(rapid.IntRange(0, 3000).Draw(h.T, "ms")) * time.Millisecond)
	h.check()
}

func (h *history) check() {
	if err := h.rig.lane.Account().Check(); err != nil {
		h.Fatal(err)
	}
}

// crash loses what is not stored, and everything in memory.
func (h *history) crash() {
	j := h.rig.journal
	j.hold(true)
	c, _ := j.Cursor(7)
	h.rig.cancel()
	// Writes that end while the process dies are seen by nobody; their records
	// are not covered by what is stored.
	<-h.rig.ended
	h.check()
	h.sink.crash(c)
	for _, e := range j.entries[j.stored:] {
		if e.message != nil {
			h.Fatal("BUG: the test lost a message")
		}
	}
	j.lose(j.stored)
	j.hold(false)
	h.rig.start()
}

// restart stops the lane in good order. What comes again then is a record of a
// message whose other record was not settled.
func (h *history) restart() {
	if err := h.rig.stop(); err != nil {
		h.Fatal(err)
	}
	c, _ := h.rig.journal.Cursor(7)
	h.sink.crash(c)
	h.rig.start()
}

// finish heals the destination, waits until nothing is pending and compares.
func (h *history) finish(t *testing.T) {
	h.sink.mu.Lock()
	h.sink.healthy, h.sink.down = true, time.Time{}
	h.sink.mu.Unlock()
	for range 100 {
		if pass(10 * time.Second); h.rig.lane.Account().Total().Pending == 0 {
			break
		}
	}
	if err := h.rig.stop(); err != nil {
		h.Fatal(err)
	}
	h.check()
	got := h.rig.lane.Account().Total()
	if got.In != h.in || got.Pending != 0 {
		h.Fatalf("published %d messages, account: %+v", h.in, got)
	}
	for key, k := range h.sink.keys {
		if lost := slices.Index(k.settled, false); lost >= 0 {
			h.Fatalf("record %s of %s is lost", k.ids[lost], key)
		}
	}
	have := map[string]int{}
	for _, d := range letters(t, h.rig.path) {
		have[*d.Record.Payload]++
	}
	for payload := range h.wants {
		if have[payload] == 0 {
			h.Fatalf("%q is not in the dead letters", payload)
		}
	}
	if int(got.DeadLettered) != len(h.wants) || len(have) != len(h.wants) {
		h.Fatalf("%d dead letters are due, %d are counted, %d in the file", len(h.wants), got.DeadLettered, len(have))
	}
}

func TestModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// rapid asks a *testing.T for its deadline, which a bubble forbids.
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) {
			h := &history{T: rt, wants: map[string]int{}}
			seed := rapid.Uint64().Draw(rt, "seed")
			h.rand = rand.New(rand.NewPCG(seed, 2))
			h.sink = newModelSink(seed, rt.Errorf)
			var sink bridges.Sink = h.sink
			if rapid.Bool().Draw(rt, "sharder") {
				sink = modelSharder{h.sink}
			}
			h.rig = newRig(t, sink)
			defer h.rig.dead.Close()
			h.rig.config = pipelines.DeliveryConfig{
				InFlight: rapid.IntRange(1, 4).Draw(rt, "in flight"),
				Batch:    pipelines.BatchConfig{Records: rapid.SampledFrom([]int{1, 3, 20, 1000}).Draw(rt, "records")},
			}
			h.rig.start()
			for range rapid.IntRange(1, 12).Draw(rt, "steps") {
				switch rapid.IntRange(0, 5).Draw(rt, "step") {
				case 0:
					h.crash()
				case 1:
					h.restart()
				default:
					h.publish(rapid.IntRange(1, 300).Draw(rt, "n"))
				}
				h.pass()
			}
			h.finish(t)
		})
	})
}
