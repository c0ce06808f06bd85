package crashtest_test

import "fmt"

// expected are the messages that a lane is owed: stored, wanted, and not
// taken by damage.
func (w *world) expected(lane int) []*given {
	stored := w.journal.Stored()
	var list []*given
	for _, g := range w.given {
		there := g.fate == kept || g.life == w.life && g.id.Offset <= stored
		if there && g.of[lane] == owed && (lane == len(lanes) || w.wanted(g, lane)) {
			list = append(list, g)
		}
	}
	return list
}

// behind says what a lane has not done yet, "" when all is settled and the
// stored cursor says so.
func (w *world) behind(lane int) string {
	total := w.runs[lane].lane.Account().Total()
	if total.Pending > 0 {
		return fmt.Sprintf("%d records are pending", total.Pending)
	}
	c, _ := w.journal.Cursor(w.number[lane])
	for _, g := range w.expected(lane) {
		if !covers(c, g.id.Offset) {
			return fmt.Sprintf("its stored cursor, low %d, does not cover message %d at offset %d (stored %d)", c.Low, g.serial, g.id.Offset, w.journal.Stored())
		}
	}
	return ""
}

// delivered reports whether every lane is done with everything.
func (w *world) delivered() bool {
	for i := range lanes {
		if w.behind(i) != "" {
			return false
		}
	}
	c, _ := w.journal.Cursor(w.number[len(lanes)])
	for _, g := range w.expected(len(lanes)) {
		if !covers(c, g.id.Offset) {
			return false
		}
	}
	return true
}

// owing says who is behind, for people.
func (w *world) owing() string {
	s := ""
	for i := range lanes {
		s += lanes[i] + ": " + w.behind(i) + "; "
	}
	return fmt.Sprintf("%saudit at %d; journal %+v", s, w.auditor.next, w.journal.Stats())
}

// checkFinished: in the end everything kept is settled everywhere, and was
// seen by the audit.
func (w *world) checkFinished() {
	read := map[int]bool{}
	for _, serial := range w.auditor.read {
		read[serial] = true
	}
	for i := range w.number {
		c, _ := w.journal.Cursor(w.number[i])
		for _, g := range w.expected(i) {
			switch {
			case !covers(c, g.id.Offset):
				w.fail("I1: in the end lane %d has not settled message %d at offset %d", i, g.serial, g.id.Offset)
			case i == len(lanes) && !read[g.serial]:
				w.fail("I1: the audit never read message %d at offset %d", g.serial, g.id.Offset)
			}
		}
	}
	w.count()
}

func (w *world) count() {
	for _, g := range w.given {
		if g.fate == kept {
			w.tally.messages++
		}
	}
	for _, d := range w.destinations {
		w.tally.records += len(d.seen)
		w.tally.copies += len(d.arrivals) - len(d.seen)
	}
	w.tally.letters += len(w.book.ever)
}
