package broker

import (
	"fmt"

	"github.com/penstock/penstock/broker/auth"
)

// A Change is what a reload is going to put in the place of the users, the
// passwords and the certificates in force.
type Change struct {
	server *Server
	auth   *auth.Authenticator
	doors  []*door // of the listeners, in their order
}

// Prepare reads the users file and the listeners' certificates, without
// changing anything. The listeners are the ones the server has, at the same
// addresses, in the same order: sockets are bound at the start.
func (s *Server) Prepare(a auth.Config, listeners []ListenerConfig) (*Change, error) {
	if len(listeners) != len(s.listeners) {
		return nil, fmt.Errorf("reload listeners: %d are open and %d configured: sockets are opened and closed by a restart", len(s.listeners), len(listeners))
	}
	c := &Change{server: s}
	for i := range listeners {
		l := s.listeners[i]
		if listeners[i].Bind != l.bind {
			return nil, fmt.Errorf("reload listeners: %s is open where %s is configured: sockets are opened and closed by a restart", l.bind, listeners[i].Bind)
		}
		d, err := newDoor(listeners[i])
		if err != nil {
			return nil, err
		}
		d.anonymous = l.admitAnonymous(a)
		c.doors = append(c.doors, d)
	}
	var err error
	if c.auth, err = auth.Open(a); err != nil {
		return nil, err
	}
	return c, nil
}

// Apply makes the change. Connections go on as they are; whoever connects from
// now on meets the new users and certificates.
func (c *Change) Apply() {
	s := c.server
	s.reload.Lock()
	defer s.reload.Unlock()
	s.auth.Store(c.auth)
	for i, l := range s.listeners {
		l.door.Store(c.doors[i])
	}
}

// Reload is Prepare and Apply: after an error all is as it was.
func (s *Server) Reload(a auth.Config, listeners []ListenerConfig) error {
	c, err := s.Prepare(a, listeners)
	if err != nil {
		return err
	}
	c.Apply()
	return nil
}
