package broker_test

import (
	"fmt"
	"sync"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/broker/topic"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// fakeLog is a journal whose watermark and room the test moves.
type fakeLog struct {
	mu     sync.Mutex
	got    []string // entries as text
	calls  int
	next   uint64
	mark   uint64
	left   int // entries there is room for; below 0: any number
	room   chan struct{}
	notify []func(uint64)
}

func newFakeLog() *fakeLog { return &fakeLog{next: 1, left: -1, room: make(chan struct{})} }

func (l *fakeLog) Append(entries []journal.Entry) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	if l.left >= 0 {
		if len(entries) > l.left {
			return 0, fmt.Errorf("append: %w", journal.ErrFull)
		}
		l.left -= len(entries)
	}
	first := l.next
	for _, e := range entries {
		m := e.Message
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

// fakeIntake wants s/# stored (rule 1) and r/# received (rule 2).
type fakeIntake struct{}

func (fakeIntake) Want(name string, dst []uint32) ([]uint32, message.Ack) {
	switch {
	case topic.Match("s/#", name):
		return append(dst, 1), message.Ack{Level: message.AckStored}
	case topic.Match("r/#", name):
		return append(dst, 2), message.Ack{}
	}
	return dst, message.Ack{}
}

func (l *fakeLog) want(h *house, texts ...string) {
	h.t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(texts, l.entries()); diff != "" {
		h.t.Errorf("journal (-want +got):\n%s", diff)
	}
}
