package journal

import "slices"

// facts are what is known of a segment's content without reading it: who may
// be owed something in it, and where the frames are that opening needs. The
// committer adds to those of the segment it writes, under catalog.mu; those of
// a sealed segment do not change.
type facts struct {
	count       int64  // messages
	bytes       int64  // of all frames, padding included
	first, last uint64 // offsets of the first and the last message, 0 for none
	high        uint64 // highest offset of any frame
	from, to    int64  // received of the first and of the newest message, Unix ms
	groups      []group
	other       group  // the messages whose rules found no place in groups
	stateful    int64  // frames with deliveries, a change or a retained message
	newest      uint64 // offset of the newest of them
	states      []stateMark
	unlisted    bool // states does not hold all of them
	index       []mark

	known  map[string]int // places in groups, of a segment that is being written
	room   int64          // an upper bound of what the footer's sections take
	recent int            // place in groups of the frame before
}

// A group is the messages of a segment that the same rules want.
type group struct {
	rules string // 4 bytes each, as in the frame
	count int64
	bytes int64
}

// A stateMark says where a frame is that belongs to the state outside the
// journal, or is a snapshot of it.
type stateMark struct {
	offset uint64
	at     int64 // of its block
	size   uint32
	kind   kind
}

// The bounds of what a footer lists. Beyond them messages count as owed to
// everyone, and the segment is read where a footer would do.
const (
	maxGroups = 1024
	maxStates = 4096
)

func newFacts() *facts { return &facts{known: map[string]int{}} }

// add takes in one frame; at is the position of its block.
func (x *facts) add(f []byte, at int64) {
	k := frameKind(f)
	if lone(k) {
		return
	}
	x.bytes += int64(align(len(f)))
	x.high = max(x.high, frameOffset(f))
	switch k {
	case kindMessage:
		x.message(f, at)
	case kindChange:
		x.stateful++
		x.newest = frameOffset(f)
		x.mark(f, at)
	case kindSnapshot:
		x.mark(f, at)
	default:
	}
	x.place(frameOffset(f), at)
}

func (x *facts) message(f []byte, at int64) {
	p := peek(f)
	if x.count == 0 {
		x.first, x.from = frameOffset(f), p.received
	}
	x.count++
	x.last, x.to = frameOffset(f), max(x.to, p.received)
	g := x.group(p.rules)
	g.count++
	g.bytes += int64(align(len(f)))
	if p.stateful {
		x.stateful++
		x.newest = frameOffset(f)
		x.mark(f, at)
	}
}

// group returns the group of messages that these rules want.
func (x *facts) group(rules []byte) *group {
	if x.recent < len(x.groups) && x.groups[x.recent].rules == string(rules) {
		return &x.groups[x.recent]
	}
	i, ok := x.known[string(rules)]
	if !ok && len(x.groups) >= maxGroups {
		return &x.other
	}
	if !ok {
		i = len(x.groups)
		x.groups = append(x.groups, group{rules: string(rules)})
		x.known[x.groups[i].rules] = i
		x.room += int64(32 + len(rules))
	}
	x.recent = i
	return &x.groups[i]
}

func (x *facts) mark(f []byte, at int64) {
	if len(x.states) >= maxStates {
		x.unlisted = true
		return
	}
	x.states = append(x.states, stateMark{frameOffset(f), at, uint32(align(len(f))), frameKind(f)})
	x.room += 26
}

// place notes where the block of a frame is, now and then.
func (x *facts) place(offset uint64, at int64) {
	if n := len(x.index); n == 0 || at-x.index[n-1].at >= indexBytes {
		x.index = append(x.index, mark{offset, at})
		x.room += 20
	}
}

// position returns where to begin to look for an offset.
func (x *facts) position(offset uint64) int64 {
	if k, _ := slices.BinarySearchFunc(x.index, offset, markBelow); k > 0 {
		return x.index[k-1].at
	}
	return 0
}

// seal drops what only a segment that is being written needs.
func (x *facts) seal() { x.known = nil }

// peeked is what the beginning of a message frame says.
type peeked struct {
	received int64
	rules    []byte
	stateful bool // it has deliveries, a change, or is the topic's retained one
}

// peek reads the first sections of a message frame, which are in this order.
func peek(f []byte) (p peeked) {
	k, body, rest, ok := nextSection(f[frameHead:])
	if ok && k == secMeta && len(body) >= metaSize {
		p.received = int64(le.Uint64(body))
		p.stateful = body[8]&metaRetainedSet != 0
		k, body, rest, ok = nextSection(rest)
	}
	if ok && k == secRules {
		p.rules = body
		k, _, _, ok = nextSection(rest)
	}
	p.stateful = p.stateful || ok && (k == secDeliveries || k == secChange)
	return p
}

// lone reports whether a frame of that kind is not an entry: it is alone in
// its block, its offset says nothing, and it is never void.
func lone(k kind) bool { return k == kindState || k == kindFooter }
