package journal

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// A Range is the offsets from First to Last, both in it.
type Range struct{ First, Last uint64 }

// A Cursor is how far a lane has settled the journal (C15).
type Cursor struct {
	Low      uint64  // all below is settled
	Settled  []Range // what is settled at or above Low, ascending, not touching
	Counters []byte  // the lane's own, opaque
	// Rules are the numbers of the rules that feed the lane: it is owed the
	// messages that one of them wants (C6). nil: all messages. A rule is in the
	// stored cursor before the first message that it wants is appended.
	Rules []uint32
	// Dropped is what the lane gave up since its last cursor, for those who ask
	// what became of a message; it is in the log only, not in the state.
	Dropped []Drop
}

// A Drop is messages of which a lane gave up records, and why.
type Drop struct {
	Reason string
	Ranges []Range
}

// clone returns a copy that shares nothing.
func (c Cursor) clone() Cursor {
	return Cursor{
		Low: c.Low, Settled: slices.Clone(c.Settled), Counters: slices.Clone(c.Counters),
		Rules: slices.Clone(c.Rules),
	}
}

// check reports what is wrong with a cursor: it may speak only of offsets that
// are stored (C2), in order.
func (c *Cursor) check(stored uint64) error {
	if c.Low > stored+1 {
		return fmt.Errorf("store cursor: low %d is above the stored offset %d", c.Low, stored)
	}
	if err := checkRanges(c.Settled, c.Low, stored); err != nil {
		return fmt.Errorf("store cursor: %w", err)
	}
	for _, d := range c.Dropped {
		if err := checkRanges(d.Ranges, 0, stored); err != nil {
			return fmt.Errorf("store cursor: dropped, %s: %w", d.Reason, err)
		}
	}
	return nil
}

func checkRanges(ranges []Range, at, stored uint64) error {
	for _, r := range ranges {
		if r.First < at || r.Last < r.First || r.Last > stored {
			return fmt.Errorf("range %d-%d is out of order or above the stored offset %d", r.First, r.Last, stored)
		}
		at = r.Last + 1
	}
	return nil
}

// Sections of a cursor frame.
const (
	secLane     = 1 // 4 bytes
	secLow      = 2 // 8 bytes
	secSettled  = 3 // uvarints: gap before the range, its length - 1
	secCounters = 4
	secFedBy    = 5 // 4 bytes each: the lane's rules; empty but there: none
	secDropped  = 6 // uvarint length of a reason, the reason, ranges as in secSettled
)

func appendCursor(b []byte, lane uint32, c *Cursor) []byte {
	b = append(b, secLane, 4)
	b = le.AppendUint32(b, lane)
	b = append(b, secLow, 8)
	b = le.AppendUint64(b, c.Low)
	if len(c.Settled) > 0 {
		b = appendSectionBytes(b, secSettled, appendRanges(nil, c.Low, c.Settled))
	}
	if c.Counters != nil {
		b = appendSectionBytes(b, secCounters, c.Counters)
	}
	if c.Rules != nil {
		b = append(b, secFedBy)
		b = binary.AppendUvarint(b, uint64(4*len(c.Rules)))
		for _, r := range c.Rules {
			b = le.AppendUint32(b, r)
		}
	}
	for i := range c.Dropped {
		b = appendSectionBytes(b, secDropped, c.Dropped[i].appendTo(nil))
	}
	return b
}

func (d *Drop) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(d.Reason)))
	b = append(b, d.Reason...)
	return appendRanges(b, 0, d.Ranges)
}

func decodeDrop(b []byte) (d Drop, err error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return d, errMalformed
	}
	d.Reason = string(b[w : w+int(n)])
	d.Ranges, err = decodeRanges(b[w+int(n):], 0)
	return d, err
}

func appendRanges(b []byte, at uint64, ranges []Range) []byte {
	for _, r := range ranges {
		b = binary.AppendUvarint(b, r.First-at)
		b = binary.AppendUvarint(b, r.Last-r.First)
		at = r.Last + 1
	}
	return b
}

// decodeCursor reads a cursor frame's sections; what it returns shares nothing
// with b.
func decodeCursor(b []byte) (lane uint32, c Cursor, err error) {
	var ranges []byte
	for len(b) > 0 {
		k, body, rest, ok := nextSection(b)
		if !ok {
			return 0, c, errMalformed
		}
		switch {
		case k == secLane && len(body) == 4:
			lane = le.Uint32(body)
		case k == secSettled:
			ranges = body
		default:
			if err := c.set(k, body); err != nil {
				return 0, c, err
			}
		}
		b = rest
	}
	if lane == 0 {
		return 0, c, errMalformed
	}
	c.Settled, err = decodeRanges(ranges, c.Low)
	return lane, c, err
}

// set takes in one section that needs no other.
func (c *Cursor) set(k byte, body []byte) error {
	switch {
	case k == secLow && len(body) == 8:
		c.Low = le.Uint64(body)
	case k == secCounters:
		c.Counters = append([]byte{}, body...)
	case k == secFedBy && len(body)%4 == 0:
		c.Rules = decodeNumbers(body)
	case k == secDropped:
		d, err := decodeDrop(body)
		if err != nil {
			return err
		}
		c.Dropped = append(c.Dropped, d)
	}
	return nil
}

// decodeNumbers reads numbers of 4 bytes each; none is not nil.
func decodeNumbers(b []byte) []uint32 {
	list := make([]uint32, 0, len(b)/4)
	for ; len(b) >= 4; b = b[4:] {
		list = append(list, le.Uint32(b))
	}
	return list
}

func decodeRanges(b []byte, at uint64) ([]Range, error) {
	var ranges []Range
	for len(b) > 0 {
		gap, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errMalformed
		}
		length, m := binary.Uvarint(b[n:])
		first, last := at+gap, at+gap+length
		if m <= 0 || first < at || last < first || last+1 == 0 {
			return nil, errMalformed
		}
		ranges = append(ranges, Range{first, last})
		at, b = last+1, b[n+m:]
	}
	return ranges, nil
}

// Cursor returns the stored cursor of a lane; false when it never had one.
func (j *Journal) Cursor(lane uint32) (Cursor, bool) {
	j.stateMu.Lock()
	defer j.stateMu.Unlock()
	c, ok := j.state.cursors[lane]
	return c.clone(), ok
}

// Cursors returns the stored cursors of all lanes, also of those whose sink is
// gone (C16).
func (j *Journal) Cursors() map[uint32]Cursor {
	j.stateMu.Lock()
	defer j.stateMu.Unlock()
	all := make(map[uint32]Cursor, len(j.state.cursors))
	for lane, c := range j.state.cursors {
		all[lane] = c.clone()
	}
	return all
}

// StoreCursor appends a lane's cursor, which is stored once Stored() reaches
// the returned offset. It never waits, and may use the tenth of the bound that
// is kept for what frees space (C7). Lane is a number from Number("lane", ...).
func (j *Journal) StoreCursor(lane uint32, c Cursor) (offset uint64, err error) {
	if err := c.check(j.stored.Load()); err != nil {
		return 0, err
	}
	return j.appendState(kindCursor, appendCursor(nil, lane, &c), false)
}
