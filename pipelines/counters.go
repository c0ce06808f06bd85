package pipelines

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/penstock/penstock/internal/journal"
)

// countersVersion is the first byte of a cursor's counters:
//
//	version 2 | rules n | n times: rule number, fields k, k figures
//	          | feeds n | n times: rule number, gaps g, g times: first, length, 0 for one without an end
//
// All but the version are uvarints. Feeds are the rules that feed the lane
// (C16). A reader ignores fields it does not know and takes missing ones as
// zero. Version 1 has no feeds.
const (
	countersVersion     = 2
	countersWithoutFeed = 1
)

// maxRuleNumber is more than a journal gives out: a larger one is no number.
const maxRuleNumber = 1 << 22

var errCounters = errors.New("counters are cut short")

// counters are what a lane keeps in its cursor beside offsets.
type counters struct {
	rules    []ruleFigures
	feeds    []feed
	hasFeeds bool
}

type ruleFigures struct {
	number  uint32
	figures figures
}

// A feed is a rule that feeds the lane, except at some offsets.
type feed struct {
	number uint32
	gaps   []journal.Range
}

// appendCounters appends the counters of every rule that counted something,
// and all that feed the lane.
func appendCounters(dst []byte, rules []ruleState) []byte {
	n := 0
	for i := range rules {
		if rules[i].settled != (figures{}) {
			n++
		}
	}
	dst = append(dst, countersVersion)
	dst = binary.AppendUvarint(dst, uint64(n))
	for i := range rules {
		if rules[i].settled != (figures{}) {
			dst = appendFigures(dst, rules[i].number, &rules[i].settled)
		}
	}
	return appendFeeds(dst, rules)
}

func appendFigures(dst []byte, rule uint32, f *figures) []byte {
	fields := f.fields()
	dst = binary.AppendUvarint(dst, uint64(rule))
	dst = binary.AppendUvarint(dst, uint64(len(fields)))
	for _, v := range fields {
		dst = binary.AppendUvarint(dst, *v)
	}
	return dst
}

func appendFeeds(dst []byte, rules []ruleState) []byte {
	n := 0
	for i := range rules {
		if rules[i].state != unfed {
			n++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	for i := range rules {
		r := &rules[i]
		if r.state == unfed {
			continue
		}
		gaps := r.gaps
		if n := len(gaps) - 1; r.joining && gaps[n].Last < gaps[n].First {
			gaps = gaps[:n] // empty so far, which has no form here
		}
		dst = binary.AppendUvarint(dst, uint64(r.number))
		dst = binary.AppendUvarint(dst, uint64(len(gaps)))
		for _, g := range gaps {
			dst = binary.AppendUvarint(dst, g.First)
			dst = binary.AppendUvarint(dst, g.Last-g.First+1) // 0: for ever, or from 0 to for ever
		}
	}
	return dst
}

// decode reads what a cursor holds. What comes before a mistake is kept.
func (c *counters) decode(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	version := b[0]
	if version != countersVersion && version != countersWithoutFeed {
		return fmt.Errorf("counters have version %d, not %d", version, countersVersion)
	}
	d := varints{b[1:]}
	n, ok := d.next()
	for ; ok && n > 0; n-- {
		var r ruleFigures
		if r.number, ok = d.number(); ok {
			if ok = d.figures(&r.figures); ok {
				c.rules = append(c.rules, r)
			}
		}
	}
	if ok && version == countersVersion {
		ok = c.decodeFeeds(&d)
	}
	if !ok {
		return errCounters
	}
	return nil
}

func (c *counters) decodeFeeds(d *varints) bool {
	n, ok := d.next()
	for ; ok && n > 0; n-- {
		var f feed
		if f.number, ok = d.number(); ok {
			if f.gaps, ok = d.gaps(); ok {
				c.feeds = append(c.feeds, f)
			}
		}
	}
	c.hasFeeds = ok
	return ok
}

type varints struct{ b []byte }

func (d *varints) next() (uint64, bool) {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		return 0, false
	}
	d.b = d.b[n:]
	return v, true
}

// number reads a rule's number.
func (d *varints) number() (uint32, bool) {
	v, ok := d.next()
	return uint32(v), ok && v <= maxRuleNumber
}

func (d *varints) figures(f *figures) bool {
	fields := f.fields()
	k, ok := d.next()
	for i := uint64(0); ok && i < k; i++ {
		var v uint64
		if v, ok = d.next(); ok && i < uint64(len(fields)) {
			*fields[i] = v
		}
	}
	return ok
}

func (d *varints) gaps() (gaps []journal.Range, ok bool) {
	n, ok := d.next()
	for ; ok && n > 0; n-- {
		var first, length uint64
		if first, ok = d.next(); !ok {
			break
		}
		if length, ok = d.next(); ok {
			g := journal.Range{First: first, Last: first + length - 1}
			if length == 0 {
				g.Last = forEver
			}
			gaps = append(gaps, g)
		}
	}
	return slices.Clip(gaps), ok
}
