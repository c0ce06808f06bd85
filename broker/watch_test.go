package broker_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/internal/message"
)

// seen collects what a watcher sees.
type seen struct {
	mu    sync.Mutex
	texts []string
}

func (s *seen) see(m *message.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts = append(s.texts, fmt.Sprintf("%s %s q%d %s %v %s", m.Client, m.Topic, m.QoS, m.Payload, m.Properties.UserProperties, m.ID))
}

func (s *seen) want(h *house, texts ...string) {
	h.t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if diff := cmp.Diff(texts, s.texts); diff != "" {
		h.t.Errorf("seen (-want +got):\n%s", diff)
	}
	s.texts = nil
}

const noID = "0000000000000-0-0"

func TestWatch(t *testing.T) {
	play(t, []conversation{
		{"what is published is seen", watched},
		{"what a watcher is too slow for is counted", watchedSlowly},
		{"what is refused is not seen", watchedRefused},
	})
}

func watched(h *house, l *fakeLog) {
	var all, some seen
	stop := h.srv.Watch("#", all.see)
	defer h.srv.Watch("s/+", some.see)()
	p := h.connect(packet.V5, "p", withWill("bye", "gone", 0))
	p.send(pub("s/1", 1, 1, "x", func(m *packet.Publish) {
		m.Properties.User = packet.AppendUser(nil, "k", "v")
		m.Properties.Add(packet.PropUser)
	}), pub("t", 0, 0, "y"))
	all.want(h, "p s/1 q1 x [{k v}] 2000000000000-1-1", "p t q0 y [] "+noID)
	some.want(h, "p s/1 q1 x [{k v}] 2000000000000-1-1")
	p.close()
	all.want(h, "p bye q1 gone [] "+noID)
	if err := h.srv.Publish(&message.Message{Client: "c", Topic: "own", Payload: []byte("z")}); err != nil {
		h.t.Error(err)
	}
	all.want(h, "c own q0 z [] "+noID)
	stop()
	stop()
	h.connect(packet.V311, "q").send(pub("s/2", 0, 0, "y"))
	some.want(h, "q s/2 q0 y [] 2000000000000-1-2")
	all.want(h)
}

func watchedSlowly(h *house, _ *fakeLog) {
	hold := make(chan struct{})
	stop := h.srv.Watch("t", func(*message.Message) { <-hold })
	p := h.connect(packet.V311, "p")
	const n = 5000
	for range n {
		p.send(pub("t", 0, 0, "x"))
	}
	p.send(&packet.Pingreq{})
	p.want("PINGRESP") // nobody waited
	if got := h.srv.Stats().Unseen; got != n-4096-1 {
		h.t.Errorf("%d unseen, want %d", got, n-4096-1)
	}
	close(hold)
	stop()
}

func watchedRefused(h *house, l *fakeLog) {
	var all seen
	defer h.srv.Watch("#", all.see)()
	l.fill("s")
	p := h.connect(packet.V5, "p")
	p.send(pub("s/1", 1, 1, "x"), pub("$SYS/x", 1, 2, "x"), pub("t", 1, 3, "x"))
	all.want(h, "p t q1 x [] "+noID)
}

// What the server publishes itself reaches whoever has subscribed, and no rule.
func TestPublish(t *testing.T) {
	play(t, []conversation{{"to subscribers", func(h *house, l *fakeLog) {
		s5, s3 := h.connect(packet.V5, "s5"), h.connect(packet.V311, "s3")
		s5.subscribe("#", 2)
		s3.subscribe("s/+", 1)
		m := &message.Message{
			Topic: "s/1", QoS: 2, Retain: true, Payload: []byte("x"),
			Properties: message.Properties{
				HasMessageExpiry: true, MessageExpiry: 9,
				UserProperties: []message.UserProperty{{Name: "k", Value: "v"}},
			},
		}
		if err := h.srv.Publish(m); err != nil {
			h.t.Error(err)
		}
		s5.want(`PUBLISH s/1 q2 id=1 expiry=9 k=v "x"`)
		s3.want(`PUBLISH s/1 q1 id=1 "x"`)
		late := h.connect(packet.V311, "late")
		late.subscribe("s/1", 0)
		late.want(`PUBLISH s/1 q0 retain "x"`)
		l.want(h)
		for _, name := range []string{"", "a/+", "$SYS/x"} {
			if err := h.srv.Publish(&message.Message{Topic: name}); err == nil {
				h.t.Errorf("published to %q", name)
			}
		}
	}}})
}
