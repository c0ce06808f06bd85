package pipelines

import "github.com/penstock/penstock/internal/journal"

// An entry is one message the lane evaluated and whose offset its cursor has
// not passed yet.
type entry struct {
	offset  uint64
	tallies *tally // nil while rule, verdict, records and delivered say it all
	open    int32  // records not settled, and one while the message is being evaluated

	rule      int32 // index of the only rule so far, -1 before the first
	records   int32
	delivered int32
	due       int32 // who waits for it: index in ledger.dues + 1 of the first, 0 for nobody
	verdict   verdict
}

// A verdict is what a rule made of a message.
type verdict uint8

const (
	passed verdict = iota
	filtered
	filteredMissing
	failed
	ticked // no message: time went on
)

// A tally is what one rule made of a message that more than one rule wanted,
// or of which a record was not delivered.
type tally struct {
	figures figures
	rule    int32
	next    *tally
}

// A window is the entries from the oldest one that is not settled to the
// newest, by a number that counts up from 0 and never comes back: a ring that
// doubles when it is full.
type window struct {
	ring       []entry // length a power of two, or 0
	head, tail uint64  // numbers of the oldest entry and of the next one
}

func (w *window) len() int { return int(w.tail - w.head) }

func (w *window) at(seq uint64) *entry { return &w.ring[seq&uint64(len(w.ring)-1)] }

// push appends an entry and returns its number.
func (w *window) push(e entry) uint64 {
	if w.len() == len(w.ring) {
		w.grow()
	}
	seq := w.tail
	w.tail++
	*w.at(seq) = e
	return seq
}

func (w *window) grow() {
	old := *w
	w.ring = make([]entry, max(256, 2*len(old.ring)))
	for seq := old.head; seq < old.tail; seq++ {
		*w.at(seq) = *old.at(seq)
	}
}

// advance drops the settled entries at the head.
func (w *window) advance() {
	for w.head < w.tail && w.at(w.head).open == 0 {
		w.head++
	}
}

// low returns the offset below which everything is settled; position is the
// next offset to read.
func (w *window) low(position uint64) uint64 {
	if w.head == w.tail {
		return position
	}
	return w.at(w.head).offset
}

// ranges appends the settled stretches above the low offset. Between two
// unsettled messages there is at most one, so bounding these bounds it.
func (w *window) ranges(dst []journal.Range, position uint64) []journal.Range {
	var from uint64
	settled := false
	for seq := w.head; seq < w.tail; seq++ {
		e := w.at(seq)
		if e.open == 0 {
			settled = true
			continue
		}
		if settled {
			dst = append(dst, journal.Range{First: from, Last: e.offset - 1})
		}
		from, settled = e.offset+1, false
	}
	if settled {
		dst = append(dst, journal.Range{First: from, Last: position - 1})
	}
	return dst
}
