package pipelines

import (
	"log/slog"
	"time"

	"github.com/penstock/penstock/internal/journal"
)

// The bounds of C15.
const (
	// cursorEvery is how often a lane stores its cursor while it changes.
	cursorEvery = 100 * time.Millisecond
	// cursorAfter stores it sooner when so many records were settled, or a
	// fast lane would spend its time waiting for maxUnstored.
	cursorAfter = 4096
	// maxUnstored is how many records a lane settles beyond its last stored
	// cursor entry before it waits: a crash repeats at most those and what was
	// in flight.
	maxUnstored = 16384
	// pollStored is how often a lane that waits for its cursor looks, should
	// the reader not wake it.
	pollStored = 5 * time.Millisecond
)

// A keeper stores a lane's cursor.
type keeper struct {
	journal Journal
	lane    uint32
	log     *slog.Logger

	at       time.Time // of the last attempt
	position uint64    // the ledger's, in the last cursor
	closed   uint64    // the ledger's, in the last cursor
	feeds    uint64    // the ledger's, in the last cursor
	low      uint64    // of the last cursor
	covered  uint64    // records settled that the last cursor covers
	stored   uint64    // records settled that the last stored cursor covers
	pending  []pendingCursor
	ranges   []journal.Range
	err      error // of the last attempt
}

type pendingCursor struct{ offset, covered uint64 }

// poll notes which cursors are stored by now.
func (k *keeper) poll() {
	n := 0
	for n < len(k.pending) && k.pending[n].offset <= k.journal.Stored() {
		k.stored = k.pending[n].covered
		n++
	}
	k.pending = append(k.pending[:0], k.pending[n:]...)
}

func (k *keeper) changed(l *ledger) bool {
	return l.position != k.position || l.closed != k.closed || l.feeds != k.feeds
}

// due reports whether the cursor should be stored now.
func (k *keeper) due(l *ledger, now time.Time) bool {
	return k.changed(l) && (now.Sub(k.at) >= cursorEvery || l.coverable-k.covered >= cursorAfter || l.givenUp.n >= maxGivenUp && k.err == nil)
}

// caughtUp reports whether waiting for a cursor would not cover any more.
func (k *keeper) caughtUp(l *ledger) bool { return k.stored == l.coverable }

// store appends the cursor: what it says is settled has been confirmed by the
// sink or is durable in the dead letters (I2), and its counters are of exactly
// that (C22). recovered is what an earlier cursor says of offsets not read again yet.
func (k *keeper) store(l *ledger, recovered []journal.Range, now time.Time) {
	k.at = now
	low := l.window.low(l.position)
	l.pass(low)
	c := journal.Cursor{Low: low, Counters: appendCounters(nil, l.rules), Rules: l.feeding}
	k.ranges = l.window.ranges(k.ranges[:0], l.position)
	for _, r := range recovered {
		if r.Last >= l.position {
			k.ranges = append(k.ranges, journal.Range{First: max(r.First, l.position), Last: r.Last})
		}
	}
	c.Settled = k.ranges
	c.Dropped = l.givenUp.drops()
	offset, err := k.journal.StoreCursor(k.lane, c)
	if err != nil {
		if k.err == nil || k.err.Error() != err.Error() {
			k.log.Warn("store cursor", slog.Any("err", err))
		}
		k.err = err
		return
	}
	k.err = nil
	l.givenUp.clear(c.Dropped)
	k.position, k.closed, k.covered, k.feeds, k.low = l.position, l.closed, l.coverable, l.feeds, low
	k.pending = append(k.pending, pendingCursor{offset, k.covered})
}
