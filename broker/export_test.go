package broker

import "net"

// NewOn returns a server that accepts from a listener the test has made, as if
// it were bound to a loopback address, or not.
func NewOn(o Options, ln net.Listener, anonymous bool) *Server {
	o.setDefaults()
	s := newServer(o, nil)
	s.listeners = append(s.listeners, newListener(ln, &door{anonymous: anonymous}))
	return s
}

func newListener(ln net.Listener, d *door) *listener {
	l := &listener{Listener: ln}
	l.door.Store(d)
	return l
}

// SetStrict makes clients that connect from now on get their acknowledgements
// in one order.
func (s *Server) SetStrict() {
	s.listeners[0].door.Store(&door{anonymous: true, strict: true})
}

// LimitRetained bounds what retained messages take, in bytes.
func (s *Server) LimitRetained(bytes int) {
	s.retained.mu.Lock()
	defer s.retained.mu.Unlock()
	s.retained.limit = bytes
}
