package crashtest_test

import (
	"strings"
	"syscall"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

func (w *world) pauseShort(s step) {
	d := []time.Duration{time.Millisecond, 5 * time.Millisecond, 30 * time.Millisecond, 150 * time.Millisecond, time.Second}[s.N%5]
	w.note("pause %v", d)
	<-time.After(d)
}

// pauseLong gives everybody time: what is not held up must be delivered then,
// whatever the others do (I7).
func (w *world) pauseLong(step) {
	began := time.Now()
	w.note("long pause")
	pass(40 * time.Second)
	w.verify()
	w.checkProgress(began)
}

func (w *world) quiesce(step) {
	w.note("all that can be done without waiting")
	synctest.Wait()
}

// queueAnswers decides what the next writes of a destination meet.
func (w *world) queueAnswers(s step) {
	d := w.destinations[s.Who%len(lanes)]
	random := s.random()
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []answer
	for range 1 + s.N/2 {
		list = append(list, answer(random.IntN(int(answers))))
	}
	d.queue = append(d.queue, list...)
	w.note("%s will answer %v", lanes[d.lane], list)
}

func (w *world) changeMood(s step) {
	d := w.destinations[s.Who%len(lanes)]
	m := []mood{moodFine, moodSlow, moodDown, moodHanging, moodFine}[s.N%5]
	w.mu.Lock()
	defer w.mu.Unlock()
	d.feel(m)
	w.note("%s is %v", lanes[d.lane], m)
}

// failDisk arms one failing operation.
func (w *world) failDisk(s step) {
	random := s.random()
	kind := []fault.Kind{fault.Datasync, fault.Write, fault.SyncDir, fault.Rename, fault.Open, fault.Truncate, fault.Remove, fault.Read}[random.IntN(8)]
	err := []syscall.Errno{syscall.EIO, syscall.ENOSPC}[random.IntN(2)]
	times, skip, letters := 1+random.IntN(2), random.IntN(12), random.IntN(4) == 0
	if kind == fault.Read {
		times = 1 // read again, it is there: anything else is damage
	}
	w.faulty, w.lossy = true, w.lossy || letters
	w.note("after %d more, %d of %v will fail: %v, letters %t", skip, times, kind, err, letters)
	w.disk.Add(&fault.Fault{Err: err, Times: times, Short: random.IntN(2) == 0, When: func(op fault.Op) bool {
		if op.Kind != kind || strings.HasPrefix(op.Name, lettersFolder) != letters {
			return false
		}
		skip--
		return skip < 0
	}})
}

// fillDisk has nothing more be written until the disk heals.
func (w *world) fillDisk(step) {
	w.full, w.lossy = true, true
	w.disk.Add(&fault.Fault{Err: syscall.ENOSPC, Short: true, When: func(op fault.Op) bool {
		return op.Kind == fault.Write
	}})
	w.note("the disk is full")
}

func (w *world) healDisk(step) {
	w.disk.Heal()
	w.disk.Add(&fault.Fault{When: w.beforeOp})
	w.full = false
	w.note("the disk is fine")
}

func (w *world) emptyLetters(step) {
	w.note("somebody looks after the disk and empties the dead letters")
	w.healDisk(step{})
	w.clearLetters()
}

// restartLane stops one lane and starts it again, as when a configuration is
// loaded; its last cursor is stored before.
func (w *world) restartLane(s step) {
	i := s.Who % len(lanes)
	if w.full || w.journal.Stats().Full {
		return // what it stores first would find no room
	}
	w.note("restart lane %s", lanes[i])
	w.rerun = true
	w.stopLane(i)
	for range 200 {
		if w.journal.Stored()+1 >= w.journal.Next() {
			break
		}
		pass(10 * time.Millisecond)
	}
	w.verify()
	w.noticeRewritten(i)
	if w.failed() == nil {
		w.startLane(i)
	}
}

// noticeRewritten finds the messages that the journal let go in this life
// since the lane had settled them: its next cursor need not speak of them.
func (w *world) noticeRewritten(lane int) {
	there := map[uint64]bool{}
	r := w.journal.NewReader(1)
	defer r.Close()
	for {
		f, ok, err := r.TryNext()
		if err != nil {
			w.unknown[lane]++ // a disk that fails says nothing
			return
		}
		if !ok {
			break
		}
		there[f.Offset()] = true
	}
	c, _ := w.journal.Cursor(w.number[lane])
	for _, g := range w.expected(lane) {
		read := g.id.Offset < r.Next() // more may have been stored meanwhile
		if read && !there[g.id.Offset] && !covers(c, g.id.Offset) {
			w.missing(g, lane)
		}
	}
}

func (w *world) damageLater(s step) {
	w.damageNext = s.Seed + 1
	w.note("the disk is damaged before the next life")
}

func (w *world) restart(step) {
	w.note("restart in order")
	w.end()
	w.open()
}

// cutSoon has the power go at one of the next operations of the disk.
func (w *world) cutSoon(s step) {
	random := s.random()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.off {
		return
	}
	w.syncs, w.killing = random.IntN(2) == 0, random.IntN(5) == 0
	w.fuse, w.cutting = random.IntN(40), random.Uint64()
	if w.syncs {
		w.fuse /= 3
	}
	w.note("the power will go at disk operation %d from here, only syncs %t, kill %t", w.fuse, w.syncs, w.killing)
}

// cutNow has the power go at this moment, whatever is going on.
func (w *world) cutNow(s step) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.off {
		w.cutting, w.killing = s.random().Uint64(), false
	}
	w.cutLocked()
}

// killNow has the process end at this moment, and the machine run on.
func (w *world) killNow(step) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.killing = w.killing || !w.off
	w.cutLocked()
}

// An auditor is a lane by hand that is far behind: it reads now and then, and
// remembers what it read.
type auditor struct {
	next uint64 // from where it reads
	read []int  // serials
}

// audit reads a few messages and stores how far it came.
func (w *world) audit(s step) {
	w.readOn(5*s.N + 1)
	w.note("the audit has read up to %d", w.auditor.next)
}

func (w *world) auditAll() { w.readOn(1 << 30) }

func (w *world) readOn(n int) {
	a := w.auditor
	r := w.journal.NewReader(a.next)
	defer r.Close()
	var m message.Message
	for range n {
		f, ok, err := r.TryNext()
		if err != nil {
			w.note("the audit cannot read: %v", err)
		}
		if !ok || err != nil {
			break
		}
		if err := f.Message(&m); err != nil {
			w.fail("decode offset %d: %v", f.Offset(), err)
			return
		}
		a.read = append(a.read, serialOf(m.Payload))
		a.next = f.Offset() + 1
	}
	if w.isOff() || a.next == 0 {
		return
	}
	w.auditor = a
	c := journal.Cursor{Low: a.next, Rules: w.numbers}
	if _, err := w.journal.StoreCursor(w.number[len(lanes)], c); err != nil {
		w.note("store the audit's cursor: %v", err)
	}
}
