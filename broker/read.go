package broker

import (
	"errors"
	"net"
	"os"
	"time"
)

// fill waits for bytes and reads them into a borrowed burst.
func (c *conn) fill() error {
	if c.raw != nil {
		return c.raw.fill()
	}
	if c.burst == nil { // wait with one byte, not with a buffer
		n, err := c.nc.Read(c.one[:])
		if err != nil || n == 0 {
			return err
		}
		b := c.borrow()
		b.buf[b.w] = c.one[0]
		b.w++
	}
	b := c.burst
	n, err := c.nc.Read(b.space())
	b.w += n
	if n > 0 {
		return nil
	}
	return err
}

// borrow takes a burst, and puts into it what was left of an earlier one.
func (c *conn) borrow() *burst {
	if c.burst == nil {
		c.burst = c.srv.pool.burst()
		c.burst.w = copy(c.burst.buf, c.rest)
		c.rest = c.rest[:0]
	}
	return c.burst
}

// smallRest is how much of an incomplete packet is put aside, so that its
// buffer can go back while the connection waits.
const smallRest = 4 << 10

// giveBack returns the burst to the pool while the connection waits.
func (c *conn) giveBack() {
	b := c.burst
	if b == nil {
		return
	}
	n := b.w - b.r
	if n > smallRest {
		return
	}
	if n == 0 {
		c.rest = nil
	} else {
		c.rest = append(c.rest[:0], b.buf[b.r:b.w]...)
	}
	c.burst = nil
	c.srv.pool.putBurst(b)
}

// await fills the burst. It keeps the clock of the keep-alive: a read that
// times out although the client spoke meanwhile is begun again, so that the
// deadline need not be moved with each packet [MQTT-3.1.2-22].
func (c *conn) await() error {
	for {
		err := c.fill()
		if err == nil {
			c.heard = c.srv.elapsed()
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || c.closing() {
			return err
		}
		left := c.patience - (c.srv.elapsed() - c.heard)
		if c.patience == 0 || left <= 0 {
			return errKeepAlive
		}
		if err := c.nc.SetReadDeadline(time.Now().Add(left)); err != nil {
			return err
		}
		if c.closing() { // hangUp's deadline may have been overwritten
			return err
		}
	}
}

// errKeepAlive says that a client was silent for one and a half times its keep
// alive, or sent no CONNECT in time.
var errKeepAlive = errors.New("the client was silent for too long")

// closeWrite ends our side of the connection, if that can be done alone.
func closeWrite(nc net.Conn) {
	if h, ok := nc.(interface{ CloseWrite() error }); ok {
		_ = h.CloseWrite() // the connection is about to be closed anyway
	}
}
