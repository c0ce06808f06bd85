package packet

import "encoding/binary"

// A reader takes a body apart from the front. The first error stays: from then
// on there is nothing to read, so callers check err once, at the end.
type reader struct {
	rest []byte
	v    Version
	err  error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.rest = nil
}

// check fails when there is an error.
func (r *reader) check(err error) {
	if err != nil {
		r.fail(err)
	}
}

func (r *reader) take(n int, what string) []byte {
	if len(r.rest) < n {
		r.fail(truncated(what))
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte(what string) byte {
	if b := r.take(1, what); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16(what string) uint16 {
	if b := r.take(2, what); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32(what string) uint32 {
	if b := r.take(4, what); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// varint reads a variable byte integer, which is no longer than it has to be
// [MQTT-1.5.5-1].
func (r *reader) varint(what string) int {
	value, size := remaining(r.rest)
	switch {
	case size == 0:
		r.fail(truncated(what))
		return 0
	case size < 0 || size != varintSize(value):
		r.fail(malformed("MQTT-1.5.5-1", what+" is longer than it has to be"))
		return 0
	}
	r.rest = r.rest[size:]
	return value
}

// binary reads binary data, as a view.
func (r *reader) binary(what string) []byte {
	return r.take(int(r.uint16(what)), what)
}

// text reads a UTF-8 string, as a view.
func (r *reader) text(what string) []byte {
	b := r.binary(what)
	if f := checkText(b); f != 0 {
		r.fail(f.error(r.v, what))
	}
	return b
}

// topic reads a topic name of at least one character, without wildcards.
func (r *reader) topic(what string) []byte {
	b := r.binary(what)
	if f := checkTopic(b); f != 0 {
		r.fail(f.error(r.v, what))
	}
	if len(b) == 0 {
		r.fail(protocolError("MQTT-4.7.3-1", what+" is empty"))
	}
	return b
}

// id reads a packet identifier, which is never 0.
func (r *reader) id() uint16 {
	id := r.uint16("packet identifier")
	if id == 0 {
		r.fail(zeroID(r.v))
	}
	return id
}

func zeroID(v Version) error {
	return protocolError(v.clause("MQTT-2.2.1-3", "MQTT-2.3.1-1"), "packet identifier 0")
}

// reason reads a reason code that packet type t may carry.
func (r *reader) reason(t Type) ReasonCode {
	code := ReasonCode(r.byte("reason code"))
	if r.err == nil && !code.In(t) {
		r.fail(badReason(code, t))
	}
	return code
}

func badReason(code ReasonCode, t Type) error {
	return protocolError("MQTT 5.0 2.4", "reason code "+code.String()+" in "+t.String())
}

// end returns the first error; bytes left over are one.
func (r *reader) end() error {
	if r.err == nil && len(r.rest) > 0 {
		r.err = trailing()
	}
	return r.err
}

func trailing() error {
	return malformed("MQTT 5.0 4.13.1", "bytes after the end of the packet's content")
}

// checkEmpty checks a packet that has nothing but its header.
func checkEmpty(v Version, first byte, body []byte, t Type) error {
	if err := checkFirst(v, first, t); err != nil {
		return err
	}
	if len(body) > 0 {
		return trailing()
	}
	return nil
}
