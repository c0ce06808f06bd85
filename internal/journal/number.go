package journal

import "math"

// Number returns the number of a name, which it keeps for ever; a name that
// has none yet gets one, after the entry that says so is stored (C16). Kinds
// are "rule", "output" and "lane"; numbers begin at 1 and no two names of any
// kind share one.
func (j *Journal) Number(kind, key string) (uint32, error) {
	n, offset, err := j.assign(numberKey{kind, key})
	if err != nil || offset == 0 {
		return n, err
	}
	if err := j.wait(offset); err != nil {
		return 0, err
	}
	return n, nil
}

// assign looks a number up or appends a new one; offset 0: it was stored
// before.
func (j *Journal) assign(k numberKey) (n uint32, offset uint64, err error) {
	j.stateMu.Lock()
	defer j.stateMu.Unlock()
	if n, ok := j.state.numbers[k]; ok {
		return n, j.numbering[k], nil
	}
	if j.state.last == math.MaxUint32 {
		return 0, 0, ErrFull
	}
	j.state.last++
	n = j.state.last
	offset, err = j.appendState(kindNumber, appendNumber(nil, n, k), true)
	if err != nil {
		return 0, 0, err
	}
	j.state.numbers[k] = n
	j.numbering[k] = offset
	return n, offset, nil
}

// Names returns the names of one kind that have numbers.
func (j *Journal) Names(kind string) map[string]uint32 {
	j.stateMu.Lock()
	defer j.stateMu.Unlock()
	return j.state.names(kind)
}

// apply has the state take in the frames of a stored block.
func (j *Journal) apply(b []byte) {
	frees := false
	j.stateMu.Lock()
	_ = frames(b, func(f []byte) error {
		frees = frees || frameKind(f) != kindMessage
		return j.state.apply(f) // what this process encoded is sound
	})
	j.stateMu.Unlock()
	if frees {
		j.kickKeeper()
	}
}

// appendHead appends the sections of the state as it is now. Offsets given
// out and not stored count too, so that none comes back (C2).
func (j *Journal) appendHead(b []byte) []byte {
	j.mu.Lock()
	high, received := j.buf.next-1, j.buf.received
	j.mu.Unlock()
	j.stateMu.Lock()
	defer j.stateMu.Unlock()
	j.state.high, j.state.received = max(j.state.high, high), max(j.state.received, received)
	return j.state.appendTo(b)
}
