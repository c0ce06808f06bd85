package packet

import "encoding/binary"

// Unsuback is an UNSUBACK packet.
type Unsuback struct {
	ID         uint16
	Properties Properties
	Codes      []ReasonCode // 5.0: one per topic filter, in order; reused by Decode
}

// Decode takes an UNSUBACK apart.
func (u *Unsuback) Decode(v Version, first byte, body []byte) error {
	u.Codes = u.Codes[:0]
	if err := checkFirst(v, first, TypeUnsuback); err != nil {
		return err
	}
	r := reader{rest: body, v: v}
	u.ID = r.id()
	u.Properties.decode(&r, ackProps)
	if v < V5 {
		return r.end()
	}
	u.Codes = r.codes(u.Codes, TypeUnsuback, "MQTT-3.11.3-1")
	return r.err
}

// AppendTo appends the packet in the form of version v; the codes go out in
// 5.0 only.
func (u *Unsuback) AppendTo(dst []byte, v Version) []byte {
	dst, mark := openLength(append(dst, TypeUnsuback.first()))
	dst = binary.BigEndian.AppendUint16(dst, u.ID)
	dst = u.Properties.appendTo(dst, v, ackProps)
	if v >= V5 {
		for _, code := range u.Codes {
			dst = append(dst, byte(code))
		}
	}
	return closeLength(dst, mark)
}
