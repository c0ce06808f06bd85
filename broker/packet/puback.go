package packet

// Puback is a PUBACK packet: it acknowledges a PUBLISH at QoS 1. Before 5.0 it holds only the
// packet identifier.
type Puback struct {
	ID         uint16
	Reason     ReasonCode
	Properties Properties
}

// Decode takes a PUBACK apart without allocating.
func (p *Puback) Decode(v Version, first byte, body []byte) error {
	return (*ack)(p).decode(TypePuback, v, first, body)
}

// AppendTo appends the packet in the form of version v.
func (p *Puback) AppendTo(dst []byte, v Version) []byte {
	return (*ack)(p).appendTo(dst, TypePuback, v)
}
