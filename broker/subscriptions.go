package broker

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/penstock/penstock/broker/topic"
)

// A subscription is one topic filter of one session. A shared subscription is
// in the tree once, with its group in the place of a client.
type subscription struct {
	filter  string
	client  *client
	group   *group
	id      uint32 // subscription identifier; 0: none
	qos     byte
	noLocal bool
	rap     bool // Retain As Published
}

// A group is the members of one shared subscription.
type group struct {
	filter  string // without $share and the group's name
	entry   *subscription
	members []*subscription
	next    atomic.Uint32 // whose turn it is
}

// subscriptions are everybody's. The mutex also guards each client's list.
type subscriptions struct {
	mu     sync.RWMutex
	tree   topic.Tree[*subscription]
	groups map[string]*group // by the whole filter, $share included
	count  int

	// gen grows with every change that makes a cached route wrong.
	gen atomic.Uint64
}

func (s *subscriptions) init() { s.groups = make(map[string]*group) }

func (s *subscriptions) changed() { s.gen.Add(1) }

func (s *subscriptions) len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.count
}

// maxSubscriptions bounds what one session may subscribe to (I6).
const maxSubscriptions = 100_000

// add makes sub the client's subscription for its filter, in the place of the
// one it had [MQTT-3.8.4-3]. ok is false when it has too many.
func (s *subscriptions) add(sub *subscription) (existed, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.changed()
	cl := sub.client
	if old := cl.subscribed(sub.filter); old != nil {
		old.id, old.qos, old.noLocal, old.rap = sub.id, sub.qos, sub.noLocal, sub.rap
		return true, true
	}
	if len(cl.subs) >= maxSubscriptions {
		return false, false
	}
	cl.remember(sub)
	s.count++
	if share, filter := topic.SplitShare(sub.filter); share != "" {
		s.join(sub, filter)
	} else {
		s.tree.Insert(filter, sub)
	}
	return false, true
}

// join adds a member to its group.
func (s *subscriptions) join(sub *subscription, filter string) {
	g := s.groups[sub.filter]
	if g == nil {
		g = &group{filter: filter}
		g.entry = &subscription{filter: sub.filter, group: g}
		s.groups[sub.filter] = g
		s.tree.Insert(filter, g.entry)
	}
	g.members = append(g.members, sub)
}

func (s *subscriptions) part(sub *subscription) {
	g := s.groups[sub.filter]
	g.members = slices.DeleteFunc(g.members, func(m *subscription) bool { return m == sub })
	if len(g.members) == 0 {
		s.tree.Remove(g.filter, g.entry)
		delete(s.groups, sub.filter)
	}
}

// remove ends the client's subscription for a filter and reports whether it
// had one.
func (s *subscriptions) remove(cl *client, filter string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := cl.subscribed(filter)
	if sub == nil {
		return false
	}
	s.drop(sub)
	cl.forget(sub)
	s.changed()
	return true
}

func (s *subscriptions) drop(sub *subscription) {
	s.count--
	if share, filter := topic.SplitShare(sub.filter); share != "" {
		s.part(sub)
	} else {
		s.tree.Remove(filter, sub)
	}
}

// removeAll ends all the client's subscriptions.
func (s *subscriptions) removeAll(cl *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range cl.subs {
		s.drop(sub)
	}
	cl.subs, cl.byFilter = nil, nil
	s.changed()
}

// manySubs is where a client's subscriptions get an index.
const manySubs = 8

func (cl *client) subscribed(filter string) *subscription {
	if cl.byFilter != nil {
		return cl.byFilter[filter]
	}
	for _, sub := range cl.subs {
		if sub.filter == filter {
			return sub
		}
	}
	return nil
}

func (cl *client) remember(sub *subscription) {
	if cl.subs == nil {
		cl.subs = make([]*subscription, 0, 1) // most devices have one
	}
	cl.subs = append(cl.subs, sub)
	if cl.byFilter == nil && len(cl.subs) > manySubs {
		cl.byFilter = make(map[string]*subscription)
		for _, sub := range cl.subs {
			cl.byFilter[sub.filter] = sub
		}
	}
	if cl.byFilter != nil {
		cl.byFilter[sub.filter] = sub
	}
}

func (cl *client) forget(sub *subscription) {
	delete(cl.byFilter, sub.filter)
	last := len(cl.subs) - 1
	i := slices.Index(cl.subs, sub)
	cl.subs[i], cl.subs[last] = cl.subs[last], nil
	cl.subs = cl.subs[:last]
}

// match returns the sessions that get messages with this topic, each once
// however many of its subscriptions match [MQTT-3.3.4-2], and the shared
// subscriptions. publisher's own No Local subscriptions do not count
// [MQTT-3.8.3-3].
func (s *subscriptions) match(name string, publisher *client) (targets []target, shares []share) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	found := s.tree.Match(name, nil)
	slices.SortFunc(found, func(a, b *subscription) int { return cmp.Compare(a.order(), b.order()) })
	for _, sub := range found {
		switch {
		case sub.group != nil:
			shares = append(shares, sub.group.share())
		case sub.noLocal && sub.client == publisher:
		default:
			targets = merge(targets, sub)
		}
	}
	return targets, shares
}

// share returns the members as they are now: routes outlive changes.
func (g *group) share() share {
	sh := share{next: &g.next, members: make([]target, len(g.members))}
	for i, m := range g.members {
		sh.members[i] = m.target()
	}
	return sh
}

// order brings the subscriptions of one client together.
func (sub *subscription) order() string {
	if sub.client == nil {
		return ""
	}
	return sub.client.id
}

// merge adds sub to the targets, or to the last one if it is the same
// client's: then the highest QoS counts, and every identifier is sent.
func merge(targets []target, sub *subscription) []target {
	if k := len(targets) - 1; k >= 0 && targets[k].client == sub.client {
		t := &targets[k]
		t.qos = max(t.qos, sub.qos)
		t.rap = t.rap || sub.rap
		if sub.id != 0 {
			t.ids = append(t.ids, sub.id)
		}
		return targets
	}
	return append(targets, sub.target())
}

func (sub *subscription) target() target {
	t := target{client: sub.client, qos: sub.qos, rap: sub.rap}
	if sub.id != 0 {
		t.ids = []uint32{sub.id}
	}
	return t
}
