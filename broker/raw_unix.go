//go:build unix

package broker

import (
	"crypto/tls"
	"errors"
	"io"
	"os"
	"syscall"
)

// A rawSocket waits until its socket is readable without holding a buffer, and
// borrows one only then.
type rawSocket struct {
	rc    syscall.RawConn
	read  func(fd uintptr) bool // tryRead, made once so that a wait allocates nothing
	write func(fd uintptr) bool
	conn  *conn
	n     int
	err   error
	out   []byte
}

// newRawSocket returns nil for connections whose bytes are not the socket's.
func newRawSocket(c *conn) *rawSocket {
	if _, ok := c.nc.(*tls.Conn); ok {
		return nil
	}
	sc, ok := c.nc.(syscall.Conn)
	if !ok {
		return nil
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	r := &rawSocket{rc: rc, conn: c}
	r.read = r.tryRead
	return r
}

// fill waits for bytes and reads them. The error is io.EOF when the client has
// closed its side.
func (r *rawSocket) fill() error {
	if err := r.rc.Read(r.read); err != nil {
		return err
	}
	switch {
	case r.err != nil:
		return os.NewSyscallError("read", r.err)
	case r.n <= 0:
		return io.EOF
	}
	r.conn.burst.w += r.n
	return nil
}

// tryRead reads what is there into a borrowed burst; false waits for more.
func (r *rawSocket) tryRead(fd uintptr) bool {
	b := r.conn.borrow()
	for {
		r.n, r.err = syscall.Read(int(fd), b.space())
		if !errors.Is(r.err, syscall.EINTR) {
			break
		}
	}
	if errors.Is(r.err, syscall.EAGAIN) {
		r.conn.giveBack()
		return false
	}
	return true
}

// tryWrite writes what the socket takes at once.
func (r *rawSocket) tryWrite(b []byte) (int, error) {
	if r.write == nil {
		r.write = r.tryWriteFD
	}
	r.out, r.n, r.err = b, 0, nil
	err := r.rc.Write(r.write)
	r.out = nil
	return r.n, errors.Join(err, r.err)
}

func (r *rawSocket) tryWriteFD(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), r.out)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
		case err != nil:
			r.err = os.NewSyscallError("write", err)
		default:
			r.n = n
		}
		return true
	}
}
