// Package factory simulates a factory: devices that publish over real MQTT
// connections and know exactly what was acknowledged to them. The demo shows
// it, the end-to-end tests and benchmarks drive Penstock with it.
package factory

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/broker/packet"
)

// A Message is one PUBLISH of a device.
type Message struct {
	Topic   string
	Payload []byte
}

// A Source gives a device its messages one by one. When wait is positive,
// there is none before it has passed; when ok is false and wait is zero, there
// will be none any more.
type Source func() (m Message, wait time.Duration, ok bool)

// Options describes a device.
type Options struct {
	Addr           string
	TLS            *tls.Config // nil: plain TCP
	ClientID       string
	User, Password string
	Version        packet.Version
	QoS            byte
	Window         int // messages in flight; 0 = 100
	Clean          bool
}

// Counters are what the devices of a factory did, shared by all of them.
type Counters struct {
	Sent       atomic.Int64 // messages handed to the network at least once
	Acked      atomic.Int64 // PUBACK or PUBCOMP came; QoS 0: written
	Refused    atomic.Int64 // acknowledged with an error
	Resent     atomic.Int64 // sent again after a broken connection
	Reconnects atomic.Int64
}

// A Device publishes over one MQTT session and keeps what is unacknowledged
// through broken connections. It is used by one goroutine.
type Device struct {
	options  Options
	counters *Counters
	source   Source
	dry      bool // the source has ended

	pending []publish // unacknowledged, in PUBLISH order
	lastID  uint16
	resumed bool // the broker knew the session

	conn    net.Conn
	in, out []byte
	filled  int // bytes of in
	encoder packet.Publish
	topic   []byte
}

// publish is one message on its way.
type publish struct {
	id       uint16
	message  Message
	released bool // QoS 2: PUBREC came, PUBREL is out
}

// NewDevice returns a device that has not connected yet.
func NewDevice(o Options, c *Counters, s Source) *Device {
	if o.Window == 0 {
		o.Window = 100
	}
	return &Device{options: o, counters: c, source: s, in: make([]byte, 16<<10)}
}

// Run connects and publishes until the source has ended and everything is
// acknowledged (nil), or until ctx ends (its error). A broken connection is
// made again at once, then every 50 ms.
func (d *Device) Run(ctx context.Context) error {
	for first := true; ; first = false {
		if !first {
			d.counters.Reconnects.Add(1)
		}
		err := d.session(ctx)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if _, refused := errors.AsType[*RefusedError](err); refused {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A RefusedError says that the broker did not admit the device.
type RefusedError struct{ Code byte }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("connection refused with code 0x%02X", e.Code)
}

// session is one connection from CONNECT until it breaks or all is done.
func (d *Device) session(ctx context.Context) error {
	if err := d.dial(ctx); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = d.conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		stop()
		_ = d.conn.Close()
	}()
	if err := d.connect(); err != nil {
		return err
	}
	d.resend()
	for {
		wait := d.fill()
		full := len(d.out) >= fillBytes
		if err := d.flush(); err != nil {
			return err
		}
		if full {
			continue // the window has room for more
		}
		if d.dry && len(d.pending) == 0 {
			return d.disconnect()
		}
		if err := d.receive(ctx, wait); err != nil {
			return err
		}
	}
}

func (d *Device) dial(ctx context.Context) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", d.options.Addr)
	if err != nil {
		return err
	}
	if d.options.TLS != nil {
		conn = tls.Client(conn, d.options.TLS)
	}
	d.conn, d.filled, d.out = conn, 0, d.out[:0]
	return nil
}

func (d *Device) flush() error {
	if len(d.out) == 0 {
		return nil
	}
	_, err := d.conn.Write(d.out)
	d.out = d.out[:0]
	return err
}

// receive reads what has come within wait (0: until something comes) and
// handles every complete packet.
func (d *Device) receive(ctx context.Context, wait time.Duration) error {
	deadline := time.Time{}
	if wait > 0 {
		deadline = time.Now().Add(wait)
	}
	if err := d.conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	n, err := d.conn.Read(d.in[d.filled:])
	d.filled += n
	if err := d.handleAll(); err != nil {
		return err
	}
	if wait > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		return ctx.Err()
	}
	return err
}

func (d *Device) handleAll() error {
	used := 0
	for {
		first, body, n, err := packet.Next(d.in[used:d.filled], len(d.in))
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		used += n
		if err := d.handle(first, body); err != nil {
			return err
		}
	}
	d.filled = copy(d.in, d.in[used:d.filled])
	return nil
}
