package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// SocketName is the socket's name in the journal's folder.
const SocketName = "admin.sock"

// maxSocket is the longest path a unix socket may have: what sun_path holds
// on Linux, without the zero at its end.
const maxSocket = 107

// stopTime is how long requests may go on when the server stops.
const stopTime = 2 * time.Second

// Options is what Listen needs.
type Options struct {
	Socket string // path of the unix socket
	Bind   string // TCP address, "" for none
	Token  string // of commands over TCP, "" for no commands there

	Health   func() Health
	Commands map[string]Command // by name, such as "dlq/ls"
	Metrics  prometheus.Gatherer
	Log      *slog.Logger
}

// A Server answers on its sockets.
type Server struct {
	log      *slog.Logger
	socket   string
	servers  []*http.Server
	listened []net.Listener
}

// Listen takes the sockets. A socket file that a process left behind is
// replaced; the journal's lock, which the caller holds, says that nobody
// listens on it.
func Listen(o Options) (*Server, error) {
	s := &Server{log: o.Log, socket: o.Socket}
	if len(o.Socket) > maxSocket {
		return nil, fmt.Errorf("the path of the admin socket is %d bytes long, the system allows %d: %s; set admin: {socket: PATH} to a shorter one",
			len(o.Socket), maxSocket, o.Socket)
	}
	if err := s.listenUnix(o); err != nil {
		return nil, err
	}
	if o.Bind == "" {
		return s, nil
	}
	if err := s.listenTCP(o); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *Server) listenUnix(o Options) error {
	if err := os.Remove(o.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("replace admin socket: %w", err)
	}
	l, err := listenPrivate(o.Socket)
	if err != nil {
		return fmt.Errorf("listen on admin socket: %w", err)
	}
	s.add(l, newHandler(o, o.Commands, ""))
	return nil
}

// listenPrivate makes the socket under a name of its own in a folder of its
// own, narrows it down to its owner and only then gives it its name: there is
// no moment at which others could open it.
func listenPrivate(path string) (net.Listener, error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	own := filepath.Join(dir, "s")
	if len(own) > maxSocket { // a folder with a long name: the journal's folder is private itself
		own = path
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: own, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(own, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if own == path {
		return l, nil
	}
	if err := os.Rename(own, path); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (s *Server) listenTCP(o Options) error {
	l, err := net.Listen("tcp", o.Bind)
	if err != nil {
		return fmt.Errorf("listen on admin address: %w", err)
	}
	commands := o.Commands
	if o.Token == "" {
		commands = nil
	}
	s.add(l, newHandler(o, commands, o.Token))
	return nil
}

// readTime is how long a client may take to send a request's head.
const readTime = 10 * time.Second

func (s *Server) add(l net.Listener, h http.Handler) {
	s.listened = append(s.listened, l)
	s.servers = append(s.servers, &http.Server{
		Handler: h, ReadHeaderTimeout: readTime, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	})
}

// Addr returns the address of the TCP listener, nil when there is none.
func (s *Server) Addr() net.Addr {
	if len(s.listened) < 2 {
		return nil
	}
	return s.listened[1].Addr()
}

// Serve answers until ctx ends; requests have stopTime to end then.
func (s *Server) Serve(ctx context.Context) {
	done := make(chan struct{}, len(s.servers)) // one each
	for i, server := range s.servers {
		server.BaseContext = func(net.Listener) context.Context { return ctx }
		go func() {
			if err := server.Serve(s.listened[i]); !errors.Is(err, http.ErrServerClosed) {
				s.log.Error("admin server stopped", slog.Any("err", err))
			}
			done <- struct{}{}
		}()
	}
	<-ctx.Done()
	s.stop(ctx)
	for range s.servers {
		<-done
	}
	s.close()
}

func (s *Server) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	for _, server := range s.servers {
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	}
}

// Close gives the sockets back when Serve was not called.
func (s *Server) Close() error {
	s.close()
	return nil
}

func (s *Server) close() {
	for _, l := range s.listened {
		_ = l.Close()
	}
	_ = os.Remove(s.socket)
}
