package journal

import (
	"cmp"
	"maps"
	"slices"
)

// state is what the entries of the journal add up to. Recovery applies
// entries through the code that applies them live (C1).
type state struct {
	epoch    uint32
	high     uint64 // no offset above it was given out when a head was written
	received int64  // of the newest message
	last     uint32 // highest number given out: none is used twice (C16)
	numbers  map[numberKey]uint32
	cursors  map[uint32]Cursor
	lanes    bool // some lane has stored a cursor
	saved    map[numberKey]saved
	// snapshots are the newest of each shard of the state outside the journal.
	snapshots map[uint32]snapshot
}

type numberKey struct{ kind, key string }

func newState() *state {
	return &state{
		numbers: map[numberKey]uint32{}, cursors: map[uint32]Cursor{}, saved: map[numberKey]saved{},
		snapshots: map[uint32]snapshot{},
	}
}

// Sections of a state frame. The frame's head has the epoch.
const (
	secHigh     = 1 // 8 bytes
	secReceived = 2 // 8 bytes
	secLast     = 3 // 4 bytes
	secNumber   = 4 // a number frame's sections
	secCursor   = 5 // a cursor frame's sections
	secSaved    = 6 // a saved frame's sections
	secSnapshot = 7 // shard (4), offset of its newest snapshot, applied, size (8 each)
)

// appendTo appends the sections of a state frame, the same bytes for the same
// state.
func (s *state) appendTo(b []byte) []byte {
	b = append(b, secHigh, 8)
	b = le.AppendUint64(b, s.high)
	b = append(b, secReceived, 8)
	b = le.AppendUint64(b, uint64(s.received))
	b = append(b, secLast, 4)
	b = le.AppendUint32(b, s.last)
	for _, k := range slices.SortedFunc(maps.Keys(s.numbers), s.byNumber) {
		b = appendSectionBytes(b, secNumber, appendNumber(nil, s.numbers[k], k))
	}
	for _, lane := range slices.Sorted(maps.Keys(s.cursors)) {
		c := s.cursors[lane]
		b = appendSectionBytes(b, secCursor, appendCursor(nil, lane, &c))
	}
	for _, k := range slices.SortedFunc(maps.Keys(s.saved), byKey) {
		b = appendSectionBytes(b, secSaved, appendSaved(nil, k, s.saved[k]))
	}
	for _, shard := range slices.Sorted(maps.Keys(s.snapshots)) {
		b = append(b, secSnapshot, 28)
		b = s.snapshots[shard].appendTo(b, shard)
	}
	return b
}

func byKey(a, b numberKey) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.key, b.key)) }

func (s *state) byNumber(a, b numberKey) int { return int(s.numbers[a]) - int(s.numbers[b]) }

// apply takes in one frame. A frame that is not of the state is skipped.
func (s *state) apply(f []byte) error {
	body := f[frameHead:frameSize(f)]
	s.epoch = max(s.epoch, frameEpoch(f))
	switch frameKind(f) {
	case kindState:
		return s.load(body)
	case kindNumber:
		return s.applyNumber(body)
	case kindCursor:
		return s.applyCursor(body)
	case kindMessage:
		return s.applyMessage(body)
	case kindForget:
		return s.applyForget(body)
	case kindSaved:
		return s.applySaved(body)
	case kindSnapshot:
		return s.applySnapshot(f)
	case kindTick:
		return s.applyTick(f)
	case kindChange, kindFooter:
	}
	return nil
}

func (s *state) applyNumber(body []byte) error {
	n, k, err := decodeNumber(body)
	if err != nil {
		return err
	}
	s.numbers[k] = n
	s.last = max(s.last, n)
	return nil
}

func (s *state) applyCursor(body []byte) error {
	lane, c, err := decodeCursor(body)
	if err != nil {
		return err
	}
	c.Dropped = nil // asked for in the log, not here
	s.cursors[lane] = c
	s.lanes = true
	s.last = max(s.last, lane)
	return nil
}

func (s *state) applyForget(body []byte) error {
	lane, err := decodeForget(body)
	if err == nil {
		delete(s.cursors, lane)
	}
	return err
}

func decodeForget(body []byte) (lane uint32, err error) {
	k, b, _, ok := nextSection(body)
	if !ok || k != secLane || len(b) != 4 {
		return 0, errMalformed
	}
	return le.Uint32(b), nil
}

// applyMessage keeps what only messages show when the entry that said it is
// damaged: the newest time, and numbers that are in use.
func (s *state) applyMessage(body []byte) error {
	for len(body) > 0 {
		k, b, rest, ok := nextSection(body)
		if !ok {
			return errMalformed
		}
		if k == secMeta && len(b) >= metaSize {
			s.received = max(s.received, int64(le.Uint64(b)))
		}
		if k == secRules {
			for ; len(b) >= 4; b = b[4:] {
				s.last = max(s.last, le.Uint32(b))
			}
			return nil
		}
		body = rest
	}
	return nil
}

// load takes in a whole state frame, which says all that the entries before it
// add up to. Numbers stay whatever it says: none is used twice (C16).
func (s *state) load(b []byte) error {
	head := newState()
	for len(b) > 0 {
		k, body, rest, ok := nextSection(b)
		if !ok {
			return errMalformed
		}
		if err := head.loadSection(k, body); err != nil {
			return err
		}
		b = rest
	}
	s.high, s.received, s.last = max(s.high, head.high), max(s.received, head.received), max(s.last, head.last)
	maps.Copy(s.numbers, head.numbers)
	s.cursors, s.saved, s.snapshots = head.cursors, head.saved, head.snapshots
	s.lanes = s.lanes || head.lanes
	return nil
}

func (s *state) loadSection(k byte, body []byte) error {
	switch {
	case k == secHigh && len(body) == 8:
		s.high = max(s.high, le.Uint64(body))
	case k == secReceived && len(body) == 8:
		s.received = max(s.received, int64(le.Uint64(body)))
	case k == secLast && len(body) == 4:
		s.last = max(s.last, le.Uint32(body))
	case k == secNumber:
		return s.applyNumber(body)
	case k == secCursor:
		return s.applyCursor(body)
	case k == secSaved:
		return s.applySaved(body)
	case k == secSnapshot && len(body) >= 28:
		s.loadSnapshot(body)
	}
	return nil
}

// names returns the names of one kind that have numbers.
func (s *state) names(kind string) map[string]uint32 {
	names := map[string]uint32{}
	for k, n := range s.numbers {
		if k.kind == kind {
			names[k.key] = n
		}
	}
	return names
}

// Sections of a number frame.
const (
	secNumberValue = 1 // 4 bytes
	secNumberKind  = 2
	secNumberKey   = 3
)

func appendNumber(b []byte, n uint32, k numberKey) []byte {
	b = append(b, secNumberValue, 4)
	b = le.AppendUint32(b, n)
	b = appendSection(b, secNumberKind, k.kind)
	return appendSection(b, secNumberKey, k.key)
}

func decodeNumber(b []byte) (n uint32, k numberKey, err error) {
	for len(b) > 0 {
		sec, body, rest, ok := nextSection(b)
		if !ok {
			return 0, k, errMalformed
		}
		switch {
		case sec == secNumberValue && len(body) == 4:
			n = le.Uint32(body)
		case sec == secNumberKind:
			k.kind = string(body)
		case sec == secNumberKey:
			k.key = string(body)
		}
		b = rest
	}
	if n == 0 {
		return 0, k, errMalformed
	}
	return n, k, nil
}
