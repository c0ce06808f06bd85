package crashtest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
)

func covers(c journal.Cursor, offset uint64) bool {
	return offset < c.Low || slices.ContainsFunc(c.Settled, func(r journal.Range) bool {
		return r.First <= offset && offset <= r.Last
	})
}

// checkOpened compares what a life finds with what was promised before.
func (w *world) checkOpened(trace uint64) {
	if w.opened <= trace {
		w.fail("C2: offsets from %d on will be given out, and the disk has a trace of %d", w.opened, trace)
	}
	found := w.scan()
	if w.failed() != nil {
		return
	}
	w.resolve(found)
	lost := w.checkLanes(found)
	lost += w.checkAudit(found)
	if w.tally.damages == 0 {
		w.checkQueues(found)
	}
	damaged := w.journal.Stats().Damaged
	switch {
	case w.tally.damages == 0 && damaged > 0:
		w.fail("I4: a crash alone, and %d regions count as damaged", damaged)
	case lost > 0 && damaged == 0 && !w.damage.cut: // of an end that is gone nothing need be left to count
		w.fail("I4: %d messages are lost by damage that is not counted: %v", lost, w.damage)
	}
	w.tally.lost += lost
}

// scan reads the whole journal and checks each message; it returns the
// serials that are there.
func (w *world) scan() map[int]bool {
	found := map[int]bool{}
	r := w.journal.NewReader(1)
	defer r.Close()
	var m message.Message
	last, received := uint64(0), int64(0)
	for {
		f, ok, err := r.TryNext()
		if err != nil {
			w.fail("read: %v", err)
		}
		if !ok || err != nil {
			return found
		}
		if err := f.Message(&m); err != nil {
			w.fail("decode offset %d: %v", f.Offset(), err)
			return found
		}
		g := w.bySerial[serialOf(m.Payload)]
		if g == nil || !w.same(g, f, &m) {
			m.Payload = m.Payload[:min(len(m.Payload), 20)]
			w.fail("offset %d holds what was never published: %+v for rules %d; expected %+v", f.Offset(), m, f.Rules(nil), g)
			return found
		}
		if f.Offset() <= last || m.Received < received {
			w.fail("C21: offset %d received %d comes after %d received %d", f.Offset(), m.Received, last, received)
		}
		last, received = f.Offset(), m.Received
		found[g.serial] = true
	}
}

// same reports whether a frame holds the message it should.
func (w *world) same(g *given, f journal.Frame, m *message.Message) bool {
	want := w.entry(g)
	return m.ID == g.id && bytes.Equal(m.Payload, want.Message.Payload) && m.Client == want.Message.Client &&
		m.Topic == want.Message.Topic && m.QoS == g.qos && m.Retain == want.Message.Retain &&
		f.PacketID() == g.packet && slices.Equal(f.Rules(nil), want.Rules) &&
		slices.Equal(f.Deliveries(nil), want.Deliveries) &&
		slices.Equal(m.Properties.UserProperties, want.Message.Properties.UserProperties)
}

// resolve decides what became of the messages of the lives before: what was
// told to be stored is, and the rest is kept up to some offset and gone above.
func (w *world) resolve(found map[int]bool) {
	told := w.toldBefore
	var highest, lowest *given
	for _, g := range w.given {
		if g.fate != unsure || g.life == w.life {
			continue
		}
		there := found[g.serial] || g.id.Offset <= told
		switch {
		case there:
			g.fate = kept
			if highest == nil || g.id.Offset > highest.id.Offset {
				highest = g
			}
		default:
			g.fate = gone
			if lowest == nil || g.id.Offset < lowest.id.Offset {
				lowest = g
			}
		}
	}
	if w.damage == nil && highest != nil && lowest != nil && highest.id.Offset > lowest.id.Offset {
		w.fail("C3: offset %d is there and %d, which was not synced, is not", highest.id.Offset, lowest.id.Offset)
	}
	for i, d := range w.destinations {
		for _, a := range d.arrivals {
			if g := w.byID[a.message]; g != nil && g.fate == gone {
				w.fail("C2: lane %s delivered offset %d, which was not stored", lanes[i], a.message.Offset)
			}
		}
	}
}

