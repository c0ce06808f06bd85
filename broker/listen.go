package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/broker/auth"
	"github.com/penstock/penstock/broker/packet"
)

// A listener is a bound socket and its door.
type listener struct {
	net.Listener
	bind string
	door atomic.Pointer[door]
}

// A door is what the clients of a listener have to show, and how they are
// served. It never changes; Reload hangs a new one, and clients that are in
// keep theirs.
type door struct {
	tls          *tls.Config // nil: plain TCP
	usernameFrom string      // cn, san or ""
	anonymous    bool        // clients without a user name are admitted
	strict       bool        // one order for all acknowledgements
}

func listen(c ListenerConfig, a auth.Config) (*listener, error) {
	d, err := newDoor(c)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", c.Bind)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", c.Bind, err)
	}
	l := &listener{Listener: ln, bind: c.Bind}
	d.anonymous = l.admitAnonymous(a)
	l.door.Store(d)
	return l, nil
}

func newDoor(c ListenerConfig) (*door, error) {
	d := &door{strict: c.AckOrder == "strict"}
	if c.TLS == nil {
		return d, nil
	}
	t, err := c.TLS.load()
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", c.Bind, err)
	}
	d.tls, d.usernameFrom = t, c.TLS.UsernameFrom
	return d, nil
}

func (l *listener) admitAnonymous(a auth.Config) bool {
	addr, ok := l.Addr().(*net.TCPAddr)
	return a.AdmitAnonymous(ok && addr.IP.IsLoopback())
}

func (t *TLSConfig) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	c := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
	}
	if t.ClientCA != "" {
		if c.ClientCAs, err = loadPool(t.ClientCA); err != nil {
			return nil, fmt.Errorf("load client_ca: %w", err)
		}
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c, nil
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		_ = l.Close() // a second close changes nothing
	}
}

// Pauses of the accept loop while the system gives no sockets out.
const (
	shortPause = 5 * time.Millisecond
	longPause  = time.Second
)

// acceptLoop accepts until the listener is closed. Errors such as too many
// open files pass: it waits a little longer each time and logs a cause once.
func (s *Server) acceptLoop(ctx context.Context, l *listener) {
	pause, last := shortPause, ""
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause, last = shortPause, ""
			s.start(ctx, nc, l)
			continue
		case errors.Is(err, net.ErrClosed):
			return
		}
		if text := err.Error(); text != last {
			s.o.Logger.Warn("cannot accept a connection", slog.String("listener", l.Addr().String()), slog.Any("err", err))
			last = text
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, longPause)
	}
}

// start begins to serve a connection on a goroutine of its own.
func (s *Server) start(ctx context.Context, nc net.Conn, l *listener) {
	d := l.door.Load()
	if d.tls != nil {
		nc = tls.Server(nc, d.tls)
	}
	c := newConn(s, nc, d)
	if !s.clients.enter(c) { // the server is stopping
		_ = nc.Close()
		return
	}
	s.conns.Add(1)
	go c.run(ctx)
}

// stopGrace is how long connections may take to write out their last packets.
const stopGrace = time.Second

// stop closes the listeners, tells every client, and waits for the connections
// to end.
func (s *Server) stop(accepting *sync.WaitGroup) {
	s.closeListeners()
	accepting.Wait()
	attached, others := s.clients.leave()
	for _, c := range others {
		_ = c.nc.Close() // wakes whoever reads there
	}
	for _, c := range attached {
		c.hangUp(packet.ServerShuttingDown)
	}
	s.conns.Wait()
}

// handshake completes TLS, so that the certificate is known.
func (c *conn) handshake(ctx context.Context) error {
	t, ok := c.nc.(*tls.Conn)
	if !ok {
		return nil
	}
	if err := t.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("shake hands: %w", err)
	}
	return nil
}

// certificateUser returns the user name that the client's certificate stands
// for.
func (c *conn) certificateUser() (string, error) {
	t, ok := c.nc.(*tls.Conn)
	if !ok {
		return "", errors.New("there is no client certificate")
	}
	peers := t.ConnectionState().PeerCertificates
	if len(peers) == 0 {
		return "", errors.New("there is no client certificate")
	}
	cert, name := peers[0], ""
	switch {
	case c.door.usernameFrom == "cn":
		name = cert.Subject.CommonName
	case len(cert.DNSNames) > 0:
		name = cert.DNSNames[0]
	case len(cert.EmailAddresses) > 0:
		name = cert.EmailAddresses[0]
	case len(cert.URIs) > 0:
		name = cert.URIs[0].String()
	}
	if name == "" {
		return "", fmt.Errorf("the client certificate has no %s", c.door.usernameFrom)
	}
	return name, nil
}
