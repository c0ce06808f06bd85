package session

import "slices"

// state of a packet identifier that is in use.
type state uint8

const (
	free      state = iota
	wantsAck        // QoS 1 PUBLISH sent
	wantsRec        // QoS 2 PUBLISH sent
	wantsComp       // PUBREL sent
)

// A slot holds one packet identifier in use.
type slot struct {
	id      uint16
	state   state
	counted bool // it takes one of the receiver's Receive Maximum
}

// A kept delivery can be sent again on a later connection.
type kept struct {
	Delivery
	seq uint64 // order of the first sending [MQTT-4.6.0-1]
}

// inflight is the set of packet identifiers in use. An identifier lives in
// slot id mod len(slots): since we choose them, one whose slot is taken is
// simply not chosen. So a session with few messages in flight needs a few
// slots, a lookup is one index, and an acknowledgement that never comes costs
// one slot and nothing else.
type inflight struct {
	slots []slot // length is 0 or a power of two
	kept  []kept // beside slots, only for sessions that outlive their connection
	used  int    // slots in use
	last  uint16 // identifier given out last
	seq   uint64
}

const (
	minSlots = 16
	maxSlots = 1 << 16
	maxIDs   = 1<<16 - 1 // 0 is no packet identifier [MQTT-2.2.1-3]
)

// take gives out an identifier. The caller has made sure that one is free.
func (f *inflight) take(s state, keep bool) uint16 {
	if 2*f.used >= len(f.slots) && len(f.slots) < maxSlots {
		f.grow(keep)
	}
	mask := len(f.slots) - 1
	for {
		f.last++
		if f.last == 0 {
			continue
		}
		if p := &f.slots[int(f.last)&mask]; p.state == free {
			*p = slot{id: f.last, state: s, counted: true}
			f.used++
			return f.last
		}
	}
}

func (f *inflight) grow(keep bool) {
	n := max(minSlots, 2*len(f.slots))
	slots := make([]slot, n)
	var keeps []kept
	if keep {
		keeps = make([]kept, n)
	}
	for i, s := range f.slots {
		if s.state == free {
			continue
		}
		slots[int(s.id)&(n-1)] = s
		if keep {
			keeps[int(s.id)&(n-1)] = f.kept[i]
		}
	}
	f.slots, f.kept = slots, keeps
}

// find returns the slot of an identifier in use, nil for any other.
func (f *inflight) find(id uint16) *slot {
	if len(f.slots) == 0 {
		return nil
	}
	s := &f.slots[int(id)&(len(f.slots)-1)]
	if s.id != id || s.state == free {
		return nil
	}
	return s
}

// keep stores the delivery beside its identifier.
func (f *inflight) keep(id uint16, d Delivery) {
	f.seq++
	d.ID = id
	f.kept[int(id)&(len(f.slots)-1)] = kept{Delivery: d, seq: f.seq}
}

func (f *inflight) delivery(id uint16) *Delivery {
	return &f.kept[int(id)&(len(f.slots)-1)].Delivery
}

// order returns every identifier in use in the order of first sending.
func (f *inflight) order() []uint16 {
	found := make([]*kept, 0, f.used)
	for i := range f.slots {
		if f.slots[i].state != free {
			found = append(found, &f.kept[i])
		}
	}
	slices.SortFunc(found, func(a, b *kept) int { return int(int64(a.seq - b.seq)) })
	ids := make([]uint16, len(found))
	for i, k := range found {
		ids[i] = k.ID
	}
	return ids
}