// checkLanes looks at every message that every lane is owed: it is settled
// where the lane's stored cursor says so, and readable everywhere else (I1,
// I2). It returns how many damage took.
func (w *world) checkLanes(found map[int]bool) (lost int) {
	w.readLetters()
	for i := range lanes {
		c, ok := w.journal.Cursor(w.number[i])
		for _, g := range w.given {
			switch {
			case g.fate != kept || g.of[i] == void || !w.wanted(g, i):
			case !ok:
				w.fail("C15: lane %s has no cursor, and message %d at offset %d is owed to it", lanes[i], g.serial, g.id.Offset)
			case g.settled(i, c):
				w.checkSettled(g, i)
				if !found[g.serial] { // a later cursor need not speak of it
					g.of[i] = counted
				}
			case !found[g.serial]:
				lost += w.missing(g, i)
			}
		}
	}
	return lost
}

// missing is a message that a lane has not settled by its stored cursor, and
// that is not there. The journal let it go when a cursor said that it was
// settled, of which later ones need not speak; or damage took it, or took the
// cursor, so that nobody knows whether it was counted.
func (w *world) missing(g *given, lane int) (lost int) {
	switch {
	case w.isSettled(g, lane):
		g.of[lane] = counted
		if w.tally.damages > 0 || w.tight {
			w.unknown[lane]++
		}
	case w.damage != nil && w.damage.took[g.serial]:
		g.of[lane] = void
		lost = 1
	default:
		w.fail("I1: message %d at offset %d was stored, lane %d has not settled it, and it is gone (acknowledged: %t)",
			g.serial, g.id.Offset, lane, g.stored)
	}
	return lost
}

// wanted reports whether a rule that wants the message feeds the lane.
func (w *world) wanted(g *given, lane int) bool {
	return slices.ContainsFunc(topics[g.topic].rules, func(r int) bool { return slices.Contains(rules[r].lanes, lane) })
}

// checkSettled: what a stored cursor covers is at its destination, or a
// durable letter (I2).
func (w *world) checkSettled(g *given, lane int) {
	if !w.isSettled(g, lane) {
		w.fail("I2: the cursor of lane %s covers message %d at offset %d, which is not settled: %s", lanes[lane], g.serial, g.id.Offset, w.unsettled(g, lane))
	}
}

// isSettled reports whether everything a lane makes of a message is where it
// belongs.
func (w *world) isSettled(g *given, lane int) bool {
	if lane == len(lanes) {
		return slices.Contains(w.auditor.read, g.serial)
	}
	for _, r := range topics[g.topic].rules {
		if slices.Contains(rules[r].lanes, lane) && !w.isRuleSettled(g, r, lane) {
			return false
		}
	}
	return true
}

// unsettled says what is missing, for people.
func (w *world) unsettled(g *given, lane int) string {
	for _, r := range topics[g.topic].rules {
		if slices.Contains(rules[r].lanes, lane) && !w.isRuleSettled(g, r, lane) {
			return fmt.Sprintf("rule %s makes %v of it; %d letters, %+v", rules[r].name, wordOf(g.serial, r), len(w.book.there), w.letters.Stats())
		}
	}
	return ""
}

func (w *world) isRuleSettled(g *given, rule, lane int) bool {
	id := func(output int) string { return w.recordID(g, rule, lane, output) }
	count := w.destinations[lane].count
	switch wordOf(g.serial, rule) {
	case wordOK:
		return count[id(1)] > 0
	case wordTwice:
		return count[id(1)] > 0 && count[id(2)] > 0
	case wordPoison:
		return w.book.refused(id(1))
	case wordError:
		return w.book.failed(id(9)) || w.lossy
	}
	return true
}

func (w *world) recordID(g *given, rule, lane, output int) string {
	return string(message.AppendRecordID(nil, g.id, w.numbers[rule], outputOf(lane, output)))
}

