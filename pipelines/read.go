package pipelines

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
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
	if l.now.Before(l.readAt) || !l.mayStartToRead() || !l.holds() || l.held() && !l.overdue() {
		return false
	}
	return !l.schedule.full() || l.hungry()
}

// holds reports whether what the lane holds is within its bounds (C15).
func (l *Lane) holds() bool {
	g := l.ledger
	return g.open < maxOpen && g.heldRecords < maxHeld && g.heldBytes < maxHeldBytes
}

// read evaluates the next messages.
func (l *Lane) read() {
	l.dry = false
	for range framesPerTurn {
		if !l.mayRead() {
			return
		}
		offset, ok, err := l.reader.Next()
		if err != nil {
			l.cannotRead(err)
		}
		if !ok || err != nil {
			l.dry = true
			if err == nil && !l.ledger.owed.exact {
				l.ledger.owed.know(count{}) // all there was at the start is read
			}
			return
		}
		l.readErr = nil
		l.take(offset)
	}
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

// take evaluates the message the reader is at, with exactly the rules in its
// header that are the lane's (C16); a message without one is not even decoded.
func (l *Lane) take(offset uint64) {
	l.ledger.position = offset + 1
	known := l.wasSettled(offset)
	l.numbers = l.reader.Rules(l.numbers[:0])
	l.rules = l.ledger.wanted(l.numbers, l.rules[:0])
	switch {
	case len(l.rules) == 0:
	case known, l.scout != nil && l.passed(offset, l.reader.Size()):
		l.ledger.skip()
	case l.scout == nil && l.overflow.policy == dropNewest && l.filled(int64(l.reader.Size())):
		l.lose(l.reader, offset, l.rules)
		l.ledger.skip()
	default:
		seq := l.ledger.begin(offset, l.reader.Size())
		l.evaluate(seq, offset)
		l.ledger.end(seq)
	}
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

func (l *Lane) evaluate(seq, offset uint64) {
	if err := l.reader.Message(&l.message); err != nil {
		l.unreadable(seq, offset, err)
		return
	}
	l.overflow.note(l.ledger.window.at(seq), &l.message)
	for _, rule := range l.rules {
		l.outcome.Reset()
		l.evaluator.Evaluate(l.ledger.rules[rule].number, &l.message, &l.outcome)
		l.spread(seq, rule, &l.outcome)
	}
}

// unreadable counts a message whose frame passed its checksum and cannot be
// decoded: nothing can be made of it, nor a letter written.
func (l *Lane) unreadable(seq, offset uint64, err error) {
	l.log.Error("decode message", slog.Uint64("offset", offset), slog.Any("err", err))
	for _, rule := range l.rules {
		l.ledger.outcome(seq, rule, failed, 1)
		l.ledger.settle(mark{seq: seq, rule: rule}, dropped+fate(dropUnreadable))
	}
}

// spread hands what a rule made of the message to shards and dead letters.
func (l *Lane) spread(seq uint64, rule int32, out *message.Outcome) {
	n := len(out.Records) + len(out.Errors)
	l.ledger.outcome(seq, rule, judge(out, n), n)
	for i := range out.Errors {
		l.ruleError(seq, rule, &out.Errors[i])
	}
	for i := range out.Records {
		r := &out.Records[i]
		m := mark{seq: seq, rule: rule, size: int32(r.Size())}
		l.ledger.heldBytes += int64(m.size)
		l.router.route(r, m, l.now)
	}
}

func judge(out *message.Outcome, n int) verdict {
	switch {
	case len(out.Errors) > 0:
		return failed
	case n > 0:
		return passed
	case out.Missing:
		return filteredMissing
	default:
		return filtered
	}
}

// ruleError counts an output that failed and, unless the rule says to drop it,
// writes it to the dead letters (C20).
func (l *Lane) ruleError(seq uint64, rule int32, e *message.RuleError) {
	number := l.ledger.rules[rule].number
	l.mistakes.note(number, l.ruleName, l.message.ID, e)
	m := mark{seq: seq, rule: rule, size: letterSize}
	l.ledger.heldBytes += letterSize
	if l.letters.full() { // only a lane that must give something up reads on then
		l.ledger.settle(m, dropped+fate(dropLetters))
		return
	}
	if e.Drop {
		l.ledger.settle(m, dropped+fate(dropOnError))
		return
	}
	l.letters.add(letter{
		mark: m, id: l.message.ID, rule: number, output: e.Output,
		reason: reason(e.Kind, e.Err), first: l.now, last: l.now,
	})
}
