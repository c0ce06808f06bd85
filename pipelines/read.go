package pipelines

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/penstock/penstock/internal/journal"
)

// The bounds of what a lane holds (C15).
const (
	// framesPerTurn is how many messages are read between two looks at what
	// else there is to do.
	framesPerTurn = 128
	// maxHeld bounds records that are evaluated and not settled, maxHeldBytes
	// their bytes.
	maxHeld      = 1 << 20
	maxHeldBytes = 64 << 20
	// maxOpen bounds the messages they are of, and with them the settled ranges
	// of a cursor: each needs one such message below it.
	maxOpen = 1 << 16
	// readRetry is how long the lane waits when the journal cannot be read.
	readRetry = time.Second
	// letterSize is what a rule error counts against maxHeldBytes.
	letterSize = 256
)

// mayRead reports whether the lane may evaluate more: there is not work enough
// at hand, and what it holds is within its bounds. Beyond them it waits for
// the stuck key.
func (l *Lane) mayRead() bool {
	if l.now.Before(l.readAt) || !l.holds() || (l.barred() || l.letters.full() || !l.mayStartToRead()) && !l.overdue() {
		return false
	}
	return !l.schedule.full() || l.hungry()
}

// holds reports whether what the lane holds is within its bounds (C15).
func (l *Lane) holds() bool {
	g := l.ledger
	return g.open < maxOpen && g.heldRecords < maxHeld && g.heldBytes < maxHeldBytes
}

// together reports whether the crew evaluates. What is settled ahead of the
// lane's place is passed by one message after the other.
func (l *Lane) together() bool { return l.crew.on && len(l.recovered) == 0 && l.scout == nil }

// read evaluates the next messages, alone or with the crew.
func (l *Lane) read() {
	l.dry = l.held
	switch {
	case l.held:
	case l.together():
		l.readTogether()
	default:
		l.took = 0
		l.crew.worked(l.readAlone(), l.took)
	}
}

// readAlone returns how many messages it read.
func (l *Lane) readAlone() (n int) {
	for ; n < framesPerTurn && l.mayRead(); n++ {
		offset, ok := l.readOn()
		if !ok {
			break
		}
		l.take(offset)
	}
	return n
}

// readTogether enters one block that is evaluated and fills another. When the
// lane has caught up, it goes on alone.
func (l *Lane) readTogether() {
	if b := l.crew.head(); b != nil {
		l.enter(b, false)
	}
	if l.mayRead() {
		l.readBlock()
	}
	if l.dry && len(l.crew.queue) == 0 {
		l.crew.rest()
	}
}

// readOn moves the reader to the next message; ok is false when there is none
// for now.
func (l *Lane) readOn() (offset uint64, ok bool) {
	offset, ok, err := l.reader.Next()
	if err != nil {
		l.cannotRead(err)
	}
	if !ok || err != nil {
		l.dry = true
		return 0, false
	}
	l.readErr = nil
	return offset, true
}

// idle reports whether the lane can evaluate nothing more until something happens.
func (l *Lane) idle() bool {
	switch {
	case l.held || !l.mayRead():
		return true
	case l.together():
		return l.crew.idles(l.dry)
	}
	return l.dry
}

// cannotRead waits before it reads again: the journal has lost nothing, unless
// it is closed.
func (l *Lane) cannotRead(err error) {
	if errors.Is(err, journal.ErrClosed) {
		l.stop = fmt.Errorf("read journal: %w", err)
		return
	}
	if l.readErr == nil || l.readErr.Error() != err.Error() {
		l.log.Error("read journal", slog.Any("err", err))
	}
	l.readErr, l.readAt = err, l.now.Add(readRetry)
}

// wasSettled reports whether the recovered cursor covers the offset.
func (l *Lane) wasSettled(offset uint64) bool {
	for len(l.recovered) > 0 && l.recovered[0].Last < offset {
		l.recovered = l.recovered[1:]
	}
	known := len(l.recovered) > 0 && l.recovered[0].First <= offset
	if known && l.recovered[0].Last == offset {
		l.recovered = l.recovered[1:]
	}
	return known
}
