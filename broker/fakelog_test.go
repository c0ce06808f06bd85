package broker_test

import (
	"fmt"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/broker/topic"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// fakeLog is an intake whose watermark, room and outcomes the test moves. It
// wants s/# stored (rule 1), r/# received (rule 2), d/# delivered (rule 3), w/#
// delivered within 5 s (rule 4), and records rec/#.
type fakeLog struct {
	gen uint64
	// swapNext has the rules change just before the next Append.
	swapNext bool
	off      map[string]bool // lanes that are full, by the first level of their topics
	lane     chan struct{}   // closed when they are not
	waiting  map[uint64][]func(uint64, bool)
	mu       sync.Mutex
	got      []string // entries as text
	calls    int
	next     uint64
	mark     uint64
	left     int // entries there is room for; below 0: any number
	room     chan struct{}
	notify   []func(uint64)
}

func newFakeLog() *fakeLog {
	return &fakeLog{next: 1, left: -1, room: make(chan struct{}), lane: make(chan struct{}), off: map[string]bool{}, waiting: map[uint64][]func(uint64, bool){}}
}

func (l *fakeLog) Append(entries []journal.Entry, generation uint64) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.swapNext {
		l.gen, l.swapNext = l.gen+1, false
	}
	if generation != l.gen {
		return 0, journal.ErrStale
	}
	l.calls++
	for _, e := range entries {
		if first, _, _ := strings.Cut(e.Message.Topic, "/"); l.off[first] {
			return 0, &journal.FullError{Lane: first, Room: l.lane}
		}
	}
	if l.left >= 0 {
		if len(entries) > l.left {
			return 0, fmt.Errorf("append: %w", journal.ErrFull)
		}
		l.left -= len(entries)
	}
	first := l.next
	for _, e := range entries {
		m := e.Message
		m.ID = message.ID{Journal: 1 << 60, Epoch: 1, Offset: l.next}
		text := fmt.Sprintf("%d %s q%d %s %s %v", l.next, m.Client, m.QoS, m.Topic, m.Payload, e.Rules)
		if e.PacketID != 0 {
			text += fmt.Sprintf(" id=%d", e.PacketID)
		}
		if e.NoWait {
			text += " nowait"
		}
		if m.Retain {
			text += " retain"
		}
		if p := &m.Properties; !p.IsZero() {
			text += fmt.Sprintf(" %s %s %s %d %v", p.ContentType, p.ResponseTopic, p.CorrelationData, p.MessageExpiry, p.UserProperties)
		}
		l.got = append(l.got, text)
		l.next++
	}
	return first, nil
}

func (l *fakeLog) Stored() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mark
}

func (l *fakeLog) NotifyStored(f func(uint64)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notify = append(l.notify, f)
}

func (l *fakeLog) Room() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.room
}

// store moves the watermark.
func (l *fakeLog) store(offset uint64) {
	l.mu.Lock()
	l.mark = offset
	notify := l.notify
	l.mu.Unlock()
	for _, f := range notify {
		f(offset)
	}
}

// allow gives room for n entries, and for any number when n is below 0.
func (l *fakeLog) allow(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = n
	close(l.room)
	l.room = make(chan struct{})
}

func (l *fakeLog) entries() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.got
	l.got = nil
	return got
}

func (l *fakeLog) Want(name string, dst []uint32) (rules []uint32, ack message.Ack, record bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.gen > 0 && topic.Match("s/#", name):
		return append(dst, 10), message.Ack{Level: message.AckStored}, false
	case topic.Match("s/#", name):
		return append(dst, 1), message.Ack{Level: message.AckStored}, false
	case topic.Match("r/#", name):
		return append(dst, 2), message.Ack{}, false
	case topic.Match("d/#", name):
		return append(dst, 3), message.Ack{Level: message.AckDelivered}, false
	case topic.Match("w/#", name):
		return append(dst, 4), message.Ack{Level: message.AckDelivered, Within: 5 * time.Second}, false
	case topic.Match("rec/#", name):
		return dst, message.Ack{Level: message.AckStored}, true
	}
	return dst, message.Ack{}, false
}

func (l *fakeLog) Generation() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gen
}

// swap makes rule 10 of rule 1.
func (l *fakeLog) swap() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gen++
}

func (l *fakeLog) Await(offset uint64, _ []uint32, done func(uint64, bool)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting[offset] = append(l.waiting[offset], done)
}

// deliver says what became of the message at an offset. It was asked for once.
func (l *fakeLog) deliver(h *house, offset uint64, delivered bool) {
	h.t.Helper()
	synctest.Wait()
	l.mu.Lock()
	waiting := l.waiting[offset]
	delete(l.waiting, offset)
	l.mu.Unlock()
	if len(waiting) != 1 {
		h.t.Fatalf("offset %d is awaited %d times, want once", offset, len(waiting))
	}
	waiting[0](offset, delivered)
}

// deliverAll says what became of all that is awaited.
func (l *fakeLog) deliverAll(delivered bool) {
	l.mu.Lock()
	waiting := l.waiting
	l.waiting = map[uint64][]func(uint64, bool){}
	l.mu.Unlock()
	for offset, all := range waiting {
		for _, done := range all {
			done(offset, delivered)
		}
	}
}

// fill makes the lane of a topic's first level full, drain makes it not so.
func (l *fakeLog) fill(first string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.off[first] = true
}

func (l *fakeLog) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.off)
	close(l.lane)
	l.lane = make(chan struct{})
}

func (l *fakeLog) want(h *house, texts ...string) {
	h.t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(texts, l.entries()); diff != "" {
		h.t.Errorf("journal (-want +got):\n%s", diff)
	}
}
