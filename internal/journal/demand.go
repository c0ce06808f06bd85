package journal

import (
	"math"
	"slices"
)

// A demand is what the journal still owes, as of one moment: what somebody
// needs of it. For segments that are sealed it only ever shrinks: a new lane
// starts now, a rule sees no older messages (C16), and what the state refers
// to it referred to before. So a decision made by one stays right.
type demand struct {
	lanes []claim
	none  bool // no lane has ever stored a cursor: everything some rule wants is owed
	// needs: messages from this offset on are needed to build a state anew from
	// a checkpoint (C21); MaxUint64 for none.
	needs uint64
	// floor: what goes into the state outside the journal is needed above it,
	// as a snapshot has what is below (C5).
	floor     uint64
	snapshots map[uint64]bool   // offsets of those that count
	refers    func(uint64) bool // nil: no state outside the journal
}

// A claim is what one lane is owed.
type claim struct {
	low     uint64
	settled []Range
	rules   map[uint32]struct{} // nil: everything from low on
}

// demand returns what is owed by what is stored now.
func (j *Journal) demand() *demand {
	j.stateMu.Lock()
	defer j.stateMu.Unlock()
	d := &demand{none: !j.state.lanes, needs: j.state.needs(), floor: math.MaxUint64}
	for _, c := range j.state.cursors {
		d.lanes = append(d.lanes, newClaim(c))
	}
	if j.external != nil {
		d.refers = j.external.Refers
		d.floor = j.state.floor(j.external.Shards())
		d.snapshots = map[uint64]bool{}
		for _, s := range j.state.snapshots {
			d.snapshots[s.offset] = true
		}
	}
	return d
}

// newClaim is what a cursor leaves its lane owed. The cursors of the state are
// replaced, never changed, so that it may share their ranges.
func newClaim(c Cursor) claim {
	l := claim{low: c.Low, settled: c.Settled}
	if c.Rules != nil {
		l.rules = make(map[uint32]struct{}, len(c.Rules))
		for _, r := range c.Rules {
			l.rules[r] = struct{}{}
		}
	}
	return l
}

// open reports whether some message of the segment is not settled.
func (l *claim) open(x *facts) bool {
	if x.count == 0 || l.low > x.last {
		return false
	}
	first := max(l.low, x.first)
	i := l.rangeAt(first)
	return i == len(l.settled) || l.settled[i].First > first || l.settled[i].Last < x.last
}

// partly reports whether some message of the segment is settled and some is
// not, so that facts alone don't say how much is owed.
func (l *claim) partly(x *facts) bool {
	if !l.open(x) {
		return false
	}
	i := l.rangeAt(x.first)
	return l.low > x.first || i < len(l.settled) && l.settled[i].First <= x.last
}

// rangeAt is the index of the first settled range that ends at or above an
// offset.
func (l *claim) rangeAt(offset uint64) int {
	i, _ := slices.BinarySearchFunc(l.settled, offset, func(r Range, o uint64) int {
		if r.Last < o {
			return -1
		}
		return 1
	})
	return i
}

// settledAt reports whether the lane has settled an offset.
func (l *claim) settledAt(offset uint64) bool {
	if offset < l.low {
		return true
	}
	i := l.rangeAt(offset)
	return i < len(l.settled) && l.settled[i].First <= offset
}

// feeds reports whether one of the rules, 4 bytes each, feeds the lane.
func (l *claim) feeds(rules string) bool {
	if l.rules == nil {
		return true
	}
	for ; len(rules) >= 4; rules = rules[4:] {
		n := uint32(rules[0]) | uint32(rules[1])<<8 | uint32(rules[2])<<16 | uint32(rules[3])<<24
		if _, ok := l.rules[n]; ok {
			return true
		}
	}
	return false
}

