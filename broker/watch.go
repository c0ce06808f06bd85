package broker

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/broker/topic"
	"github.com/penstock/penstock/internal/message"
)

// watchers see what is published. There are none nearly always, and then they
// cost one atomic load for a burst.
type watchers struct {
	mu   sync.Mutex // of those who change the list
	list atomic.Pointer[[]*watcher]
}

type watcher struct {
	filter string
	queue  chan *message.Message
	done   chan struct{} // closed by cancel
}

// watchQueue is how many messages wait for a watcher: some tenths of a second
// of a busy server. What comes on top is counted and not seen (I6).
const watchQueue = 4096

// Watch calls see, on a goroutine of its own, with each message that clients
// publish from now on, and wills, and what Publish is given, whose topic the
// filter matches. Publishers never wait for it: what see is too slow for is
// counted in Stats.Unseen. A message that is not in the journal has no ID.
// cancel ends it and waits until see has returned; see must not call it.
func (s *Server) Watch(filter string, see func(m *message.Message)) (cancel func()) {
	w := &watcher{filter: filter, queue: make(chan *message.Message, watchQueue), done: make(chan struct{})}
	s.watchers.change(func(list []*watcher) []*watcher { return append(list, w) })
	var running sync.WaitGroup
	running.Go(func() { w.run(see) })
	return sync.OnceFunc(func() {
		s.watchers.change(func(list []*watcher) []*watcher {
			return slices.DeleteFunc(list, func(o *watcher) bool { return o == w })
		})
		close(w.done)
		running.Wait()
	})
}

func (w *watcher) run(see func(*message.Message)) {
	for {
		select {
		case m := <-w.queue:
			see(m)
		case <-w.done:
			return
		}
	}
}

// change replaces the list by one that edit makes of a copy.
func (ws *watchers) change(edit func([]*watcher) []*watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	var list []*watcher
	if old := ws.list.Load(); old != nil {
		list = slices.Clone(*old)
	}
	list = edit(list)
	if len(list) == 0 {
		ws.list.Store(nil)
		return
	}
	ws.list.Store(&list)
}

// show lets the watchers see what was accepted.
func (s *Server) show(b *burst, pubs []inPublish) {
	list := s.watchers.list.Load()
	if list == nil {
		return
	}
	for i := range pubs {
		if p := &pubs[i]; p.verdict == accepted {
			s.showOne(b, p, *list)
		}
	}
}

func (s *Server) showOne(b *burst, p *inPublish, list []*watcher) {
	var m *message.Message
	for _, w := range list {
		if !topic.Match(w.filter, p.route.topic) {
			continue
		}
		if len(w.queue) == cap(w.queue) { // before a copy is made
			s.counts.unseen.Add(1)
			continue
		}
		if m == nil {
			m = s.copyOf(b, p)
		}
		select {
		case w.queue <- m:
		default:
			s.counts.unseen.Add(1)
		}
	}
}

// copyOf returns a received PUBLISH as a message of its own.
func (s *Server) copyOf(b *burst, p *inPublish) *message.Message {
	m := &message.Message{
		Received: b.now, Client: b.client, User: b.user, Topic: p.route.topic,
		QoS: p.qos, Retain: p.retain, Payload: slices.Clone(p.raw[p.payload:]),
	}
	if id := s.origin.Load(); id != nil && p.offset != 0 {
		m.ID = message.ID{Journal: id.Journal, Epoch: id.Epoch, Offset: p.offset}
	}
	if b.family == 0 || p.props == p.payload {
		return m
	}
	n := len(b.users) // others' lie before
	b.viewProperties(m, p)
	b.users = b.users[:n]
	q := &m.Properties
	q.ContentType, q.ResponseTopic = strings.Clone(q.ContentType), strings.Clone(q.ResponseTopic)
	q.CorrelationData = slices.Clone(q.CorrelationData)
	users := make([]message.UserProperty, len(q.UserProperties))
	for i, u := range q.UserProperties {
		users[i] = message.UserProperty{Name: strings.Clone(u.Name), Value: strings.Clone(u.Value)}
	}
	q.UserProperties = users
	return m
}

// Publish passes a message to its subscribers, as if a client had published it,
// and keeps it as a retained message if it is one. It does not go into the
// journal, and no rule sees it. The error says that its topic is none that
// clients may publish to.
func (s *Server) Publish(m *message.Message) error {
	if err := topic.ValidName(m.Topic); err != nil {
		return err
	}
	b := s.pool.burst()
	defer s.pool.putBurst(b)
	b.from, b.client, b.user, b.family, b.now = nil, m.Client, m.User, 1, now()
	in := b.view(encodeMessage(m))
	in.route = s.subscribersOf(m.Topic, nil)
	if in.route.refused {
		return &packet.Error{Reason: packet.NotAuthorized, Detail: "topics that begin with $SYS are the server's"}
	}
	b.pubs = append(b.pubs, in)
	s.spread(b)
	b.reset()
	return nil
}

// encodeMessage writes a message as a 5.0 PUBLISH.
func encodeMessage(m *message.Message) []byte {
	p := packet.Publish{QoS: m.QoS, Retain: m.Retain, Topic: []byte(m.Topic), Payload: m.Payload}
	if m.QoS > 0 {
		p.ID = 1
	}
	from, to := &m.Properties, &p.Properties
	to.PayloadFormat, to.MessageExpiry = from.PayloadFormat, from.MessageExpiry
	to.ContentType, to.ResponseTopic = []byte(from.ContentType), []byte(from.ResponseTopic)
	to.CorrelationData = from.CorrelationData
	for _, u := range from.UserProperties {
		to.User = packet.AppendUser(to.User, u.Name, u.Value)
	}
	for _, has := range []struct {
		present bool
		set     packet.PropertySet
	}{
		{from.HasPayloadFormat, packet.PropPayloadFormat},
		{from.HasMessageExpiry, packet.PropMessageExpiry},
		{from.ContentType != "", packet.PropContentType},
		{from.ResponseTopic != "", packet.PropResponseTopic},
		{from.CorrelationData != nil, packet.PropCorrelationData},
		{len(from.UserProperties) > 0, packet.PropUser},
	} {
		if has.present {
			to.Add(has.set)
		}
	}
	return p.AppendTo(nil, packet.V5)
}
