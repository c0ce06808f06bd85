package broker

import "sync/atomic"

// Stats is a snapshot of what the server counts. Counters grow from its start.
type Stats struct {
	Connections   int // clients connected now
	Sessions      int // sessions known, connected or not
	Subscriptions int
	Retained      int

	MessagesIn  [3]uint64 // PUBLISH packets received, by QoS
	MessagesOut [3]uint64 // PUBLISH packets handed to connections, by QoS
	Journaled   uint64    // messages appended to the journal

	// Acknowledgements of messages that a rule wants delivered (C13).
	Late      uint64 // 5.0, QoS 1: told that it is stored, and not delivered in the time it gave
	Failed    uint64 // 5.0, QoS 1: told that a required output did not take it
	Concealed uint64 // the same where nothing can say so: 3.x and QoS 2 got a plain one

	Unseen uint64 // messages that a watcher was too slow for

	// Dropped counts the messages that did not reach a session, or the journal,
	// by reason (I6).
	Dropped map[string]uint64
}

// dropReason says why a message was dropped.
type dropReason int

const (
	dropQueueFull  dropReason = iota // the session's queue is full
	dropSlow                         // QoS 0 to a subscriber that does not read
	dropOffline                      // QoS 0 to a session without a connection
	dropExpired                      // Message Expiry Interval
	dropTooLarge                     // above the subscriber's Maximum Packet Size
	dropJournal                      // the journal is full
	dropLane                         // a lane's share of it is full
	dropRefused                      // published to a topic clients may not publish to
	dropRetained                     // there is no room for another retained message
	dropRecipients                   // a shared subscription without a member
	dropReasons
)

func (r dropReason) String() string {
	return [...]string{
		"queue_full", "slow_subscriber", "offline", "expired", "too_large",
		"journal_full", "lane_full", "refused", "retained_full", "no_member",
	}[r]
}

// counters are grown by whole bursts: one atomic addition for many messages.
type counters struct {
	connections atomic.Int64
	in, out     [3]atomic.Uint64
	journaled   atomic.Uint64
	late        atomic.Uint64
	failed      atomic.Uint64
	concealed   atomic.Uint64
	unseen      atomic.Uint64
	dropped     [dropReasons]atomic.Uint64
}

func (c *counters) drop(r dropReason, n int) {
	if n > 0 {
		c.dropped[r].Add(uint64(n))
	}
}

// sent counts messages handed to connections.
func (c *counters) sent(n *[3]int) {
	for q, k := range n {
		if k > 0 {
			c.out[q].Add(uint64(k))
			n[q] = 0
		}
	}
}

// Stats returns a snapshot of the server's counters.
func (s *Server) Stats() Stats {
	st := Stats{
		Connections:   int(s.counts.connections.Load()),
		Sessions:      s.clients.len(),
		Subscriptions: s.subs.len(),
		Retained:      s.retained.len(),
		Journaled:     s.counts.journaled.Load(),
		Late:          s.counts.late.Load(),
		Failed:        s.counts.failed.Load(),
		Concealed:     s.counts.concealed.Load(),
		Unseen:        s.counts.unseen.Load(),
		Dropped:       make(map[string]uint64),
	}
	for q := range 3 {
		st.MessagesIn[q] = s.counts.in[q].Load()
		st.MessagesOut[q] = s.counts.out[q].Load()
	}
	for r := range dropReasons {
		if n := s.counts.dropped[r].Load(); n > 0 {
			st.Dropped[r.String()] = n
		}
	}
	return st
}
