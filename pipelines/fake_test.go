package pipelines_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
)

// A fakeJournal is a journal in memory. Cursors take offsets like the real
// one's, and are stored at once unless lag says otherwise.
type fakeJournal struct {
	mu      sync.Mutex
	entries []fakeEntry // by offset - 1; a cursor's has no message
	stored  uint64
	held    bool // nothing more becomes stored
	cursors map[uint32][]fakeCursor
	readers []*fakeReader
	decoded int
	readErr error
	fail    error // of StoreCursor
	clock   bool  // messages are received now, not at a made-up time
	excess  int64 // how much too high Owed guesses
	feeds   map[uint32]*fakeFeed
	drops   []journal.Drop // of all cursors
}

// A fakeFeed is what an intake knows of a lane.
type fakeFeed struct {
	rules   []uint32
	backlog *pipelines.Backlog
}

func (f *fakeFeed) wants(rules []uint32) bool {
	return slices.ContainsFunc(rules, func(r uint32) bool { return slices.Contains(f.rules, r) })
}

func (e *fakeEntry) size() int { return 100 + len(e.message.Payload) }

// Owed guesses like the real journal: it does not look at settled ranges.
func (j *fakeJournal) Owed(lane uint32) (messages, bytes int64) {
	c, ok := j.Cursor(lane)
	j.mu.Lock()
	defer j.mu.Unlock()
	f := j.feeds[lane]
	if !ok || f == nil {
		return 0, 0
	}
	for i := range j.entries[:j.stored] {
		if e := &j.entries[i]; uint64(i+1) >= c.Low && e.message != nil && f.wants(e.rules) {
			messages++
			bytes += int64(e.size())
		}
	}
	return messages + j.excess, bytes + 110*j.excess
}

type fakeEntry struct {
	message *message.Message
	rules   []uint32
}

type fakeCursor struct {
	offset uint64
	cursor journal.Cursor
}

func newFakeJournal() *fakeJournal {
	return &fakeJournal{cursors: map[uint32][]fakeCursor{}, feeds: map[uint32]*fakeFeed{}}
}

// publish appends a message that rules want and returns its offset.
func (j *fakeJournal) publish(topic, payload string, rules ...uint32) uint64 {
	return j.publishSeen(topic, payload, func(*message.Message) {}, rules...)
}

// publishSeen shows the message to see before a lane can have it.
func (j *fakeJournal) publishSeen(topic, payload string, see func(*message.Message), rules ...uint32) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	offset := uint64(len(j.entries) + 1)
	m := &message.Message{
		ID:       message.ID{Journal: 1, Epoch: 1, Offset: offset},
		Received: 1767225600000 + int64(offset), Client: "c", Topic: topic, QoS: 1, Payload: []byte(payload),
	}
	see(m)
	if j.clock {
		m.Received = time.Now().UnixMilli()
	}
	e := fakeEntry{m, rules}
	j.entries = append(j.entries, e)
	for _, f := range j.feeds {
		if f.backlog != nil && f.wants(rules) {
			f.backlog.Add(1, int64(e.size()))
		}
	}
	j.advance()
	return offset
}

// hold keeps what is appended from being stored, until it is let go.
func (j *fakeJournal) hold(held bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held = held
	j.advance()
}

func (j *fakeJournal) advance() {
	if j.held {
		return
	}
	j.stored = uint64(len(j.entries))
	for _, r := range j.readers {
		select {
		case r.ready <- struct{}{}:
		default:
		}
	}
}

func (j *fakeJournal) Stored() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stored
}

// Cursor returns the last cursor that is stored, as after a crash.
func (j *fakeJournal) Cursor(lane uint32) (journal.Cursor, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	list := j.cursors[lane]
	for _, c := range slices.Backward(list) {
		if c.offset <= j.stored {
			return c.cursor, true
		}
	}
	return journal.Cursor{}, false
}

func (j *fakeJournal) StoreCursor(lane uint32, c journal.Cursor) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fail != nil {
		return 0, j.fail
	}
	at := c.Low
	for _, r := range c.Settled {
		if r.First < at || r.Last < r.First || r.Last > j.stored {
			return 0, fmt.Errorf("BUG: cursor with bad ranges %+v, stored %d", c, j.stored)
		}
		at = r.Last + 1
	}
	j.entries = append(j.entries, fakeEntry{})
	offset := uint64(len(j.entries))
	c.Settled, c.Counters = slices.Clone(c.Settled), slices.Clone(c.Counters)
	j.drops = append(j.drops, c.Dropped...)
	j.cursors[lane] = append(j.cursors[lane], fakeCursor{offset, c})
	j.advance()
	return offset, nil
}

func (j *fakeJournal) NewReader(from uint64) pipelines.Reader {
	r := &fakeReader{j: j, next: from, ready: make(chan struct{}, 1)}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.readers = append(j.readers, r)
	return r
}

type fakeReader struct {
	j     *fakeJournal
	next  uint64
	at    fakeEntry
	ready chan struct{}
}

