package packet

import (
	"encoding/binary"
	"iter"
)

// Unsubscribe is an UNSUBSCRIBE packet.
type Unsubscribe struct {
	ID         uint16
	Properties Properties
	Filters    Filters // at least one
}

// Filters are the topic filters of an UNSUBSCRIBE as they stand on the wire.
// AppendFilter builds one to send.
type Filters []byte

// Decode takes an UNSUBSCRIBE apart.
func (u *Unsubscribe) Decode(v Version, first byte, body []byte) error {
	u.Filters = nil
	if err := checkFirst(v, first, TypeUnsubscribe); err != nil {
		return err
	}
	r := reader{rest: body, v: v}
	u.ID = r.id()
	u.Properties.decode(&r, unsubscribeProps)
	list := r.rest
	if r.err == nil && len(list) == 0 {
		r.fail(protocolError("MQTT-3.10.3-2", "UNSUBSCRIBE without a topic filter"))
	}
	for len(r.rest) > 0 {
		r.filter()
	}
	if r.err == nil {
		u.Filters = Filters(list)
	}
	return r.err
}

// AppendTo appends the packet in the form of version v.
func (u *Unsubscribe) AppendTo(dst []byte, v Version) []byte {
	dst, mark := openLength(append(dst, TypeUnsubscribe.first()))
	dst = binary.BigEndian.AppendUint16(dst, u.ID)
	dst = u.Properties.appendTo(dst, v, unsubscribeProps)
	return closeLength(append(dst, u.Filters...), mark)
}

// Next returns the first filter and the rest; ok is false when there is none.
// The filter is UTF-8 and not empty; its wildcards are not checked.
func (f Filters) Next() (filter []byte, rest Filters, ok bool) {
	n := binarySize(f)
	if n > len(f) {
		return nil, nil, false
	}
	return f[2:n:n], f[n:], true
}

// All returns an iterator over the filters.
func (f Filters) All() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for filter, rest, ok := f.Next(); ok; filter, rest, ok = rest.Next() {
			if !yield(filter) {
				return
			}
		}
	}
}

// AppendFilter appends a topic filter to send.
func AppendFilter[S ~string | ~[]byte](dst Filters, filter S) Filters {
	return appendBinary(dst, filter)
}
