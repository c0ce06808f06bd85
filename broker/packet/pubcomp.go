package packet

// Pubcomp is a PUBCOMP packet: it ends the delivery of a PUBLISH at QoS 2. Before 5.0 it holds only the
// packet identifier.
type Pubcomp struct {
	ID         uint16
	Reason     ReasonCode
	Properties Properties
}

// Decode takes a PUBCOMP apart without allocating.
func (p *Pubcomp) Decode(v Version, first byte, body []byte) error {
	return (*ack)(p).decode(TypePubcomp, v, first, body)
}

// AppendTo appends the packet in the form of version v.
func (p *Pubcomp) AppendTo(dst []byte, v Version) []byte {
	return (*ack)(p).appendTo(dst, TypePubcomp, v)
}
