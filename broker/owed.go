package broker

import "sync"

// owedAcks are the connections with acknowledgements that wait for the journal,
// and the outcomes of messages that wait for delivery. One goroutine serves
// them all: there is none per message.
type owedAcks struct {
	mu    sync.Mutex
	conns []*conn // guarded by mu, as is all below
	spare []*conn
	// outcomes are at most as many as acknowledgements wait.
	outcomes      []outcome
	spareOutcomes []outcome
	wake          chan struct{} // capacity 1: one advance of the watermark stands for several
}

// An outcome is what became of a message that a client waits for.
type outcome struct {
	client    *client
	offset    uint64
	delivered bool
}

func (o *owedAcks) init() { o.wake = make(chan struct{}, 1) }

// stored is called by the journal when the watermark has advanced.
func (o *owedAcks) stored(uint64) {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// resolve is called, often by a lane, when the outcome of a message is known. It
// takes no lock of a client, so that no client holds up a lane (I7).
func (o *owedAcks) resolve(cl *client, offset uint64, delivered bool) {
	o.mu.Lock()
	o.outcomes = append(o.outcomes, outcome{cl, offset, delivered})
	first := len(o.outcomes) == 1
	o.mu.Unlock()
	if first {
		o.stored(offset)
	}
}

// add puts a connection into the list.
func (o *owedAcks) add(c *conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !c.owes {
		c.owes = true
		o.conns = append(o.conns, c)
	}
}

// take empties the list.
func (o *owedAcks) take() []*conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.conns {
		c.owes = false
	}
	taken := o.conns
	o.conns, o.spare = o.spare[:0], taken
	return taken
}

// takeOutcomes takes what is known since the last time.
func (o *owedAcks) takeOutcomes() []outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	taken := o.outcomes
	o.outcomes, o.spareOutcomes = o.spareOutcomes[:0], taken
	return taken
}

// releaseLoop sends the acknowledgements that the journal and the lanes have
// made due, until the server ends.
func (s *Server) releaseLoop() {
	for {
		select {
		case <-s.owed.wake:
		case <-s.quit:
			return
		}
		s.settleOutcomes(s.owed.takeOutcomes())
		taken := s.owed.take()
		for i, c := range taken {
			if c.release() {
				s.owed.add(c)
			}
			taken[i] = nil
		}
	}
}

// settleOutcomes notes outcomes in their clients' sessions, and has the
// connections looked at.
func (s *Server) settleOutcomes(outcomes []outcome) {
	for i, o := range outcomes {
		cl := o.client
		cl.mu.Lock()
		cl.session.Resolve(o.offset, o.delivered)
		c := cl.conn
		cl.mu.Unlock()
		if c != nil {
			s.owed.add(c)
		}
		outcomes[i] = outcome{}
	}
}

// release sends what is due and reports whether more waits for the journal.
func (c *conn) release() bool {
	stored := c.srv.stored()
	cl := c.client
	cl.mu.Lock()
	if cl.conn != c {
		cl.mu.Unlock()
		return false
	}
	c.sendDue(stored)
	c.setAlarm(stored)
	more := cl.session.Acks.AwaitsStored(stored)
	start := c.claim()
	cl.mu.Unlock()
	if start {
		c.startWriter()
	}
	return more
}

// setAlarm sees to it that somebody looks when an acknowledgement is due
// although the outcome is not known. The client's mutex is held.
func (c *conn) setAlarm(stored uint64) {
	cl := c.client
	at := cl.session.Acks.Deadline(stored)
	if at == 0 || cl.alarm != 0 && cl.alarm <= at {
		return
	}
	cl.alarm = at
	c.srv.timers.add(timer{at: at, client: cl, kind: acksDue})
}

// ring is the alarm: it sends what is late, and sets the next one.
func (s *Server) ring(cl *client, at int64) {
	cl.mu.Lock()
	if cl.alarm == at {
		cl.alarm = 0
	}
	c := cl.conn
	if c == nil {
		cl.mu.Unlock()
		return
	}
	stored := s.stored()
	c.sendDue(stored)
	c.setAlarm(stored)
	start := c.claim()
	cl.mu.Unlock()
	if start {
		c.startWriter()
	}
}
