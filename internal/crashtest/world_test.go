package crashtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
	"github.com/penstock/penstock/pipelines/deadletter"
)

const folder = "/j"

// A world is one history: the real journal, lanes and dead letters on a disk
// that can lose its power, between publishers and destinations that remember
// what they were told.
type world struct {
	script script
	lineMu sync.Mutex
	lines  []string // guarded by lineMu: what happened so far
	began  time.Time

	mem      *fault.Mem
	disk     *fault.Injector
	journal  *journal.Journal
	letters  *deadletter.Store
	runs     [len(lanes)]*run
	life     int
	opened   uint64 // the journal's next offset when this life began
	epoch    uint32
	numbers  []uint32 // of the rules
	number   [len(lanes) + 1]uint32
	serial   int
	position uint64 // the newest in any session's queue
	taken    []taken
	queues   *queues

	destinations [len(lanes)]*destination
	auditor      auditor
	book         letterBook
	lossy        bool                // the dead letters may have refused some
	clean        bool                // the life before ended in order
	faulty       bool                // some operation of the disk may have failed
	unknown      [len(lanes) + 1]int // messages of which nobody knows whether they were counted
	tight        bool                // the journal may be full
	rerun        bool                // a lane was stopped and started in one life
	full         bool                // the disk is
	damage       *damage             // done before this life
	damageNext   uint64              // seed of what is done before the next, 0 for nothing

	tally tally

	mu         sync.Mutex // guards all below
	failure    error
	given      []*given
	byID       map[message.ID]*given
	bySerial   map[int]*given
	writes     int
	seed       uint64
	told       uint64     // the watermark that publishers heard of in this life
	toldBefore uint64     // and in those before
	off        bool       // the power is gone
	photo      *fault.Mem // the disk then
	fuse       int        // operations of the disk until the power goes, below 0 for never
	syncs      bool       // only syncs count
	killing    bool       // the process is killed, and the machine runs on
	cutting    uint64     // seed of what the disk keeps
}

// tally is what histories were made of.
type tally struct {
	histories, lives, cuts, kills, restarts, operations, damages int
	messages, records, copies, letters, lost                     int
}

func (t *tally) add(o tally) {
	t.histories += o.histories
	t.lives += o.lives
	t.cuts += o.cuts
	t.kills += o.kills
	t.restarts += o.restarts
	t.operations += o.operations
	t.damages += o.damages
	t.messages += o.messages
	t.records += o.records
	t.copies += o.copies
	t.letters += o.letters
	t.lost += o.lost
}

// A run is one run of a lane.
type run struct {
	lane   *pipelines.Lane
	cancel context.CancelFunc
	ended  chan error
}

// play runs a script in a bubble and returns what it found.
func play(s script) (w *world) {
	w = &world{
		lossy:  s.Letters < 1<<20,
		script: s, began: time.Now(), mem: fault.NewMem(), fuse: -1, book: letterBook{purged: map[string]bool{}, ever: map[string]bool{}},
		byID: map[message.ID]*given{}, bySerial: map[int]*given{}, seed: uint64(len(s.Steps)),
	}
	_ = w.mem.MkdirAll("/l", 0o700)
	for i := range w.destinations {
		w.destinations[i] = newDestination(w, i)
		w.destinations[i].fine = time.Now()
	}
	all := kinds()
	w.open()
	for _, x := range s.Steps {
		if do := all[x.Kind].do; do != nil && w.failed() == nil {
			w.tally.operations++
			w.mu.Lock()
			w.seed ^= x.Seed
			w.mu.Unlock()
			do(w, x)
			w.verify()
			w.recover()
		}
	}
	w.finish()
	return w
}

func (w *world) note(format string, args ...any) {
	at := time.Since(w.began).Truncate(time.Microsecond)
	w.lineMu.Lock()
	defer w.lineMu.Unlock()
	w.lines = append(w.lines, fmt.Sprintf("life %d, %v: ", w.life, at)+fmt.Sprintf(format, args...))
}

// Write is the journal's log.
func (w *world) Write(b []byte) (int, error) {
	w.note("%s", bytes.TrimSpace(b))
	return len(b), nil
}

func (w *world) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failLocked(format, args...)
}