func (r *fakeReader) Next() (uint64, bool, error) {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	if r.j.readErr != nil {
		return 0, false, r.j.readErr
	}
	for r.next <= r.j.stored {
		r.at = r.j.entries[r.next-1]
		r.next++
		if r.at.message != nil {
			return r.next - 1, true, nil
		}
	}
	return 0, false, nil
}

func (r *fakeReader) Rules(dst []uint32) []uint32 { return append(dst, r.at.rules...) }

func (r *fakeReader) Message(m *message.Message) error {
	r.j.mu.Lock()
	r.j.decoded++
	r.j.mu.Unlock()
	if bytes.Equal(r.at.message.Payload, []byte("unreadable")) {
		return errors.New("bad frame")
	}
	*m = *r.at.message
	return nil
}

func (r *fakeReader) Size() int { return r.at.size() }

func (r *fakeReader) Ready() <-chan struct{} { return r.ready }

func (r *fakeReader) Close() {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	r.j.readers = slices.DeleteFunc(r.j.readers, func(o *fakeReader) bool { return o == r })
}

// fakeRules turns the payload into records by its first word: filter, missing,
// error, drop, twice; anything else is one record whose order key is the topic.
type fakeRules struct{ numbers []uint32 }

func (e fakeRules) Rules() []uint32 { return e.numbers }

func (e fakeRules) Evaluate(rule uint32, m *message.Message, out *message.Outcome) {
	word, _, _ := bytes.Cut(m.Payload, []byte(" "))
	switch string(word) {
	case "filter":
		out.Filtered = true
	case "missing":
		out.Filtered, out.Missing = true, true
	case "error", "drop":
		out.Errors = append(out.Errors, message.RuleError{
			Output: 9, Kind: "type", Err: errors.New("not a number"), Drop: string(word) == "drop",
		})
	case "twice":
		out.Records = append(out.Records, fakeRecord(rule, 1, m, m.Topic), fakeRecord(rule, 2, m, m.Topic+"/second"))
	default:
		out.Records = append(out.Records, fakeRecord(rule, 1, m, m.Topic))
	}
}

func fakeRecord(rule, output uint32, m *message.Message, key string) message.Record {
	h := fnv.New64a()
	h.Write([]byte(key))
	return message.Record{
		Message: m.ID, Rule: rule, Output: output, Received: m.Received, Client: m.Client, Topic: m.Topic,
		Key: []byte(key), Value: m.Payload, Order: h.Sum64(),
	}
}

// A fakeSink asks answer what to say, and keeps what it confirmed.
type fakeSink struct {
	answer  func(ctx context.Context, batch []message.Record) error // nil: confirm
	opening func() error

	mu     sync.Mutex
	writes [][]string // the values of each Write, when it began
	starts []time.Time
	got    []string // values confirmed, in order
	gotBy  map[string][]string
	now    int // writes running
	most   int
	opens  int
	closes int
}

func (s *fakeSink) Open(context.Context) error {
	s.opens++
	if s.opening != nil {
		return s.opening()
	}
	return nil
}

func (s *fakeSink) Close(context.Context) error {
	s.closes++
	return nil
}

func (s *fakeSink) Write(ctx context.Context, batch []message.Record) error {
	s.mu.Lock()
	s.writes = append(s.writes, values(batch))
	s.starts = append(s.starts, time.Now())
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	var err error
	if s.answer != nil {
		err = s.answer(ctx, batch)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
	s.keep(batch, err)
	return err
}

func (s *fakeSink) keep(batch []message.Record, err error) {
	if s.gotBy == nil {
		s.gotBy = map[string][]string{}
	}
	var partial *bridges.Partial
	if err != nil && !errors.As(err, &partial) {
		return
	}
	for i := range batch {
		if partial != nil && partial.Failed[i] != nil {
			continue
		}
		s.got = append(s.got, string(batch[i].Value))
		key := string(batch[i].Key)
		s.gotBy[key] = append(s.gotBy[key], string(batch[i].Value))
	}
}

func (s *fakeSink) have() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func (s *fakeSink) calls() [][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.writes)
}

// peak returns how many writes ran at a time since the last call.
func (s *fakeSink) peak() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := s.most
	s.most = s.now
	return most
}

func values(batch []message.Record) []string {
	var v []string
	for i := range batch {
		v = append(v, string(batch[i].Value))
	}
	return v
}

// A shardedSink is a fakeSink that says which shard a record belongs to.
type shardedSink struct {
	fakeSink
	shard func(r *message.Record) (group, shard, gen uint32)
}

func (s *shardedSink) Shard(r *message.Record) (group, shard, gen uint32) { return s.shard(r) }

// oneShard puts everything in one shard.
func oneShard(*message.Record) (group, shard, gen uint32) { return 0, 0, 0 }

// byTopic makes each topic its own shard.
func byTopic(r *message.Record) (group, shard, gen uint32) {
	return 1, uint32(r.Order), 0
}
