//go:build !unix

package broker

import "errors"

// A rawSocket is not built for this system: connections wait in a read of one
// byte instead.
type rawSocket struct{}

func newRawSocket(*conn) *rawSocket { return nil }

func (*rawSocket) fill() error { return errors.ErrUnsupported }

func (*rawSocket) tryWrite([]byte) (int, error) { return 0, errors.ErrUnsupported }
