package packet

// Pingreq is a PINGREQ packet: it asks whether the other side is there.
type Pingreq struct{}

// Decode checks a PINGREQ, which has no body.
func (p *Pingreq) Decode(v Version, first byte, body []byte) error {
	return checkEmpty(v, first, body, TypePingreq)
}

// AppendTo appends the packet, which is the same in every version.
func (p *Pingreq) AppendTo(dst []byte, _ Version) []byte {
	return append(dst, TypePingreq.first(), 0)
}
