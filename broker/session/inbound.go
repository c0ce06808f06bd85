package session

// Inbound is the receiving half of a session for QoS 2: the packet
// identifiers received and not yet released, each with what its
// acknowledgements wait for (C11: a resend appends nothing and waits for the
// same).
type Inbound struct {
	received map[uint16]Receipt
	open     map[uint64]uint16 // offsets of those that wait for an outcome
}

// A Receipt is one message received at QoS 2.
type Receipt struct {
	Offset   uint64 // in the journal; 0 when it is not there
	Delivery bool   // its PUBCOMP waits for the outcome (C13)
	Outcome  Outcome
}

// Receive returns what is noted for id; known is false for a new message.
func (i *Inbound) Receive(id uint16) (r Receipt, known bool) {
	r, known = i.received[id]
	return r, known
}

// Accept notes that the message with id was accepted.
func (i *Inbound) Accept(id uint16, r Receipt) {
	if i.received == nil {
		i.received = make(map[uint16]Receipt)
	}
	i.received[id] = r
	if !r.Delivery || r.Outcome != Undecided {
		return
	}
	if i.open == nil {
		i.open = make(map[uint64]uint16)
	}
	i.open[r.Offset] = id
}

// Resolve notes the outcome of the message at offset.
func (i *Inbound) Resolve(offset uint64, o Outcome) {
	id, ok := i.open[offset]
	if !ok {
		return
	}
	delete(i.open, offset)
	r := i.received[id]
	r.Outcome = o
	i.received[id] = r
}

// Release forgets id when its PUBCOMP is sent [MQTT-4.3.3-12]. It reports
// false when id was not known.
func (i *Inbound) Release(id uint16) bool {
	r, known := i.received[id]
	delete(i.received, id)
	if r.Delivery {
		delete(i.open, r.Offset)
	}
	return known
}

// Len returns how many identifiers are received and not released.
func (i *Inbound) Len() int { return len(i.received) }
