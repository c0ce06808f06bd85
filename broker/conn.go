package broker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/broker/packet"
)

// A conn is one network connection. Its fields belong to the read loop unless
// said otherwise.
type conn struct {
	srv    *Server
	nc     net.Conn
	door   *door
	raw    *rawSocket // nil: TLS, or no socket at all
	client *client    // from CONNECT on
	user   string     // admitted under this name, "" when anonymous

	version   packet.Version // set before the connection is published
	maxPacket int            // what the client accepts, in bytes; 0: anything
	problems  bool           // it is told more than reason codes [MQTT-3.1.2-29]

	patience time.Duration // how long the client may be silent; 0: for ever
	heard    time.Duration // when it was heard last

	burst *burst // borrowed while there is something to read
	rest  []byte // an incomplete packet, while the burst is given back
	one   [1]byte

	aliases []string // topic aliases of the client, by alias-1
	routes  routes

	will *will // to be published unless the client says goodbye

	out    output // guarded by client.mu
	writer func() // writeLoop; set and called by whoever holds the claim

	since int64         // guarded by client.mu; when the burst's acknowledgements began to wait, ns
	room  chan struct{} // guarded by client.mu; closed when acknowledgements have left
	owes  bool          // guarded by owedAcks.mu; in its list
	shut  atomic.Bool   // the connection is being closed
	done  chan struct{} // closed with it: waits end
	ended chan struct{} // closed when the connection has let go of its client
}

// connectPatience is how long a socket may stay without its CONNECT.
const connectPatience = 10 * time.Second

func newConn(s *Server, nc net.Conn, d *door) *conn {
	c := &conn{
		srv:      s,
		nc:       nc,
		door:     d,
		patience: connectPatience,
		heard:    s.elapsed(),
		done:     make(chan struct{}),
		ended:    make(chan struct{}),
	}
	c.raw = newRawSocket(c)
	return c
}

// run serves the connection from its first byte. What follows CONNECT goes on
// in a goroutine of its own, whose stack has not grown: it is what an idle
// connection costs.
func (c *conn) run(ctx context.Context) {
	if err := c.connect(ctx); err != nil {
		c.end(err)
		return
	}
	go c.readLoop()
}

// readLoop handles bursts until the connection ends.
func (c *conn) readLoop() {
	for {
		grown, err := c.serve()
		if err == nil {
			if grown || c.raw == nil {
				c.giveBack()
			}
			if grown && c.burst == nil {
				go c.readLoop()
				return
			}
			c.yield()
			err = c.await()
		}
		if err != nil {
			c.end(err)
			return
		}
	}
}

// greedyBytes is what a connection may have sent at once before others get
// their turn.
const greedyBytes = burstBytes / 2

// yield lets other connections run after a large burst. A device that floods has
// always something to read: without this it would keep its processor until the
// scheduler takes it away, 10 ms later each time, and a hundred of them would
// make a second for everybody else (I7).
func (c *conn) yield() {
	if c.burst != nil && c.burst.w >= greedyBytes {
		runtime.Gosched()
	}
}

// closing reports whether the connection is being closed.
func (c *conn) closing() bool { return c.shut.Load() }

// hangUp begins to close the connection from any goroutine: a 5.0 client is
// told why, what is waited for is given up, and the read loop wakes. The
// client must be attached.
func (c *conn) hangUp(reason packet.ReasonCode) {
	if c.shut.Swap(true) {
		return
	}
	close(c.done)
	mu := &c.client.mu
	mu.Lock()
	if c.version >= packet.V5 && c.client.conn == c {
		d := packet.Disconnect{Reason: reason}
		var buf [8]byte
		c.out.append(&c.srv.pool, d.AppendTo(buf[:0], c.version))
	}
	start := c.claim()
	mu.Unlock()
	if start {
		c.startWriter()
	}
	deadline := time.Now().Add(stopGrace)
	_ = c.nc.SetWriteDeadline(deadline) // a connection that is closed needs none
	_ = c.nc.SetReadDeadline(time.Now())
}

// end closes the connection and lets go of its client. It runs on the read
// loop's goroutine, as the last thing.
func (c *conn) end(err error) {
	defer c.srv.conns.Done()
	if c.client == nil {
		c.srv.clients.exit(c)
		_ = c.nc.Close()
		return
	}
	var refused *packet.Error
	switch {
	case errors.As(err, &refused):
		c.hangUp(refused.Reason)
	case errors.Is(err, errKeepAlive):
		c.hangUp(packet.KeepAliveTimeout)
	case !c.shut.Swap(true):
		close(c.done)
		_ = c.nc.SetWriteDeadline(time.Now().Add(stopGrace))
	}
	c.log(err)
	c.waitWriter()
	if refused != nil {
		c.linger()
	}
	_ = c.nc.Close()
	if c.burst != nil {
		c.srv.pool.putBurst(c.burst)
		c.burst = nil
	}
	c.srv.detach(c)
}

func (c *conn) log(err error) {
	if err == nil || errors.Is(err, io.EOF) {
		return
	}
	c.srv.o.Logger.Debug("connection closed", slog.String("client", c.client.id), slog.Any("err", err))
}

// waitWriter waits until the writer has ended; the write deadline bounds it.
func (c *conn) waitWriter() {
	mu := &c.client.mu
	mu.Lock()
	start := c.claim()
	var idle chan struct{}
	if c.out.writing {
		idle = make(chan struct{})
		c.out.idle = idle
	}
	mu.Unlock()
	if start {
		c.startWriter()
	}
	if idle != nil {
		<-idle
	}
}

// lingerBytes bounds what is read and thrown away before closing.
const lingerBytes = 256 << 10

// linger lets the client read the DISCONNECT: closing a socket with unread
// bytes would reset it, and the packet might be lost.
func (c *conn) linger() {
	closeWrite(c.nc)
	_ = c.nc.SetReadDeadline(time.Now().Add(stopGrace / 4))
	_, _ = io.CopyN(io.Discard, c.nc, lingerBytes)
}
