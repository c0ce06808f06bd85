package packet

import "encoding/binary"

// ack is what PUBACK, PUBREC, PUBREL and PUBCOMP have in common.
type ack struct {
	ID         uint16
	Reason     ReasonCode
	Properties Properties
}

func (a *ack) decode(t Type, v Version, first byte, body []byte) error {
	if err := checkFirst(v, first, t); err != nil {
		return err
	}
	a.Reason = Success
	a.Properties.Reset()
	if len(body) < 2 {
		return truncated("packet identifier")
	}
	if a.ID = binary.BigEndian.Uint16(body); a.ID == 0 {
		return zeroID(v)
	}
	if len(body) == 2 {
		return nil
	}
	if v < V5 {
		return trailing()
	}
	return a.decodeReason(t, reader{rest: body[2:], v: v})
}

// decodeReason reads what only 5.0 has; without properties their length may be
// left out.
func (a *ack) decodeReason(t Type, r reader) error {
	a.Reason = r.reason(t)
	if len(r.rest) > 0 {
		a.Properties.decode(&r, ackProps)
	}
	return r.end()
}

func (a *ack) appendTo(dst []byte, t Type, v Version) []byte {
	if v < V5 || (a.Reason == Success && a.Properties.Present == 0) {
		return AppendAck(dst, t, a.ID)
	}
	dst, mark := openLength(append(dst, t.first()))
	dst = append(binary.BigEndian.AppendUint16(dst, a.ID), byte(a.Reason))
	if a.Properties.Present != 0 {
		dst = a.Properties.appendTo(dst, v, ackProps)
	}
	return closeLength(dst, mark)
}

// AppendAck appends the shortest PUBACK, PUBREC, PUBREL or PUBCOMP: success,
// no properties. It is the same in every version.
func AppendAck(dst []byte, t Type, id uint16) []byte {
	return append(dst, t.first(), 2, byte(id>>8), byte(id))
}
