package broker

import (
	"sync"

	"github.com/penstock/penstock/broker/session"
	"github.com/penstock/penstock/broker/topic"
)

// levelBytes is what the index takes for each level of a topic, at most.
const levelBytes = 128

// weight is what a retained message counts against maxRetainedBytes: itself,
// and the levels of its topic, of which one message may have thousands.
func weight(m *session.Message) int { return m.Size() + levelBytes*topic.Levels(m.Topic) }

// retained are the retained messages of all topics.
type retained struct {
	mu    sync.RWMutex
	index topic.Retained[*session.Message]
	bytes int
	limit int // maxRetainedBytes
}

// Bounds of what is retained (I6).
const (
	maxRetained      = 1_000_000
	maxRetainedBytes = 512 << 20
)

func (r *retained) len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.index.Len()
}

// set makes m its topic's retained message; one without a payload removes it
// [MQTT-3.3.1-6]. It reports false when there is no room.
func (r *retained) set(m *session.Message) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(m.Payload) == 0 {
		if old, ok := r.index.Delete(m.Topic); ok {
			r.bytes -= weight(old)
		}
		return true
	}
	old, had := r.index.Get(m.Topic)
	grown := r.bytes + weight(m)
	if had {
		grown -= weight(old)
	}
	if grown > r.limit || !had && r.index.Len() >= maxRetained {
		return false
	}
	r.index.Set(m.Topic, m)
	r.bytes = grown
	return true
}

// match returns the retained messages of the topics a filter matches, without
// those that have expired.
func (r *retained) match(filter string, t int64) []*session.Message {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var found []*session.Message
	for _, m := range r.index.Match(filter) {
		if !m.Expired(t) {
			found = append(found, m)
		}
	}
	return found
}

// retainAll keeps the accepted publishes that are to be retained. Whoever
// subscribes meanwhile either finds the message here or is found by the route,
// which for that is looked up again.
func (s *Server) retainAll(b *burst, pubs []inPublish) {
	for i := range pubs {
		p := &pubs[i]
		if !p.retain || p.verdict != accepted {
			continue
		}
		if !s.retained.set(b.message(p, false)) {
			b.drops[dropRetained]++
		}
		r := *p.route
		r.targets, r.shares = s.subs.match(r.topic, b.from)
		p.route = &r
	}
}
