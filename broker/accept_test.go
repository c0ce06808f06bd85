package broker_test

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/broker/packet"
)

// tired is a listener that fails a few times before each connection.
type tired struct {
	*pipes
	mu   sync.Mutex
	left int
}

func (l *tired) Accept() (net.Conn, error) {
	l.mu.Lock()
	fail := l.left > 0
	l.left--
	l.mu.Unlock()
	if fail {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return l.pipes.Accept()
}

// Running out of file descriptors ends nothing: the server waits a little longer
// each time, and says so once.
func TestTooManyFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		ln := &tired{pipes: newPipes(), left: 12}
		o := broker.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		h := &house{t: t, srv: broker.NewOn(o, ln, true), ln: ln.pipes, ended: make(chan struct{}), cancel: func() {}}
		start := time.Now()
		go func() {
			defer close(h.ended)
			_ = h.srv.Serve(t.Context())
		}()
		p := h.connect(packet.V311, "a")
		if got := time.Since(start); got < time.Second || got > 10*time.Second {
			t.Errorf("connected after %v, want seconds", got)
		}
		p.close()
		if n := strings.Count(log.String(), "cannot accept"); n != 1 {
			t.Errorf("said %d times:\n%s", n, &log)
		}
	})
}

// The end of Serve's context closes everything at once, also a pause between
// two tries to accept.
func TestServeTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, broker.Options{})
		synctest.Wait()
		if err := h.srv.Serve(t.Context()); err == nil {
			t.Error("a second Serve began")
		}
		h.stop()
	})
}

func TestNewErrors(t *testing.T) {
	for name, o := range map[string]broker.Options{
		"no users file":   {Auth: usersAt("/does/not/exist")},
		"no certificate":  {Listeners: []broker.ListenerConfig{{Bind: "127.0.0.1:0", TLS: &broker.TLSConfig{Cert: "/no", Key: "/no"}}}},
		"no such address": {Listeners: []broker.ListenerConfig{{Bind: "203.0.113.1:0"}}},
	} {
		if s, err := broker.New(o); err == nil {
			s.Close()
			t.Errorf("%s: no error", name)
		}
	}
}
