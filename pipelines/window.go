package pipelines

import "github.com/penstock/penstock/internal/journal"

// An entry is one message the lane evaluated that is not settled yet.
type entry struct {
	offset   uint64
	received int64  // Unix milliseconds
	topic    uint64 // its hash, where the policy is keep_latest
	tallies  *tally // nil while rule, verdict, records and delivered say it all
	size     int32  // of its frame, 0 for a tick, which nobody is owed
	open     int32  // records not settled, and one while the message is being evaluated

	rule      int32 // index of the only rule so far, -1 before the first
	records   int32
	delivered int32
	loose     int32 // records that could be given up, while that is looked at

	due int32 // who waits for it: index in ledger.dues + 1 of the first, 0 for nobody

	before, after int32 // slots of its neighbours by offset, none at the ends
	verdict       verdict
	gap           bool // messages between the one before it and itself were settled
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

// none is no slot.
const none = -1

// A window is the messages that are not settled, in the order of their offsets:
// a list in slots that are used again. What was settled between two of them
// takes no room, so a lane may shed behind a stuck record for as long as it
// likes. A slot's number stands for its message until it is settled.
type window struct {
	slots []entry
	free  int32 // the first unused slot, linked by after; 0 with empty slots
	size  int   // entries in the list

	head, tail int32
	gap        bool // messages behind the tail were settled

	// shed is the offset below which a policy gave up what it may: what is left
	// there is in flight or of open outcome. cut is the first entry above it.
	shed uint64
	cut  int32
}

func newWindow() window { return window{free: none, head: none, tail: none, cut: none} }

func (w *window) at(slot uint64) *entry { return &w.slots[slot] }

// push appends an entry and returns its slot.
func (w *window) push(e entry) uint64 {
	slot := w.free
	if slot == none {
		slot = int32(len(w.slots))
		w.slots = append(w.slots, entry{})
	} else {
		w.free = w.slots[slot].after
	}
	e.before, e.after, e.gap = w.tail, none, w.gap
	w.slots[slot] = e
	if w.tail == none {
		w.head = slot
	} else {
		w.slots[w.tail].after = slot
	}
	w.tail, w.gap = slot, false
	if w.cut == none {
		w.cut = slot
	}
	w.size++
	return uint64(slot)
}

// pass notes that a message behind the tail was settled without an entry. Below
// the window the low offset covers it.
func (w *window) pass() { w.gap = w.size > 0 }

// owed is what a backlog holds for the entry.
func (e *entry) owed() count {
	if e.size == 0 {
		return count{}
	}
	return count{1, int64(e.size)}
}

// remove takes out a message that is settled.
func (w *window) remove(slot uint64) {
	e := &w.slots[slot]
	if w.cut == int32(slot) {
		w.cut = e.after
	}
	if e.before == none {
		w.head = e.after
	} else {
		w.slots[e.before].after = e.after
	}
	inside := e.before != none // or the low offset moves past it
	if e.after == none {
		w.tail, w.gap = e.before, inside
	} else {
		next := &w.slots[e.after]
		next.before, next.gap = e.before, inside
	}
	e.after, w.free = w.free, int32(slot)
	w.size--
}

// low returns the offset below which everything is settled; position is the
// next offset to read.
func (w *window) low(position uint64) uint64 {
	if w.size == 0 {
		return position
	}
	return w.slots[w.head].offset
}

// ranges appends the settled stretches above the low offset. Between two
// unsettled messages there is at most one, so bounding these bounds it.
func (w *window) ranges(dst []journal.Range, position uint64) []journal.Range {
	if w.size == 0 {
		return dst
	}
	from := w.slots[w.head].offset + 1
	for at := w.slots[w.head].after; at != none; at = w.slots[at].after {
		e := &w.slots[at]
		if e.gap {
			dst = append(dst, journal.Range{First: from, Last: e.offset - 1})
		}
		from = e.offset + 1
	}
	if w.gap {
		dst = append(dst, journal.Range{First: from, Last: position - 1})
	}
	return dst
}

// find returns the entry of an offset, nil for one that is not in the list.
func (w *window) find(offset uint64) *entry {
	for at := w.head; at != none; at = w.slots[at].after {
		if e := &w.slots[at]; e.offset >= offset {
			if e.offset == offset {
				return e
			}
			return nil
		}
	}
	return nil
}
