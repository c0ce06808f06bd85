package crashtest_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/pipelines"
)

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
