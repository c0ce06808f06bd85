package session

// An AckKind is the packet that acknowledges.
type AckKind uint8

// The acknowledgements that may have to wait for the journal.
const (
	PubAck AckKind = iota
	PubRec
	PubComp
)

// An Ack is an acknowledgement that waits until the journal has stored Offset
// (C10).
type Ack struct {
	Offset uint64
	Hash   uint64 // of topic and payload, to know a resend by; PubAck only
	ID     uint16
	Kind   AckKind
}

// Acks are the acknowledgements that wait for the journal, in the order of
// their PUBLISH packets (C12), and, for a session that outlives its
// connection, those its client was never sent.
type Acks struct {
	ring []Ack // length is 0 or a power of two
	head int
	n    int
	acks int   // of them PUBACKs
	lost []Ack // PUBACKs that were due on an earlier connection (C11)
}

// Wait puts an acknowledgement behind those that wait.
func (a *Acks) Wait(k Ack) {
	if a.n == len(a.ring) {
		ring := make([]Ack, max(8, 2*len(a.ring)))
		k := copy(ring, a.ring[a.head:])
		copy(ring[k:], a.ring[:a.head])
		a.ring, a.head = ring, 0
	}
	a.ring[(a.head+a.n)&(len(a.ring)-1)] = k
	a.n++
	if k.Kind == PubAck {
		a.acks++
	}
}

// Pop returns the next acknowledgement if everything up to stored is stored.
func (a *Acks) Pop(stored uint64) (Ack, bool) {
	if a.n == 0 || a.ring[a.head].Offset > stored {
		return Ack{}, false
	}
	k := a.ring[a.head]
	a.head = (a.head + 1) & (len(a.ring) - 1)
	a.n--
	if k.Kind == PubAck {
		a.acks--
	}
	return k, true
}

// Len returns how many acknowledgements wait.
func (a *Acks) Len() int { return a.n }

// PubAcks returns how many PUBACKs wait.
func (a *Acks) PubAcks() int { return a.acks }

// Join finds the PUBACK that waits, or was never sent, for a resend with this
// packet identifier, topic and payload. The second wait for it is the
// caller's to begin.
func (a *Acks) Join(id uint16, hash uint64) (offset uint64, ok bool) {
	for i := range a.n {
		k := a.ring[(a.head+i)&(len(a.ring)-1)]
		if k.ID == id && k.Kind == PubAck && k.Hash == hash {
			return k.Offset, true
		}
	}
	for i, k := range a.lost {
		if k.ID == id && k.Hash == hash {
			a.lost = append(a.lost[:i], a.lost[i+1:]...)
			return k.Offset, true
		}
	}
	return 0, false
}

// Waits reports whether this acknowledgement for id waits: then a resend on
// the same connection needs no second one.
func (a *Acks) Waits(id uint16, kind AckKind) bool {
	for i := range a.n {
		k := a.ring[(a.head+i)&(len(a.ring)-1)]
		if k.ID == id && k.Kind == kind {
			return true
		}
	}
	return false
}

// Forget drops what is remembered of id from earlier connections: its client
// uses it for a new message.
func (a *Acks) Forget(id uint16) {
	for i, k := range a.lost {
		if k.ID == id {
			a.lost = append(a.lost[:i], a.lost[i+1:]...)
			return
		}
	}
}

// Detach ends the connection: nothing waits any more, and a client that comes
// back to its session sends again what it was not acknowledged. At most limit
// PUBACKs are remembered for that.
func (a *Acks) Detach(keep bool, limit int) {
	var lost []Ack
	if keep {
		lost = a.lost
		for i := range a.n {
			if k := a.ring[(a.head+i)&(len(a.ring)-1)]; k.Kind == PubAck {
				lost = append(lost, k)
			}
		}
		lost = lost[max(0, len(lost)-limit):]
	}
	*a = Acks{lost: lost}
}
