package broker

import "net"

// NewOn returns a server that accepts from a listener the test has made, as if
// it were bound to a loopback address, or not.
func NewOn(o Options, ln net.Listener, anonymous bool) *Server {
	o.setDefaults()
	s := newServer(o, nil)
	s.listeners = append(s.listeners, &listener{Listener: ln, anonymous: anonymous})
	return s
}

// LimitRetained bounds what retained messages take, in bytes.
func (s *Server) LimitRetained(bytes int) {
	s.retained.mu.Lock()
	defer s.retained.mu.Unlock()
	s.retained.limit = bytes
}
