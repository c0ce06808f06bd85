package packet

// Pubrec is a PUBREC packet: it is the first answer to a PUBLISH at QoS 2. Before 5.0 it holds only the
// packet identifier.
type Pubrec struct {
	ID         uint16
	Reason     ReasonCode
	Properties Properties
}

// Decode takes a PUBREC apart without allocating.
func (p *Pubrec) Decode(v Version, first byte, body []byte) error {
	return (*ack)(p).decode(TypePubrec, v, first, body)
}

// AppendTo appends the packet in the form of version v.
func (p *Pubrec) AppendTo(dst []byte, v Version) []byte {
	return (*ack)(p).appendTo(dst, TypePubrec, v)
}
