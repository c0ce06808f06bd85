package broker

import (
	"crypto/tls"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsent returns how many bytes the kernel holds that the peer has not
// acknowledged. The writer learns of progress only when a third of the socket's
// buffer is free again, which may be a second of a slow link; this tells
// sooner.
func unsent(nc net.Conn) (n int, ok bool) {
	if t, isTLS := nc.(*tls.Conn); isTLS {
		nc = t.NetConn()
	}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return 0, false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return 0, false
	}
	var failed error
	err = rc.Control(func(fd uintptr) { n, failed = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return n, err == nil && failed == nil
}
