package broker

import (
	"sync"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/broker/session"
)

// owedAcks are the connections with acknowledgements that wait for the journal.
// One goroutine serves them all: there is none per message.
type owedAcks struct {
	mu    sync.Mutex
	conns []*conn
	spare []*conn
	wake  chan struct{} // capacity 1: one advance of the watermark stands for several
}

func (o *owedAcks) init() { o.wake = make(chan struct{}, 1) }

// stored is called by the journal when the watermark has advanced.
func (o *owedAcks) stored(uint64) {
	select {
	case o.wake <- struct{}{}:
	default:
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

// releaseLoop sends the acknowledgements that the journal has made due, until
// the server ends.
func (s *Server) releaseLoop() {
	for {
		select {
		case <-s.owed.wake:
		case <-s.quit:
			return
		}
		taken := s.owed.take()
		for i, c := range taken {
			if c.release() {
				s.owed.add(c)
			}
			taken[i] = nil
		}
	}
}

// release sends what is due and reports whether more waits.
func (c *conn) release() bool {
	stored := c.srv.o.Log.Stored()
	cl := c.client
	cl.mu.Lock()
	if cl.conn != c {
		cl.mu.Unlock()
		return false
	}
	c.sendDue(stored)
	more := cl.session.Acks.Len() > 0
	start := c.claim()
	cl.mu.Unlock()
	if start {
		c.startWriter()
	}
	return more
}

// sendDue sends the acknowledgements up to the watermark. The client's mutex is
// held.
func (c *conn) sendDue(stored uint64) {
	acks := &c.client.session.Acks
	for a, ok := acks.Pop(stored); ok; a, ok = acks.Pop(stored) {
		c.sendAck(a)
	}
	if c.room != nil && acks.Len() < c.srv.o.ReceiveMaximum {
		close(c.room)
		c.room = nil
	}
}

func (c *conn) sendAck(a session.Ack) {
	switch a.Kind {
	case session.PubAck:
		c.ack(packet.TypePuback, a.ID, packet.Success)
	case session.PubRec:
		c.ack(packet.TypePubrec, a.ID, packet.Success)
	case session.PubComp:
		c.client.session.Inbound.Release(a.ID)
		c.ack(packet.TypePubcomp, a.ID, packet.Success)
	}
}
