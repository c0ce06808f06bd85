package packet

// Pubrel is a PUBREL packet: it releases a packet identifier of QoS 2. Before 5.0 it holds only the
// packet identifier.
type Pubrel struct {
	ID         uint16
	Reason     ReasonCode
	Properties Properties
}

// Decode takes a PUBREL apart without allocating.
func (p *Pubrel) Decode(v Version, first byte, body []byte) error {
	return (*ack)(p).decode(TypePubrel, v, first, body)
}

// AppendTo appends the packet in the form of version v.
func (p *Pubrel) AppendTo(dst []byte, v Version) []byte {
	return (*ack)(p).appendTo(dst, TypePubrel, v)
}