// checkAudit: the audit goes on where its cursor says, and what it has not
// read is there.
func (w *world) checkAudit(found map[int]bool) (lost int) {
	c, ok := w.journal.Cursor(w.number[len(lanes)])
	if !ok { // the first life: it begins here, and what follows is owed to it
		w.auditor.next = w.journal.Stored() + 1
		w.readOn(0)
		return 0
	}
	for _, g := range w.given {
		if g.fate == kept && g.of[len(lanes)] == owed && g.id.Offset >= c.Low && !found[g.serial] {
			lost += w.missing(g, len(lanes))
		}
	}
	w.auditor.next = c.Low
	return lost
}

// checkAccount compares the account of a lane that begins with what its
// cursor covers: each message once, however often it came (C22).
func (w *world) checkAccount(lane int, got pipelines.Account, c journal.Cursor) {
	if err := got.Check(); err != nil {
		w.fail("I6: %v", err)
	}
	want := map[uint32]*pipelines.RuleAccount{}
	for _, g := range w.given {
		if g.life < w.life && g.fate != kept || !g.settled(lane, c) {
			continue
		}
		for _, r := range topics[g.topic].rules {
			if slices.Contains(rules[r].lanes, lane) {
				n := w.numbers[r]
				if want[n] == nil {
					want[n] = &pipelines.RuleAccount{Rule: n}
				}
				account(want[n], wordOf(g.serial, r))
			}
		}
	}
	for _, r := range got.Rules {
		if want[r.Rule] == nil {
			want[r.Rule] = &pipelines.RuleAccount{Rule: r.Rule}
		}
		w.compare(lane, r, *want[r.Rule])
	}
}

// account adds what a word means.
func account(a *pipelines.RuleAccount, w word) {
	a.In++
	switch w {
	case wordFilter:
		a.Filtered++
	case wordMissing:
		a.Filtered++
		a.FilteredMissing++
	case wordError:
		a.Errors++
		a.Records++
		a.DeadLettered++
	case wordDrop:
		a.Errors++
		a.Records++
		a.Dropped = map[string]uint64{"on_error": a.Dropped["on_error"] + 1}
	case wordTwice:
		a.Passed++
		a.Records += 2
		a.Delivered += 2
	case wordPoison:
		a.Passed++
		a.Records++
		a.DeadLettered++
	case wordOK:
		a.Passed++
		a.Records++
		a.Delivered++
	}
}

func (w *world) compare(lane int, got, want pipelines.RuleAccount) {
	lossy := got.Dropped["dead_letters_full"]
	if lossy > 0 && !w.lossy {
		w.fail("I6: lane %s dropped %d letters, and the dead letters took everything", lanes[lane], lossy)
	}
	a := [...]uint64{got.In, got.Filtered, got.FilteredMissing, got.Errors, got.Passed, got.Records, got.Delivered, got.DeadLettered + lossy, got.Dropped["on_error"], got.Pending}
	b := [...]uint64{want.In, want.Filtered, want.FilteredMissing, want.Errors, want.Passed, want.Records, want.Delivered, want.DeadLettered, want.Dropped["on_error"], 0}
	if a != b && w.unknown[lane] == 0 {
		w.fail("C22: lane %s rule %d counted in, filtered, missing, errors, passed, records, delivered, dead-lettered, dropped, pending\n%v, and its cursor covers\n%v", lanes[lane], got.Rule, a, b)
	}
}

// checkProgress: a lane whose destination was fine all the time has delivered
// all there is, whatever the others do (I7), and stored that it did (C15).
func (w *world) checkProgress(began time.Time) {
	if w.isOff() || w.full || w.failed() != nil {
		return
	}
	for i, d := range w.destinations {
		w.mu.Lock()
		fine := d.mood == moodFine && len(d.queue) == 0 && d.fine.Before(began)
		w.mu.Unlock()
		if fine && !w.lossy {
			if why := w.behind(i); why != "" {
				w.fail("I7: lane %s had nothing to wait for: %s", lanes[i], why)
			}
		}
	}
}

// content is a file as the disk has it now.
func (w *world) content(name string) []byte {
	f, err := w.mem.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	b := make([]byte, info.Size())
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	return b
}

// segments are the files of the log in order.
func (w *world) segments() []string {
	list, _ := w.mem.ReadDir(folder)
	var names []string
	for _, e := range list {
		if filepath.Ext(e.Name()) == ".seg" {
			names = append(names, filepath.Join(folder, e.Name()))
		}
	}
	return names
}
