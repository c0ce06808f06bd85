package deadletter

import (
	"slices"

	"github.com/penstock/penstock/internal/linefile"
)

// The parts' names, with which their files begin.
const (
	refusedName    = "refused"
	ruleErrorsName = "rule-errors"
)

// maxSegment is how large a file gets before another one begins; a small part
// has smaller files, so that it gives way in small steps.
const (
	maxSegment      = 8 << 20
	segmentsPerPart = 8
)

// A part is the letters that share a bound.
type part struct {
	name     string
	dir      string
	bound    int64
	groups   *groups
	segments []*segment     // by number
	active   *linefile.File // the last segment's, nil while it is not open
	floor    uint64         // segments of lower numbers take no more letters
}

// of returns the part letters of a kind belong to.
func (p *parts) of(k Kind) *part {
	if k == RuleError {
		return &p.ruleErrors
	}
	return &p.refused
}

// parts are both of them.
type parts struct {
	refused, ruleErrors part
	groups              groups
}

func newParts(dir string, refused, ruleErrors int64) *parts {
	p := &parts{groups: groups{index: make(map[groupKey]uint32), names: make(names)}}
	p.refused = part{name: refusedName, dir: dir, bound: refused, groups: &p.groups}
	p.ruleErrors = part{name: ruleErrorsName, dir: dir, bound: ruleErrors, groups: &p.groups}
	return p
}

func (p *parts) both() [2]*part { return [...]*part{&p.refused, &p.ruleErrors} }

// named returns the part whose files begin with name.
func (p *parts) named(name string) *part {
	if name == ruleErrorsName {
		return &p.ruleErrors
	}
	return &p.refused
}

// next returns the number after the highest one there is a trace of.
func (p *parts) next() uint64 {
	next := uint64(1)
	for _, q := range p.both() {
		if n := len(q.segments); n > 0 {
			g := q.segments[n-1]
			next = max(next, g.first, g.last()+1)
			if g.unreadable { // no letter is shorter than this
				next = max(next, g.first+uint64(g.size)/64+1)
			}
		}
	}
	return next
}

// find returns the segment and the index of a letter.
func (p *parts) find(seq uint64) (*segment, int, bool) {
	for _, q := range p.both() {
		if g := q.holder(seq); g != nil {
			if i, ok := g.find(seq); ok {
				return g, i, true
			}
		}
	}
	return nil, 0, false
}

// holder returns the segment that letter seq would be in, nil for none.
func (q *part) holder(seq uint64) *segment {
	i, exact := slices.BinarySearchFunc(q.segments, seq, func(g *segment, seq uint64) int {
		switch {
		case g.first < seq:
			return -1
		case g.first > seq:
			return 1
		}
		return 0
	})
	switch {
	case exact:
		return q.segments[i]
	case i > 0:
		return q.segments[i-1]
	}
	return nil
}

// bytes is what the part takes on disk.
func (q *part) bytes() int64 {
	var n int64
	for _, g := range q.segments {
		n += g.bytes()
	}
	return n
}

func (q *part) letters() int {
	n := 0
	for _, g := range q.segments {
		n += g.live
	}
	return n
}

// oldest returns the segment and the index of the oldest letter.
func (q *part) oldest() (*segment, int, bool) {
	for _, g := range q.segments {
		if g.live == 0 {
			continue
		}
		for i := range g.entries {
			if !g.isGone(i) {
				return g, i, true
			}
		}
	}
	return nil, 0, false
}

func (q *part) segmentBytes() int64 { return min(maxSegment, q.bound/segmentsPerPart) }

// last returns the newest segment, nil for none.
func (q *part) newest() *segment {
	if len(q.segments) == 0 {
		return nil
	}
	return q.segments[len(q.segments)-1]
}

// seal ends the segment that letters are added to.
func (q *part) seal() error {
	if q.active == nil {
		return nil
	}
	err := q.active.Close()
	q.active = nil
	return err
}
