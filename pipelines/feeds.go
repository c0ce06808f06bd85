package pipelines

import (
	"math"
	"slices"

	"github.com/penstock/penstock/internal/journal"
)

// A feedState is whether a lane gets what a rule wants (C16).
type feedState uint8

const (
	unfed   feedState = iota // nothing that it wanted is the lane's
	fed                      // the evaluator has it
	retired                  // the evaluator has it no more; what the lane still owes it are dead letters
)

// forEver is the end of a gap that nothing ended yet.
const forEver = math.MaxUint64

// A ruleState is what a ledger knows of one rule.
//
// A rule's number in a message's header says that the rule wanted it, not that
// the lane did: its output to the lane's sink may be younger, or be gone again.
// The offsets at which it was so are gaps.
type ruleState struct {
	number  uint32
	dirty   bool
	plain   bool // fed, without a gap
	state   feedState
	joining bool            // the last gap ends where SwapRules will say
	gaps    []journal.Range // ascending
	live    figures
	settled figures // of settled messages only: what the cursor holds
}

// owed reports whether a message that the rule wanted is the lane's.
func (r *ruleState) owed(offset uint64) bool {
	return r.state != unfed && !slices.ContainsFunc(r.gaps, func(g journal.Range) bool {
		return g.First <= offset && offset <= g.Last
	})
}

// left reports whether a retired rule knows where it was removed.
func (r *ruleState) left() bool { return len(r.gaps) > 0 && r.gaps[len(r.gaps)-1].Last == forEver }

// join feeds the lane again or for the first time, from at on or later.
func (r *ruleState) join(at uint64) {
	switch {
	case r.state == unfed:
		r.gaps, r.joining = []journal.Range{{Last: at - 1}}, true
	case r.left():
		r.gaps[len(r.gaps)-1].Last, r.joining = at-1, true
	}
	r.state = fed
}

// enter returns the index of a rule, which is made when it is new. Numbers are
// small: the journal gives them out from 1 on.
func (l *ledger) enter(number uint32) int32 {
	if i := l.find(number); i >= 0 {
		return i
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rules = append(l.rules, ruleState{number: number})
	l.public = append(l.public, figures{})
	i := int32(len(l.rules) - 1)
	l.register(number, i)
	return i
}

func (l *ledger) register(number uint32, i int32) {
	if n := int(number) + 1 - len(l.index); n > 0 {
		l.index = append(l.index, make([]int32, n)...)
	}
	l.index[number] = i + 1
}

// begins says that all of a new lane's rules feed it from its first message on.
func (l *ledger) begins(numbers []uint32) {
	for _, n := range numbers {
		l.rules[l.enter(n)].state = fed
	}
	l.refeed()
}

// announce takes over a rule set: rules that are new join at the offset at, or
// later; those that are gone are retired. It reports whether there are any.
func (l *ledger) announce(numbers []uint32, at uint64) (changed bool) {
	present := make(map[uint32]bool, len(numbers))
	for _, n := range numbers {
		present[n] = true
		if r := &l.rules[l.enter(n)]; r.state != fed {
			r.join(at)
			changed = true
		}
	}
	for i := range l.rules {
		if r := &l.rules[i]; r.state == fed && !present[r.number] {
			r.state = retired
			changed = true
		}
	}
	l.refeed()
	return changed
}

// proceed says that what was accepted from an offset on is of the announced
// rule set, and what was accepted before is not.
func (l *ledger) proceed(from uint64) {
	for i := range l.rules {
		r := &l.rules[i]
		switch {
		case r.state == retired && !r.left():
			r.gaps = append(r.gaps, journal.Range{First: from, Last: forEver})
		case r.joining:
			g := &r.gaps[len(r.gaps)-1]
			g.Last = max(g.Last, from-1)
			if g.Last < g.First {
				r.gaps = r.gaps[:len(r.gaps)-1]
			}
		}
		r.joining = false
	}
	l.refeed()
}

// pass forgets what only mattered below the low offset: gaps, and retired
// rules of which nothing is left.
func (l *ledger) pass(low uint64) {
	if l.plain {
		return
	}
	if l.again > 0 {
		low = min(low, l.again) // by the same rules as then
	}
	for i := range l.rules {
		r := &l.rules[i]
		if r.state == retired && r.left() && low >= r.gaps[len(r.gaps)-1].First {
			r.state, r.gaps = unfed, nil
		}
		if !r.joining {
			r.gaps = slices.DeleteFunc(r.gaps, func(g journal.Range) bool { return g.Last < low })
		}
	}
	l.refeed()
}

// refeed notes which rules feed the lane, for the next cursor.
func (l *ledger) refeed() {
	l.feeding, l.plain = nil, true
	for i := range l.rules {
		r := &l.rules[i]
		r.plain = r.state == fed && len(r.gaps) == 0
		if r.state != unfed {
			l.feeding = append(l.feeding, r.number)
			l.plain = l.plain && r.plain
		}
	}
	slices.Sort(l.feeding)
	l.feeds++
}