// owes reports whether somebody may need a frame of the segment. It errs on
// the side of yes.
func (d *demand) owes(x *facts) bool {
	if d.none && x.wanted() || d.needs <= x.high {
		return true
	}
	for i := range d.lanes {
		if l := &d.lanes[i]; l.open(x) && l.some(x) {
			return true
		}
	}
	return d.state(x)
}

// wanted reports whether a rule wants any of it.
func (x *facts) wanted() bool {
	return x.other.count > 0 || slices.ContainsFunc(x.groups, func(g group) bool { return g.rules != "" })
}

// some reports whether a group of the segment feeds the lane.
func (l *claim) some(x *facts) bool {
	return x.other.count > 0 || slices.ContainsFunc(x.groups, func(g group) bool { return l.feeds(g.rules) })
}

// state reports whether the state outside the journal needs a frame.
func (d *demand) state(x *facts) bool {
	if d.refers == nil || x.stateful == 0 && len(x.states) == 0 {
		return false
	}
	return x.newest > d.floor || x.unlisted || slices.ContainsFunc(x.states, d.mark)
}

// mark reports whether a frame that is listed is needed for the state.
func (d *demand) mark(m stateMark) bool {
	if d.refers == nil {
		return false
	}
	if m.kind == kindSnapshot {
		return d.snapshots[m.offset]
	}
	return m.offset > d.floor || d.refers(m.offset)
}

// bytes is an upper bound of what of a segment is needed.
func (d *demand) bytes(x *facts) int64 {
	if !d.owes(x) {
		return 0
	}
	if x.unlisted && d.refers != nil {
		return x.bytes
	}
	return min(d.messages(x)+d.states(x), x.bytes)
}

// messages is an upper bound of what the messages take that a lane or a
// checkpoint is owed.
func (d *demand) messages(x *facts) (n int64) {
	open := d.opened(x)
	if d.needs <= x.high {
		return x.bytes
	}
	for i := range x.groups {
		g := &x.groups[i]
		if d.none && g.rules != "" || slices.ContainsFunc(open, func(l *claim) bool { return l.feeds(g.rules) }) {
			n += g.bytes
		}
	}
	if d.none || len(open) > 0 {
		n += x.other.bytes
	}
	return n
}

// states is what the listed frames take that the state outside the journal
// needs.
func (d *demand) states(x *facts) (n int64) {
	for _, m := range x.states {
		if d.mark(m) {
			n += int64(m.size)
		}
	}
	return n
}

// opened is the lanes that have not settled all of the segment.
func (d *demand) opened(x *facts) (open []*claim) {
	for i := range d.lanes {
		if d.lanes[i].open(x) {
			open = append(open, &d.lanes[i])
		}
	}
	return open
}

// partly reports whether a lane is in the middle of the segment.
func (d *demand) partly(x *facts) bool {
	return slices.ContainsFunc(d.lanes, func(l claim) bool { return l.partly(x) })
}

// wants reports whether somebody needs this very frame.
func (d *demand) wants(f []byte) bool {
	offset := frameOffset(f)
	switch frameKind(f) {
	case kindMessage:
		p := peek(f)
		return d.owed(offset, string(p.rules)) || p.stateful && d.mark(stateMark{offset: offset, kind: kindMessage})
	case kindChange, kindSnapshot:
		return d.mark(stateMark{offset: offset, kind: frameKind(f)})
	case kindTick:
		return d.none || d.needs <= offset || d.behind(offset)
	default:
		return false // what it said is in the head of every later segment
	}
}

// behind reports whether some lane has not come to an offset.
func (d *demand) behind(offset uint64) bool {
	return slices.ContainsFunc(d.lanes, func(l claim) bool { return l.low <= offset })
}

// owed reports whether a message is owed to a lane or to a checkpoint.
func (d *demand) owed(offset uint64, rules string) bool {
	if d.needs <= offset || d.none && rules != "" {
		return true
	}
	for i := range d.lanes {
		if l := &d.lanes[i]; !l.settledAt(offset) && l.feeds(rules) {
			return true
		}
	}
	return false
}
