package journal_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// fakeState is a broker's state in small: sessions with queues of offsets, one
// retained offset for each topic, in shards by session, and retained topics in
// shard 0. It says when an entry is applied twice, out of order, or without
// what it needs.
type fakeState struct {
	mu       sync.Mutex
	shards   []fakeShard
	retained map[string]uint64
	problems []string
	applied  int // entries that the journal had it apply
}

// fakeShard is the queues of some sessions.
type fakeShard struct {
	applied uint64
	queues  map[uint32][]journal.Delivery // Session stands for the low half of the offset
	loaded  bool
}

const fakeShards = 4

func newFakeState() *fakeState {
	s := &fakeState{shards: make([]fakeShard, fakeShards), retained: map[string]uint64{}}
	for i := range s.shards {
		s.shards[i].queues = map[uint32][]journal.Delivery{}
	}
	return s
}

// A change is "ack <session> <position>" or "topic <name>".
func (s *fakeState) apply(offset uint64, deliveries []journal.Delivery, change, topic string) {
	for _, d := range deliveries {
		sh := &s.shards[d.Session%fakeShards]
		if offset <= sh.applied {
			continue
		}
		q := sh.queues[d.Session]
		if n := len(q); n > 0 && q[n-1].Position >= d.Position {
			s.problems = append(s.problems, fmt.Sprintf("session %d: position %d after %d", d.Session, d.Position, q[n-1].Position))
		}
		sh.queues[d.Session] = append(q, journal.Delivery{Session: uint32(offset), Position: d.Position})
	}
	var session uint32
	var position uint64
	if n, _ := fmt.Sscanf(change, "ack %d %d", &session, &position); n == 2 {
		if sh := &s.shards[session%fakeShards]; offset > sh.applied {
			q := sh.queues[session]
			if len(q) == 0 || q[0].Position != position {
				s.problems = append(s.problems, fmt.Sprintf("offset %d: ack of %d, the queue is %v", offset, position, q))
				return
			}
			sh.queues[session] = q[1:]
		}
	}
	if topic != "" && offset > s.shards[0].applied {
		s.retained[topic] = offset
	}
	for i := range s.shards {
		s.shards[i].applied = max(s.shards[i].applied, offset)
	}
}

func (s *fakeState) Shards() uint32 { return fakeShards }

func (s *fakeState) Snapshot(shard uint32, dst []byte) ([]byte, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := &s.shards[shard]
	for _, session := range slices.Sorted(maps.Keys(sh.queues)) {
		for _, d := range sh.queues[session] {
			dst = binary.LittleEndian.AppendUint32(dst, session)
			dst = binary.LittleEndian.AppendUint32(dst, d.Session)
			dst = binary.LittleEndian.AppendUint64(dst, d.Position)
		}
	}
	if shard == 0 {
		for _, topic := range slices.Sorted(maps.Keys(s.retained)) {
			dst = binary.LittleEndian.AppendUint32(dst, 1<<31)
			dst = binary.LittleEndian.AppendUint32(dst, uint32(s.retained[topic]))
			dst = append(dst, (topic + strings.Repeat(" ", 8))[:8]...)
		}
	}
	return dst, sh.applied
}

func (s *fakeState) Load(shard uint32, applied uint64, b []byte) error {
	sh := &s.shards[shard]
	if sh.loaded {
		s.problems = append(s.problems, fmt.Sprintf("shard %d loaded twice", shard))
	}
	sh.loaded, sh.applied = true, applied
	for ; len(b) >= 16; b = b[16:] {
		session, offset := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
		if session == 1<<31 {
			s.retained[strings.TrimSpace(string(b[8:16]))] = uint64(offset)
			continue
		}
		sh.queues[session] = append(sh.queues[session], journal.Delivery{Session: offset, Position: binary.LittleEndian.Uint64(b[8:])})
	}
	return nil
}

func (s *fakeState) Apply(f journal.Frame) error {
	s.applied++
	change, _ := f.Change()
	topic := ""
	if f.RetainedSet() {
		var m message.Message
		if err := f.Message(&m); err != nil {
			return err
		}
		topic = m.Topic
	}
	s.apply(f.Offset(), f.Deliveries(nil), string(change), topic)
	return nil
}

func (s *fakeState) Refers(offset uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.references(), offset)
}

func (s *fakeState) references() (list []uint64) {
	for i := range s.shards {
		for _, q := range s.shards[i].queues {
			for _, d := range q {
				list = append(list, uint64(d.Session))
			}
		}
	}
	return slices.AppendSeq(list, maps.Values(s.retained))
}

// text is all of the state, to be compared.
func (s *fakeState) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for i := range s.shards {
		for _, session := range slices.Sorted(maps.Keys(s.shards[i].queues)) {
			if q := s.shards[i].queues[session]; len(q) > 0 {
				fmt.Fprintf(&b, "session %d: %v\n", session, q)
			}
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(s.retained)) {
		fmt.Fprintf(&b, "topic %s: %d\n", topic, s.retained[topic])
	}
	return b.String()
}
