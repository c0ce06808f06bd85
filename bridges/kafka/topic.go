package kafka

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"github.com/penstock/penstock/internal/message"
)

// A topic is what the sink knows of one Kafka topic. It stays for as long as
// the sink does once it had partitions: a sequence that began anew under the
// same producer id would make Kafka take new records for old ones.
type topic struct {
	name   string
	group  uint32 // the lane's name for it; never used for another topic
	layout atomic.Pointer[layout]
	used   atomic.Bool // since the last periodic refresh
	idle   int         // periodic refreshes without use; owned by the refresher

	mu         sync.Mutex
	fault      kafka.Error // guarded by mu: what the last metadata said of the topic
	missing    time.Time   // guarded by mu: since when metadata say there is no such topic
	partitions []*partition
}

// A layout is the partitions of a topic and who leads them. It is never changed.
type layout struct {
	gen        uint32 // changes with the number of partitions
	partitions []*partition
	leaders    []int32 // broker ids, -1 for none
}

func (l *layout) partition(r *message.Record) uint32 {
	return choose(r, uint32(len(l.partitions)))
}

// topics are those that records were sent to. Looking one up takes no lock.
type topics struct {
	known atomic.Pointer[map[string]*topic] // replaced, never changed

	mu     sync.Mutex
	groups uint32 // guarded by mu: how many numbers were given out
}

func (s *topics) find(name string) *topic {
	if m := s.known.Load(); m != nil {
		if t := (*m)[name]; t != nil {
			return t
		}
	}
	return s.add(name)
}

func (s *topics) add(name string) *topic {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[string]*topic)
	if m := s.known.Load(); m != nil {
		if t := (*m)[name]; t != nil {
			return t
		}
		maps.Copy(next, *m)
	}
	s.groups++
	t := &topic{name: name, group: s.groups}
	t.used.Store(true)
	if !validTopic(name) { // Kafka is not asked for what it could not even be sent
		t.fault = kafka.InvalidTopic
	}
	next[name] = t
	s.known.Store(&next)
	return t
}

// The refresher forgets what is not used: after idleAfter periods it no longer
// asks for a topic, after forgetAfter it drops a topic that never existed, since
// such names may have come from a device.
const (
	idleAfter   = 10
	forgetAfter = 60
)

// age is called once per period and notes which topics are in use.
func (s *topics) age() {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.known.Load()
	if m == nil {
		return
	}
	next := make(map[string]*topic, len(*m))
	for name, t := range *m {
		t.idle++
		if t.used.Swap(false) {
			t.idle = 0
		}
		if t.idle < forgetAfter || t.layout.Load() != nil {
			next[name] = t
		}
	}
	s.known.Store(&next)
}

// inUse returns the names that a refresh asks for.
func (s *topics) inUse() []string {
	names := []string{} // not nil: nil asks for every topic of the cluster
	if m := s.known.Load(); m != nil {
		for name, t := range *m {
			if (t.idle < idleAfter || t.used.Load()) && validTopic(name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// learn takes over what metadata say.
func (t *topic) learn(m *metadata.ResponseTopic, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fault = kafka.Error(m.ErrorCode)
	if t.fault != kafka.UnknownTopicOrPartition {
		t.missing = time.Time{}
	} else if t.missing.IsZero() {
		t.missing = now
	}
	if len(m.Partitions) == 0 {
		return
	}
	leaders := make([]int32, len(m.Partitions))
	for i := range leaders {
		leaders[i] = -1
	}
	for i := range m.Partitions {
		p := &m.Partitions[i]
		if int(p.PartitionIndex) < len(leaders) && kafka.Error(p.ErrorCode) != kafka.LeaderNotAvailable {
			leaders[p.PartitionIndex] = p.LeaderID
		}
	}
	t.setLayout(leaders)
}

// touch notes that the topic is in use, so that the refresher asks for it.
func (t *topic) touch() {
	if !t.used.Load() {
		t.used.Store(true)
	}
}

// setLayout is called with mu held.
func (t *topic) setLayout(leaders []int32) {
	for len(t.partitions) < len(leaders) {
		t.partitions = append(t.partitions, &partition{topic: t, id: int32(len(t.partitions))})
	}
	gen := uint32(1)
	if old := t.layout.Load(); old != nil {
		gen = old.gen
		if len(old.leaders) != len(leaders) {
			gen++
		}
	}
	t.layout.Store(&layout{gen: gen, partitions: t.partitions[:len(leaders):len(leaders)], leaders: leaders})
}

// unreachable notes that nobody could be asked: the time that a topic may stay
// unknown begins anew.
func (t *topic) unreachable() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.missing = time.Time{}
}

// state returns what the last metadata said and since when the topic is missing.
func (t *topic) state() (fault kafka.Error, missing time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fault, t.missing
}
