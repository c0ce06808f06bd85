package session

// Inbound is the receiving half of a session for QoS 2: the packet
// identifiers received and not yet released, each with the journal offset that
// its acknowledgements wait for (C11: a resend appends nothing and waits for
// that offset).
type Inbound struct {
	received map[uint16]uint64
}

// Receive returns the offset noted for id; known is false for a new message.
func (i *Inbound) Receive(id uint16) (offset uint64, known bool) {
	offset, known = i.received[id]
	return offset, known
}

// Accept notes that the message with id was accepted, and where it is in the
// journal; 0 when it is not there.
func (i *Inbound) Accept(id uint16, offset uint64) {
	if i.received == nil {
		i.received = make(map[uint16]uint64)
	}
	i.received[id] = offset
}

// Release forgets id when its PUBCOMP is sent [MQTT-4.3.3-12]. It reports
// false when id was not known.
func (i *Inbound) Release(id uint16) bool {
	_, known := i.received[id]
	delete(i.received, id)
	return known
}

// Len returns how many identifiers are received and not released.
func (i *Inbound) Len() int { return len(i.received) }
