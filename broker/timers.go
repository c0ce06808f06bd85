package broker

import (
	"container/heap"
	"sync"
	"time"
)

// A timer is the end of a session, or of a will's delay, after the connection
// has ended. It means nothing when the client has been back: then the epoch
// has moved on. Or it is the end of the time after which a publisher is told
// that its message is not delivered yet (C13).
type timer struct {
	at     int64 // Unix milliseconds
	client *client
	epoch  uint64
	kind   timerKind
}

type timerKind uint8

const (
	willDue timerKind = iota
	sessionEnds
	acksDue
)

// timers run on one goroutine for all clients.
type timers struct {
	mu   sync.Mutex
	heap timerHeap
	wake chan struct{} // capacity 1: the first timer has changed
}

func (t *timers) init() { t.wake = make(chan struct{}, 1) }

// add sets a timer.
func (t *timers) add(x timer) {
	t.mu.Lock()
	heap.Push(&t.heap, x)
	first := t.heap[0] == x
	t.mu.Unlock()
	if !first {
		return
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// due takes the first timer if its time has come, else it returns how long that
// will take.
func (t *timers) due(now int64) (x timer, ok bool, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.heap) == 0 {
		return timer{}, false, time.Hour
	}
	if left := t.heap[0].at - now; left > 0 {
		return timer{}, false, time.Duration(left) * time.Millisecond
	}
	x = t.heap[0]
	heap.Pop(&t.heap)
	return x, true, 0
}

// timerLoop does what is due until the server ends.
func (s *Server) timerLoop() {
	for {
		x, ok, wait := s.timers.due(now())
		if ok {
			s.fire(x)
			continue
		}
		sleep := time.NewTimer(wait)
		select {
		case <-sleep.C:
		case <-s.timers.wake:
		case <-s.quit:
			sleep.Stop()
			return
		}
		sleep.Stop()
	}
}

func (s *Server) fire(x timer) {
	switch x.kind {
	case acksDue:
		s.ring(x.client, x.at)
		return
	case willDue:
		if w := s.clients.takeWill(x.client, x.epoch); w != nil {
			s.publishWill(x.client, w, false)
		}
		return
	case sessionEnds:
	}
	w, ok := s.clients.expire(x.client, x.epoch)
	if !ok {
		return
	}
	x.client.will = w
	s.discard(x.client)
}

// timerHeap is a container/heap by time.
type timerHeap []timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h timerHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for container/heap.
func (h *timerHeap) Push(x any) {
	t, ok := x.(timer)
	if !ok {
		panic("BUG: not a timer")
	}
	*h = append(*h, t)
}

// Pop is for container/heap.
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = timer{}
	*h = (*h)[:last]
	return x
}
