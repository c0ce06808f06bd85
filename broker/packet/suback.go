package packet

import "encoding/binary"

// Suback is a SUBACK packet.
type Suback struct {
	ID         uint16
	Properties Properties
	Codes      []ReasonCode // one per subscription, in order; reused by Decode
}

// Decode takes a SUBACK apart.
func (s *Suback) Decode(v Version, first byte, body []byte) error {
	s.Codes = s.Codes[:0]
	if err := checkFirst(v, first, TypeSuback); err != nil {
		return err
	}
	r := reader{rest: body, v: v}
	s.ID = r.id()
	s.Properties.decode(&r, ackProps)
	s.Codes = r.codes(s.Codes, TypeSuback, v.clause("MQTT-3.8.4-6", "MQTT-3.8.4-5"))
	return r.err
}

// AppendTo appends the packet in the form of version v. Before 5.0 every
// failure is 0x80.
func (s *Suback) AppendTo(dst []byte, v Version) []byte {
	dst, mark := openLength(append(dst, TypeSuback.first()))
	dst = binary.BigEndian.AppendUint16(dst, s.ID)
	dst = s.Properties.appendTo(dst, v, ackProps)
	for _, code := range s.Codes {
		if v < V5 && code.IsError() {
			code = UnspecifiedError
		}
		dst = append(dst, byte(code))
	}
	return closeLength(dst, mark)
}

// codes reads reason codes up to the end of the packet, of which there is at
// least one, says the clause. The slice grows by no more than the bytes that
// have arrived.
func (r *reader) codes(dst []ReasonCode, t Type, clause string) []ReasonCode {
	if r.err == nil && len(r.rest) == 0 {
		r.fail(protocolError(clause, t.String()+" without a reason code"))
	}
	if n := len(r.rest); cap(dst) < n {
		dst = make([]ReasonCode, 0, n)
	}
	for len(r.rest) > 0 {
		code := r.reason(t)
		if r.v < V5 && code.IsError() && code != UnspecifiedError {
			r.fail(badReason(code, t))
		}
		dst = append(dst, code)
	}
	if r.err != nil {
		return dst[:0]
	}
	return dst
}