// failLocked keeps the first failure. The caller holds mu.
func (w *world) failLocked(format string, args ...any) {
	if w.failure == nil {
		w.failure = fmt.Errorf(format, args...)
	}
}

func (w *world) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failure
}

// beforeOp is called before every operation of the disk; it has the power cut
// when the fuse burnt down.
func (w *world) beforeOp(op fault.Op) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fuse < 0 || w.off {
		return false
	}
	switch op.Kind {
	case fault.Sync, fault.Datasync, fault.SyncDir:
	case fault.Write, fault.Truncate, fault.Rename, fault.Remove, fault.Open:
		if w.syncs {
			return false
		}
	default:
		return false
	}
	if w.fuse--; w.fuse < 0 {
		w.cutLocked()
	}
	return false
}

// cutLocked takes the power away, or kills the process while the machine runs
// on: nothing that happens in this life from now on is heard of by anybody.
// The caller holds mu.
func (w *world) cutLocked() {
	switch {
	case w.off:
		return
	case w.killing:
		w.photo = w.mem.Clone()
	default:
		w.photo = w.mem.Crash(w.cutting)
	}
	w.off = true
}

func (w *world) isOff() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.off
}

// heard is a publisher learning of the watermark.
func (w *world) heard(stored uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.off {
		w.told = max(w.told, stored)
	}
}

// end stops a life: in order, or as far as its processes are concerned.
func (w *world) end() {
	for i, r := range w.runs {
		if r != nil {
			w.stopLane(i)
		}
	}
	if err := w.letters.Close(); err != nil {
		w.note("close dead letters: %v", err)
	}
	w.mu.Lock()
	last := uint64(0)
	for _, g := range w.given {
		if g.life == w.life {
			last = max(last, g.id.Offset)
		}
	}
	w.mu.Unlock()
	err := w.journal.Close()
	if err != nil {
		w.note("close journal: %v", err)
	}
	w.clean = err == nil
	if w.clean {
		w.heard(last) // what Close stored
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.off:
		w.tally.restarts++
	case w.killing:
		w.mem, w.clean = w.photo, false
		w.tally.kills++
	default:
		w.mem, w.clean = w.photo, false
		w.tally.cuts++
	}
	w.off, w.killing, w.photo, w.fuse = false, false, nil, -1
}

func (w *world) howItEnded() string {
	if w.killing {
		return "THE PROCESS IS KILLED"
	}
	return "THE POWER IS GONE"
}

// recover begins the next life when the power is gone.
func (w *world) recover() {
	for w.failed() == nil && w.isOff() {
		w.note("%s", w.howItEnded())
		w.disk.Heal()
		w.end()
		w.open()
		w.verify()
	}
}

const laneStops = 10 * time.Minute

func (w *world) stopLane(i int) {
	r := w.runs[i]
	w.runs[i] = nil
	r.cancel()
	select {
	case err := <-r.ended:
		if err != nil {
			w.fail("lane %s ended: %v", lanes[i], err)
		}
	case <-time.After(laneStops):
		w.fail("lane %s does not stop", lanes[i])
	}
	if err := r.lane.Account().Check(); err != nil {
		w.fail("I6: %v", err)
	}
}

