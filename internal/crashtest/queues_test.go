package crashtest_test

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/penstock/penstock/internal/journal"
)

// How many durable sessions there are, and in how many shards they are stored.
const (
	sessions = 4
	shards   = 2
)

// queues is the state outside the journal: what each durable session must
// still get, by position, as the broker's would be (C1, C5).
type queues struct {
	mu      sync.Mutex
	waiting [sessions]map[uint64]uint64 // guarded by mu: position -> offset
	applied [shards]uint64              // guarded by mu
}

func newQueues() *queues {
	q := &queues{}
	for i := range q.waiting {
		q.waiting[i] = map[uint64]uint64{}
	}
	return q
}

func (q *queues) Shards() uint32 { return shards }

// Snapshot is session, position, offset, for all there are.
func (q *queues) Snapshot(shard uint32, dst []byte) ([]byte, uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for s, waiting := range q.waiting {
		if uint32(s)%shards != shard {
			continue
		}
		for _, position := range slices.Sorted(maps.Keys(waiting)) {
			dst = binary.LittleEndian.AppendUint64(dst, uint64(s))
			dst = binary.LittleEndian.AppendUint64(dst, position)
			dst = binary.LittleEndian.AppendUint64(dst, waiting[position])
		}
	}
	return dst, q.applied[shard]
}

func (q *queues) Load(shard uint32, applied uint64, body []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.applied[shard] = applied
	for ; len(body) >= 24; body = body[24:] {
		n := func(i int) uint64 { return binary.LittleEndian.Uint64(body[8*i:]) }
		q.waiting[n(0)][n(1)] = n(2)
	}
	return nil
}

// Apply takes in one entry when the journal opens.
func (q *queues) Apply(f journal.Frame) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	change, _ := f.Change()
	q.applyLocked(f.Offset(), f.Deliveries(nil), change)
	return nil
}

// applyLocked is the one place where an entry changes the queues, live and
// when the journal opens. The caller holds mu.
func (q *queues) applyLocked(offset uint64, deliveries []journal.Delivery, change []byte) {
	for _, d := range deliveries {
		if shard := d.Session % shards; offset > q.applied[shard] {
			q.waiting[d.Session][d.Position] = offset
		}
	}
	if len(change) == 12 {
		session := binary.LittleEndian.Uint32(change)
		if offset > q.applied[session%shards] {
			delete(q.waiting[session], binary.LittleEndian.Uint64(change[4:]))
		}
		q.applied[session%shards] = max(q.applied[session%shards], offset)
	}
	for _, d := range deliveries {
		q.applied[d.Session%shards] = max(q.applied[d.Session%shards], offset)
	}
}

// Refers reports whether a message waits in some queue.
func (q *queues) Refers(offset uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, waiting := range q.waiting {
		for _, o := range waiting {
			if o == offset {
				return true
			}
		}
	}
	return false
}

// taken is a subscriber's acknowledgement: an entry without a message.
type taken struct {
	delivery journal.Delivery
	offset   uint64
}

// address says which sessions must get a message.
func (w *world) address(g *given, random *rand.Rand) {
	for s := range uint32(sessions) {
		if random.IntN(4) == 0 {
			w.position++
			g.deliveries = append(g.deliveries, journal.Delivery{Session: s, Position: w.position})
		}
	}
}

// append is the broker's: it appends entries and applies them, in the order
// of their offsets.
func (w *world) append(entries []journal.Entry) (uint64, error) {
	if !slices.ContainsFunc(entries, func(e journal.Entry) bool { return len(e.Deliveries) > 0 || e.Change != nil }) {
		return w.journal.Append(entries)
	}
	w.queues.mu.Lock()
	defer w.queues.mu.Unlock()
	first, err := w.journal.Append(entries)
	if err == nil {
		for i := range entries {
			w.queues.applyLocked(first+uint64(i), entries[i].Deliveries, entries[i].Change)
		}
	}
	return first, err
}

// acknowledge has a subscriber acknowledge what is first in its queue.
func (w *world) acknowledge(s step) {
	n := w.takeFrom(uint32(s.Who%sessions), 1+2*s.N)
	w.note("session %d acknowledges %d messages", s.Who%sessions, n)
}

func (w *world) takeFrom(session uint32, n int) int {
	w.queues.mu.Lock()
	positions := slices.Sorted(maps.Keys(w.queues.waiting[session]))
	w.queues.mu.Unlock()
	positions = positions[:min(n, len(positions))]
	for i, position := range positions {
		change := binary.LittleEndian.AppendUint32(nil, session)
		change = binary.LittleEndian.AppendUint64(change, position)
		offset, err := w.append([]journal.Entry{{Change: change, NoWait: true, Frees: true}})
		if err != nil {
			return i
		}
		w.taken = append(w.taken, taken{journal.Delivery{Session: session, Position: position}, offset})
	}
	return len(positions)
}

// checkQueues: a message and its places in the queues are there together or
// not at all (C1), and what waits in a queue can be read (C6).
func (w *world) checkQueues(found map[int]bool) {
	w.queues.mu.Lock()
	defer w.queues.mu.Unlock()
	acked := map[journal.Delivery]uint64{}
	for _, t := range w.taken {
		acked[t.delivery] = t.offset
	}
	known := map[journal.Delivery]uint64{}
	for _, g := range w.given {
		for _, d := range g.deliveries {
			at, waits := w.queues.waiting[d.Session][d.Position]
			ack, isAcked := acked[d]
			known[d] = g.id.Offset
			switch {
			case waits && at != g.id.Offset:
				w.fail("C1: position %d of session %d is offset %d, was %d", d.Position, d.Session, at, g.id.Offset)
			case waits && g.fate == gone:
				w.fail("C1: message %d at offset %d is gone, and waits for session %d", g.serial, g.id.Offset, d.Session)
			case waits && !found[g.serial]:
				w.fail("C6: message %d at offset %d waits for session %d, and cannot be read", g.serial, g.id.Offset, d.Session)
			case waits && isAcked && ack <= w.toldBefore:
				w.fail("C1: session %d gets position %d again, which it acknowledged at offset %d", d.Session, d.Position, ack)
			case !waits && g.fate == kept && !isAcked:
				w.fail("C1: message %d at offset %d is there, and its place %d in the queue of session %d is not",
					g.serial, g.id.Offset, d.Position, d.Session)
			}
		}
	}
	for s, waiting := range w.queues.waiting {
		for position, offset := range waiting {
			if _, ok := known[journal.Delivery{Session: uint32(s), Position: position}]; !ok {
				w.fail("C1: position %d of session %d, offset %d, was never given out", position, s, offset)
			}
		}
	}
	w.settleTaken()
}

// settleTaken forgets acknowledgements that did not survive. The caller holds
// the queues' mu.
func (w *world) settleTaken() {
	w.taken = slices.DeleteFunc(w.taken, func(t taken) bool {
		_, waits := w.queues.waiting[t.delivery.Session][t.delivery.Position]
		return waits
	})
}
