// Package broker is the MQTT server: it accepts clients over TCP and TLS,
// speaks MQTT 3.1, 3.1.1 and 5.0, passes messages to subscribers, and hands
// what a rule wants to the journal.
//
//	readLoop ── one burst: every complete packet in the read buffer
//	   │          PUBLISH ─▶ route (topic -> subscribers, rules), cached per connection
//	   │          others  ─▶ session
//	   ├─▶ journal.Append, once for the burst
//	   ├─▶ subscribers' output, each kicked once
//	   └─▶ acknowledgements: at once, or when the journal has stored the offset
//
//	writeLoop ─ exists only while its connection has output
//
// A connection that is idle is one goroutine that waits for its socket to
// become readable, and no buffers. What one reading finds is handled as a
// burst, so that locks, the journal and system calls are paid for once per
// burst, not once per message.
package broker

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/broker/auth"
	"github.com/penstock/penstock/broker/session"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// An Intake is where messages go that a rule wants. Its methods are called by
// many goroutines at once.
type Intake interface {
	Rules
	Log
	// Await has done called once, when every required output of a message that
	// was just appended is settled (C13): delivered is false when one of them did
	// not confirm it and never will. done does not block.
	Await(offset uint64, rules []uint32, done func(offset uint64, delivered bool))
}

// Rules say who wants a topic.
type Rules interface {
	// Want appends the numbers of the rules that want messages with this topic
	// to dst and returns the strongest acknowledgement they ask for. record says
	// that the message is to be stored although no rule wants it (C9).
	Want(topic string, dst []uint32) (rules []uint32, ack message.Ack, record bool)
	// Generation changes when what Want has said may be out of date.
	Generation() uint64
}

// A Log is the journal, as far as the broker sees it.
type Log interface {
	// Append copies the entries and returns the first one's offset; the others
	// follow without a gap. It sets the messages' IDs. generation is that of the
	// rules in the entries.
	//
	// After an error nothing was appended. It is journal.ErrFull, or a
	// *journal.FullError when this was because of one lane (C7);
	// journal.ErrTooLarge; or journal.ErrStale when the generation has changed.
	Append(entries []journal.Entry, generation uint64) (first uint64, err error)
	// Stored returns the watermark: every offset up to it is stored.
	Stored() uint64
	// NotifyStored registers f to be called after each advance of the
	// watermark. f does not block.
	NotifyStored(f func(stored uint64))
	// Room returns a channel that is closed when, after ErrFull, there is room.
	Room() <-chan struct{}
}

// Options are what a Server is made of.
type Options struct {
	Listeners []ListenerConfig
	Auth      auth.Config

	Intake Intake // nil: no rule wants anything

	Logger *slog.Logger // nil: none
	// AckDelay is told how long n acknowledgements waited for the journal or for
	// a delivery. It is called by many goroutines at once; nil: nobody is told.
	AckDelay func(d time.Duration, n int)

	MaxPacket      int // bytes of the largest packet accepted; 0: 1 MiB
	ReceiveMaximum int // unacknowledged QoS 1 and 2 messages per publisher; 0: 1,000
	QueueMessages  int // messages kept for one session; 0: 100,000
	QueueBytes     int // bytes kept for one session; 0: 64 MiB
}

func (o *Options) setDefaults() {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&o.MaxPacket, 1<<20)
	set(&o.ReceiveMaximum, 1000)
	set(&o.QueueMessages, 100_000)
	set(&o.QueueBytes, 64<<20)
	o.ReceiveMaximum = min(o.ReceiveMaximum, 1<<16-1)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// A Server is an MQTT server. Its listeners are bound from New on.
type Server struct {
	o         Options
	bounds    session.Bounds
	auth      atomic.Pointer[auth.Authenticator]
	listeners []*listener
	started   time.Time
	seed      maphash.Seed

	clients  registry
	subs     subscriptions
	retained retained
	owed     owedAcks
	timers   timers
	watchers watchers
	pool     pools
	counts   counters
	origin   atomic.Pointer[message.ID] // of some message of this process: what ids are made of

	reload sync.Mutex     // one Reload at a time
	quit   chan struct{}  // closed when Serve is to end
	conns  sync.WaitGroup // connections: their readers and writers
	served atomic.Bool
}

// New opens the users file and binds every listener; port 0 takes a free one.
// An error names the listener; for an address in use it wraps
// syscall.EADDRINUSE.
func New(o Options) (*Server, error) {
	o.setDefaults()
	a, err := auth.Open(o.Auth)
	if err != nil {
		return nil, err
	}
	s := newServer(o, a)
	for i := range o.Listeners {
		l, err := listen(o.Listeners[i], o.Auth)
		if err != nil {
			s.closeListeners()
			return nil, err
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

func newServer(o Options, a *auth.Authenticator) *Server {
	s := &Server{
		o:       o,
		bounds:  session.Bounds{Messages: o.QueueMessages, Bytes: o.QueueBytes},
		started: time.Now(),
		seed:    maphash.MakeSeed(),
		quit:    make(chan struct{}),
	}
	s.auth.Store(a)
	s.retained.limit = maxRetainedBytes
	s.clients.init()
	s.subs.init()
	s.timers.init()
	s.owed.init()
	return s
}

// Addrs returns the addresses the listeners really got, in their order.
func (s *Server) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		addrs[i] = l.Addr()
	}
	return addrs
}

// Serve accepts clients until ctx ends. Then it tells 5.0 clients that the
// server is shutting down, closes every connection, waits until all its
// goroutines have ended, and returns nil. It is called once.
func (s *Server) Serve(ctx context.Context) error {
	if s.served.Swap(true) {
		return errors.New("serve: called twice")
	}
	var background, accepting sync.WaitGroup
	background.Go(s.timerLoop)
	if s.o.Intake != nil {
		s.o.Intake.NotifyStored(s.owed.stored)
		background.Go(s.releaseLoop)
	}
	for _, l := range s.listeners {
		accepting.Go(func() { s.acceptLoop(ctx, l) })
	}
	<-ctx.Done()
	s.stop(&accepting)
	close(s.quit)
	background.Wait()
	return nil
}

// Close frees the listeners of a server that is not going to serve.
func (s *Server) Close() { s.closeListeners() }

// now returns Unix milliseconds.
func now() int64 { return time.Now().UnixMilli() }

// elapsed returns the time since the server was made, on the monotonic clock.
func (s *Server) elapsed() time.Duration { return time.Since(s.started) }
