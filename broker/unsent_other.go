//go:build !linux

package broker

import "net"

// unsent is not known on this system: only finished writes count as progress.
func unsent(net.Conn) (n int, ok bool) { return 0, false }
