package packet

// Pingresp is a PINGRESP packet: it answers a PINGREQ.
type Pingresp struct{}

// Decode checks a PINGRESP, which has no body.
func (p *Pingresp) Decode(v Version, first byte, body []byte) error {
	return checkEmpty(v, first, body, TypePingresp)
}

// AppendTo appends the packet, which is the same in every version.
func (p *Pingresp) AppendTo(dst []byte, _ Version) []byte {
	return append(dst, TypePingresp.first(), 0)
}