// startLane makes a lane, whose account must be what its cursor covers, and
// runs it.
func (w *world) startLane(i int) {
	d := w.destinations[i]
	var sink bridges.Sink = d
	if i == 1 && w.script.Shards {
		sink = shardedDestination{d}
	}
	lane, err := pipelines.NewLane(pipelines.LaneOptions{
		Name: lanes[i], Number: w.number[i], Journal: pipelines.FromJournal(w.journal),
		Evaluators: func() pipelines.Evaluator { return newEvaluator(i, w.numbers) }, Sink: sink, DeadLetters: w.letters,
		Delivery: pipelines.DeliveryConfig{
			InFlight: 1 + (i+w.life)%3, Batch: pipelines.BatchConfig{Records: []int{3, 20, 1000}[(i+w.life)%3]},
		},
		RuleName: func(n uint32) string { return strconv.Itoa(int(n)) },
		Log:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.fail("make lane %s: %v", lanes[i], err)
		return
	}
	c, _ := w.journal.Cursor(w.number[i])
	w.mu.Lock()
	d.forgive(func(offset uint64) bool { return covers(c, offset) })
	w.mu.Unlock()
	w.checkAccount(i, lane.Account(), c)
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{lane: lane, cancel: cancel, ended: make(chan error, 1)}
	w.runs[i] = r
	go func() { r.ended <- lane.Run(ctx) }()
}

// open begins a life on what the disk holds.
func (w *world) open() {
	w.tally.lives++
	w.mu.Lock()
	w.life++
	w.toldBefore = max(w.toldBefore, w.told)
	w.told, w.full = 0, false
	w.mu.Unlock()
	w.disk = fault.Inject(w.mem)
	w.disk.Add(&fault.Fault{When: w.beforeOp, Err: errors.New("BUG: never")})
	w.harm()
	trace := w.trace()
	w.openJournal()
	if w.failed() != nil {
		return
	}
	w.checkOpened(trace)
	for i := range lanes {
		if w.failed() == nil {
			w.startLane(i)
		}
	}
	w.damage = nil
}

func (w *world) openJournal() {
	w.queues = newQueues()
	j, err := journal.Open(journal.Options{
		State: w.queues, SnapshotBytes: 4 * w.script.Segment,
		Dir: folder, FS: w.disk, MaxBytes: w.script.Bound, SegmentBytes: w.script.Segment,
		Log: w.logger(),
	})
	if err != nil {
		w.fail("I4: open journal: %v", err)
		return
	}
	w.journal = j
	if w.openLetters(); w.failed() != nil {
		return
	}
	if j.Epoch() <= w.epoch {
		w.fail("C2: epoch %d after %d", j.Epoch(), w.epoch)
	}
	w.epoch, w.opened = j.Epoch(), j.Next()
	j.NotifyStored(w.heard)
	w.assign()
	w.note("open: epoch %d, stored %d, next %d, %d segments, %d damaged", j.Epoch(), j.Stored(), j.Next(), j.Stats().Segments, j.Stats().Damaged)
}

// assign asks for the numbers of rules and lanes, which never change (C16).
func (w *world) assign() {
	var names [][2]string
	for _, r := range rules {
		names = append(names, [2]string{"rule", r.name})
	}
	for _, l := range lanes {
		names = append(names, [2]string{"lane", l})
	}
	names = append(names, [2]string{"lane", "audit"})
	var numbers []uint32
	for _, n := range names {
		number, err := w.journal.Number(n[0], n[1])
		if err != nil {
			w.fail("number of %s %s: %v", n[0], n[1], err)
		}
		numbers = append(numbers, number)
	}
	if w.life > 1 {
		for i, n := range append(append([]uint32(nil), w.numbers...), w.number[:]...) {
			if numbers[i] != n {
				w.fail("C16: %v was number %d and is %d", names[i], n, numbers[i])
			}
		}
	}
	w.numbers = numbers[:len(rules)]
	copy(w.number[:], numbers[len(rules):])
}

// finish heals everything, lets all lanes deliver what is owed, and looks
// once more with a fresh eye.
func (w *world) finish() {
	w.mu.Lock()
	w.fuse = -1
	w.mu.Unlock()
	w.recover()
	w.damageNext = 0
	if w.failed() == nil {
		w.note("finish")
		w.disk.Heal()
		w.full = false
		for _, d := range w.destinations {
			w.mu.Lock()
			d.queue = nil
			d.feel(moodFine)
			w.mu.Unlock()
		}
		for n := 0; n < 60 && !w.delivered() && w.failed() == nil; n++ {
			w.clearLetters()
			w.auditAll()
			for s := range uint32(sessions) {
				w.takeFrom(s, 1<<30)
			}
			pass(10 * time.Second)
			w.verify()
			w.note("owing: %s", w.owing())
		}
		if w.failed() == nil && !w.delivered() {
			w.fail("I1: not all is settled after ten minutes with everything fine: %s", w.owing())
		}
	}
	w.disk.Heal()
	w.end()
	if w.failed() == nil {
		w.open()
		w.verify()
		w.checkFinished()
		w.end()
	}
	w.tally.histories++
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// transcript is what happened, for people.
func (w *world) transcript() string { return strings.Join(w.lines, "\n\t") }
