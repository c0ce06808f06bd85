package crashtest_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

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
