package broker

import (
	"errors"
	"sync"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/broker/session"
)

// A client is one session and, while there is one, the connection that serves
// it.
type client struct {
	id string

	mu sync.Mutex
	// mu guards session, conn and, of the connection, out and room.
	session session.Session
	conn    *conn // nil: not connected
	alarm   int64 // when somebody looks for late acknowledgements, Unix milliseconds; 0: nobody

	// outcome tells owedAcks what became of a message. It is made by the first
	// connection that needs it, and belongs to the read loop.
	outcome func(offset uint64, delivered bool)

	// The server's registry guards these.
	owner *conn  // the connection that has the session, until it let go of it
	epoch uint64 // grows with each owner: timers of an earlier one mean nothing
	will  *will  // waits for its delay

	// The subscriptions' mutex guards these.
	subs     []*subscription
	byFilter map[string]*subscription // beside subs when they are many
}

// queued is what waits in the session, in bytes.
func (cl *client) queued() int { return cl.session.Backlog() }

// A registry knows every session by its client identifier, and every
// connection.
type registry struct {
	mu       sync.Mutex
	byID     map[string]*client
	conns    map[*conn]struct{}
	stopping bool
}

func (r *registry) init() {
	r.byID = make(map[string]*client)
	r.conns = make(map[*conn]struct{})
}

func (r *registry) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.byID)
}

// enter notes a connection; it reports false once the server is stopping.
func (r *registry) enter(c *conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopping {
		r.conns[c] = struct{}{}
	}
	return !r.stopping
}

// exit forgets a connection that never had a client.
func (r *registry) exit(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

// leave lets no more connections in and returns those there are: the ones with
// a session, and the ones without.
func (r *registry) leave() (attached, others []*conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopping = true
	for c := range r.conns {
		if c.client != nil {
			attached = append(attached, c)
		} else {
			others = append(others, c)
		}
	}
	return attached, others
}

// claim gives the session of a client identifier to a connection: the one
// there is, or a new one. When another connection has it, that one is
// returned instead. open is false once the server is stopping. old is a session that gives way to a clean start.
func (r *registry) claim(c *conn, id string, clean bool) (cl, old *client, other *conn, open bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping {
		return nil, nil, nil, false
	}
	cl = r.byID[id]
	switch {
	case cl == nil:
	case cl.owner != nil:
		return nil, nil, cl.owner, true
	case clean:
		cl.epoch++
		old, cl = cl, nil
	}
	if cl == nil {
		cl = &client{id: id}
		r.byID[id] = cl
	}
	cl.owner = c
	cl.epoch++
	if old == nil {
		cl.will = nil // the client is back in time [MQTT-3.1.3-9]
	}
	c.client = cl
	return cl, old, nil, true
}

// release takes the session from its connection; keep says whether it lives
// on, then with a will that waits. It returns the epoch of that.
func (r *registry) release(c *conn, keep bool, w *will) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
	cl := c.client
	cl.owner, cl.will = nil, w
	if !keep {
		delete(r.byID, cl.id)
	}
	return cl.epoch
}

// expire ends a session whose time has come, unless it found a connection
// since. It returns the will that waited.
func (r *registry) expire(cl *client, epoch uint64) (w *will, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if cl.epoch != epoch || cl.owner != nil {
		return nil, false
	}
	cl.epoch++
	delete(r.byID, cl.id)
	w, cl.will = cl.will, nil
	return w, true
}

// takeWill returns the will whose delay has passed, unless the client came
// back since.
func (r *registry) takeWill(cl *client, epoch uint64) *will {
	r.mu.Lock()
	defer r.mu.Unlock()
	if cl.epoch != epoch || cl.owner != nil {
		return nil
	}
	w := cl.will
	cl.will = nil
	return w
}

// attach gives the connection its session and answers the CONNECT. A session
// that another connection has is taken over: that one is told, and waited for
// [MQTT-3.1.4-3].
func (s *Server) attach(c *conn, id string, p *packet.Connect, expiry uint32, limit int) error {
	var cl, old *client
	for {
		var other *conn
		var open bool
		cl, old, other, open = s.clients.claim(c, id, p.CleanStart)
		if !open {
			return errStopping
		}
		if other == nil {
			break
		}
		other.hangUp(packet.SessionTakenOver)
		<-other.ended
	}
	if old != nil {
		s.discard(old)
	}
	cl.mu.Lock()
	present := cl.session.Persistent() // a new one is not, yet
	cl.session.Expiry = expiry
	c.acceptConnect(p, id, present)
	cl.session.Open(limit, s.bounds)
	cl.session.Acks.Strict = c.door.strict
	cl.conn = c
	c.refill()
	cl.mu.Unlock()
	s.counts.connections.Add(1)
	return nil
}

// errStopping says that no more clients are let in.
var errStopping = errors.New("the server is stopping")

// detach lets go of the connection's session, publishes its will unless it has
// to wait, and wakes whoever wants to take the session over.
func (s *Server) detach(c *conn) {
	cl, w, t := c.client, c.will, now()
	cl.mu.Lock()
	cl.conn = nil
	ends := cl.session.Close(t, s.o.ReceiveMaximum)
	keep, expiry := cl.session.Persistent(), cl.session.Expiry
	c.discardOutput()
	cl.mu.Unlock()
	if w != nil && (!keep || w.delay == 0) {
		s.publishWill(cl, w, true)
		w = nil
	}
	if !keep {
		s.subs.removeAll(cl)
	}
	epoch := s.clients.release(c, keep, w)
	if w != nil && w.delay < expiry {
		s.timers.add(timer{at: t + 1000*int64(w.delay), client: cl, epoch: epoch})
	}
	if ends != 0 {
		s.timers.add(timer{at: ends, client: cl, epoch: epoch, kind: sessionEnds})
	}
	s.counts.connections.Add(-1)
	close(c.ended)
}

// discardOutput gives back what the connection did not write.
func (c *conn) discardOutput() {
	for _, ch := range c.out.chunks {
		c.srv.pool.put(ch)
	}
	c.out.chunks, c.out.bytes = nil, 0
	if c.out.drained != nil {
		close(c.out.drained)
		c.out.drained = nil
	}
}

// discard ends a session that no connection has. A will that waited is due
// with it [MQTT-3.1.3-9].
func (s *Server) discard(cl *client) {
	s.subs.removeAll(cl)
	cl.mu.Lock()
	cl.session = session.Session{}
	cl.mu.Unlock()
	if cl.will != nil { // nobody else knows the client any more
		s.publishWill(cl, cl.will, true)
	}
}
