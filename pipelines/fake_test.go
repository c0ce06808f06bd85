package pipelines_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

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
	fail    error // of StoreCursor and Save
	saves   []fakeSave
	shown   uint64 // readers see nothing above, 0 for no such bound
	clock   bool   // messages are received now, not at a made-up time
	excess  int64  // how much too high Owed guesses
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

func (e *fakeEntry) size() int {
	if e.message == nil {
		return 40
	}
	return 100 + len(e.message.Payload)
}

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
	tick    int64 // 0: it is none
}

type fakeSave struct {
	offset, needs uint64
	key           string
	body          []byte
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
	e := fakeEntry{message: m, rules: rules}
	for _, f := range j.feeds {
		if f.backlog != nil && f.wants(rules) {
			f.backlog.Add(1, int64(e.size()))
		}
	}
	j.entries = append(j.entries, e)
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

// show lets readers see what is stored up to an offset.
func (j *fakeJournal) show(last uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.shown = last
	j.wake()
}

func (j *fakeJournal) advance() {
	if j.held {
		return
	}
	j.stored = uint64(len(j.entries))
	j.wake()
}

func (j *fakeJournal) wake() {
	for _, r := range j.readers {
		select {
		case r.ready <- struct{}{}:
		default:
		}
	}
}

// tick appends a tick, shows its id to see, and returns its offset.
func (j *fakeJournal) tick(at int64, see func(message.ID)) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	offset := uint64(len(j.entries) + 1)
	see(message.ID{Journal: 1, Epoch: 1, Offset: offset})
	j.entries = append(j.entries, fakeEntry{tick: at})
	j.advance()
	return offset
}

func (j *fakeJournal) Save(kind, key string, needs uint64, body []byte) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fail != nil {
		return 0, j.fail
	}
	j.entries = append(j.entries, fakeEntry{})
	offset := uint64(len(j.entries))
	j.saves = append(j.saves, fakeSave{offset, needs, kind + "/" + key, slices.Clone(body)})
	j.advance()
	return offset, nil
}

func (j *fakeJournal) Load(kind, key string) ([]byte, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range slices.Backward(j.saves) {
		if s.offset <= j.stored && s.key == kind+"/"+key {
			return s.body, s.body != nil
		}
	}
	return nil, false
}

// lose takes away what was appended after an offset that is not stored yet.
func (j *fakeJournal) lose(last uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries, j.stored = j.entries[:last], last
	for lane, list := range j.cursors {
		j.cursors[lane] = slices.DeleteFunc(list, func(c fakeCursor) bool { return c.offset > last })
	}
	j.saves = slices.DeleteFunc(j.saves, func(s fakeSave) bool { return s.offset > last })
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
	if n := len(j.saves); n > 0 && from < j.saves[n-1].needs {
		panic(fmt.Sprintf("BUG: reads from %d on, of which only what is at or above %d is kept", from, j.saves[n-1].needs))
	}
	j.readers = append(j.readers, r)
	return r
}

type fakeReader struct {
	j     *fakeJournal
	next  uint64
	at    fakeEntry
	ready chan struct{}
	ticks bool
}

func (r *fakeReader) Next() (uint64, bool, error) {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	if r.j.readErr != nil {
		return 0, false, r.j.readErr
	}
	for r.next <= r.j.stored && (r.j.shown == 0 || r.next <= r.j.shown) {
		r.at = r.j.entries[r.next-1]
		r.next++
		if r.at.message != nil || r.ticks && r.at.tick != 0 {
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

func (r *fakeReader) WantTicks() { r.ticks = true }

func (r *fakeReader) Tick() (id message.ID, at int64, ok bool) {
	return message.ID{Journal: 1, Epoch: 1, Offset: r.next - 1}, r.at.tick, r.at.tick != 0
}

func (r *fakeReader) Size() int { return r.at.size() }

func (r *fakeReader) Ready() <-chan struct{} { return r.ready }

func (r *fakeReader) Close() {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	r.j.readers = slices.DeleteFunc(r.j.readers, func(o *fakeReader) bool { return o == r })
}

// fakeRules turns the payload into records by its first word: filter, missing,
// error, drop, twice, shadow, optional (two
// records, the second not required); anything else is one record whose order key is the topic.
type fakeRules struct{ numbers []uint32 }

func rulesOf(numbers ...uint32) func() pipelines.Evaluator {
	return func() pipelines.Evaluator { return fakeRules{numbers} }
}

func (e fakeRules) Rules() []uint32 { return e.numbers }

func (e fakeRules) Evaluate(rule uint32, m *message.Message, out *message.Outcome) {
	word, _, _ := bytes.Cut(m.Payload, []byte(" "))
	switch string(word) {
	case "shadow":
		out.Shadow = true
		out.Records = append(out.Records, fakeRecord(rule, 1, m, m.Topic))
		out.Errors = append(out.Errors, message.RuleError{Output: 9, Kind: "type", Err: errors.New("not a number")})
	case "optional":
		out.Records = append(out.Records, fakeRecord(rule, 1, m, m.Topic), fakeRecord(rule, 2, m, m.Topic))
		out.Records[len(out.Records)-1].Optional = true
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

// formRules are fakeRules whose values begin with a word for their present form.
type formRules struct {
	fakeRules
	form string
}

func (e formRules) Evaluate(rule uint32, m *message.Message, out *message.Outcome) {
	first := len(out.Records)
	e.fakeRules.Evaluate(rule, m, out)
	for i := first; e.form != "" && i < len(out.Records); i++ {
		r := &out.Records[i]
		r.Value = fmt.Appendf(nil, "%s %s by %d", e.form, r.Value, rule)
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
