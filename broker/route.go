package broker

import (
	"strings"
	"sync/atomic"

	"github.com/penstock/penstock/internal/message"
)

// A route is where messages with one topic go. It is immutable.
type route struct {
	topic   string
	targets []target
	shares  []share
	rules   []uint32 // numbers of the rules that want it
	record  bool     // it is journaled without one
	ack     message.Ack
	refused bool // clients may not publish to it
}

// A target is a session that gets the message.
type target struct {
	client *client
	ids    []uint32 // subscription identifiers to send
	qos    byte     // the highest of the subscriptions that match
	rap    bool     // keep the retain flag as published
}

// A share is a shared subscription: one of its members gets the message.
type share struct {
	members []target
	next    *atomic.Uint32 // whose turn it is, for all who publish to it
}

// journaled reports whether messages go into the journal.
func (r *route) journaled() bool { return len(r.rules) > 0 || r.record }

// nobody reports that neither a subscriber nor a rule wants the topic.
func (r *route) nobody() bool {
	return len(r.targets) == 0 && len(r.shares) == 0 && !r.journaled()
}

// routes is a connection's cache: devices publish to few topics again and
// again. A change of any subscription, or of the rules, empties it.
type routes struct {
	gen     uint64
	rules   uint64 // generation of the rules
	last    *route
	byTopic map[string]*route // only when there is more than one
}

// maxRoutes bounds a connection's cache; beyond it the cache starts again.
const maxRoutes = 4096

// route returns the route of a topic.
func (c *conn) route(name []byte) *route {
	r := &c.routes
	if gen := c.srv.subs.gen.Load(); gen != r.gen {
		*r = routes{gen: gen, rules: r.rules}
	}
	if r.last != nil && r.last.topic == string(name) {
		return r.last
	}
	if found := r.byTopic[string(name)]; found != nil {
		r.last = found
		return found
	}
	return r.add(c.srv.newRoute(string(name), c.client))
}

// follow empties the cache when the rules have changed. It is asked once for a
// burst: what a burst finds holds for all of it.
func (r *routes) follow(rules uint64) {
	if rules != r.rules {
		*r = routes{gen: r.gen, rules: rules}
	}
}

func (r *routes) add(found *route) *route {
	if r.last != nil && r.byTopic == nil {
		r.byTopic = map[string]*route{r.last.topic: r.last}
	}
	if len(r.byTopic) >= maxRoutes {
		clear(r.byTopic)
	}
	if r.byTopic != nil {
		r.byTopic[found.topic] = found
	}
	r.last = found
	return found
}

// newRoute finds who wants a topic. publisher is nil for messages of nobody
// connected.
func (s *Server) newRoute(name string, publisher *client) *route {
	r := s.subscribersOf(name, publisher)
	if s.o.Intake != nil && !r.refused {
		r.rules, r.ack, r.record = s.o.Intake.Want(name, nil)
	}
	return r
}

// subscribersOf is newRoute without the rules.
func (s *Server) subscribersOf(name string, publisher *client) *route {
	r := &route{topic: name}
	if strings.HasPrefix(name, "$SYS") {
		r.refused = true
		return r
	}
	r.targets, r.shares = s.subs.match(name, publisher)
	return r
}
