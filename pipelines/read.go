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
	// maxWindow bounds messages, and maxHeld records, evaluated beyond the low
	// offset; maxHeldBytes the records' bytes.
	maxWindow    = 1 << 20
	maxHeld      = 1 << 20
	maxHeldBytes = 64 << 20
	// maxOpen bounds the messages of these that are not settled, and with them
	// the settled ranges of a cursor: each needs one such message below it.
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
	g := l.ledger
	return !l.schedule.full() && !l.letters.full() && !l.now.Before(l.readAt) &&
		g.window.len() < maxWindow && g.open < maxOpen && g.heldRecords < maxHeld && g.heldBytes < maxHeldBytes
}

// read evaluates the next messages.
func (l *Lane) read() {
	l.dry = l.held
	if l.held {
		return
	}
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
	l.wanting = l.ledger.wanted(offset, l.numbers, l.wanting[:0])
	switch {
	case len(l.wanting) == 0:
	case known:
		l.ledger.skip(offset)
	default:
		seq := l.ledger.begin(offset)
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
		l.unreadable(seq, offset, l.wanting, err)
		return
	}
	for _, rule := range l.wanting {
		if l.ledger.rules[rule].state == retired {
			l.ruleRemoved(seq, rule, &l.message)
			continue
		}
		l.outcome.Reset()
		l.evaluator.Evaluate(l.ledger.rules[rule].number, &l.message, &l.outcome)
		l.spread(seq, rule, &l.message, &l.outcome)
	}
}

// unreadable counts a message whose frame passed its checksum and cannot be
// decoded: nothing can be made of it, nor a letter written.
func (l *Lane) unreadable(seq, offset uint64, rules []int32, err error) {
	l.log.Error("decode message", slog.Uint64("offset", offset), slog.Any("err", err))
	for _, rule := range rules {
		l.ledger.outcome(seq, rule, failed, 1)
		l.expect(seq, rule, 1)
		l.ledger.settle(mark{seq: seq, rule: rule}, dropped+fate(dropUnreadable))
	}
}

// ruleRemoved sends a message that a rule still owed when it was removed to
// the dead letters (C16). It was acknowledged, so it may not be lost there.
func (l *Lane) ruleRemoved(seq uint64, rule int32, m *message.Message) {
	l.ledger.outcome(seq, rule, failed, 1)
	if m.QoS > 0 {
		l.expect(seq, rule, 1)
	}
	l.ledger.heldBytes += letterSize
	l.letters.add(letter{
		mark: mark{seq: seq, rule: rule, size: letterSize}, id: m.ID, rule: l.ledger.rules[rule].number,
		reason: reasonRuleRemoved, first: l.now, last: l.now, refused: true,
	})
}

// reasonRuleRemoved is why a message whose rule is gone is a dead letter.
const reasonRuleRemoved = "rule_removed"

// spread hands what a rule made of the message to shards and dead letters.
func (l *Lane) spread(seq uint64, rule int32, m *message.Message, out *message.Outcome) {
	n := len(out.Records) + len(out.Errors)
	l.ledger.outcome(seq, rule, judge(out, n), n)
	if m.QoS > 0 {
		l.expect(seq, rule, required(out))
	}
	if out.Shadow {
		l.shadow(seq, rule, m, out)
		return
	}
	for i := range out.Errors {
		l.ruleError(seq, rule, m, &out.Errors[i])
	}
	for i := range out.Records {
		r := &out.Records[i]
		k := mark{seq: seq, rule: rule, size: int32(r.Size()), optional: r.Optional}
		l.ledger.heldBytes += int64(k.size)
		l.router.route(r, k, l.now)
	}
}

// expect enters that somebody waits for what the rule made of a message, if so.
func (l *Lane) expect(seq uint64, rule int32, required int) {
	if g := l.ledger; g.receipts != nil && g.receipts.Expects(g.rules[rule].number) {
		g.expect(seq, rule, required)
	}
}

// required counts what must be confirmed before the rule's message counts as
// delivered (C13). Nobody waits for a shadow rule.
func required(out *message.Outcome) int {
	n := 0
	if out.Shadow {
		return n
	}
	for i := range out.Records {
		if !out.Records[i].Optional {
			n++
		}
	}
	for i := range out.Errors {
		if !out.Errors[i].Optional {
			n++
		}
	}
	return n
}

// shadow counts what a shadow rule made, its errors too, and sends nothing.
func (l *Lane) shadow(seq uint64, rule int32, m *message.Message, out *message.Outcome) {
	for i := range out.Errors {
		l.mistakes.note(l.ledger.rules[rule].number, l.names.of, m.ID, &out.Errors[i])
	}
	for range len(out.Records) + len(out.Errors) {
		l.ledger.settle(mark{seq: seq, rule: rule}, dropped+fate(dropShadow))
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
func (l *Lane) ruleError(seq uint64, rule int32, m *message.Message, e *message.RuleError) {
	number := l.ledger.rules[rule].number
	l.mistakes.note(number, l.names.of, m.ID, e)
	k := mark{seq: seq, rule: rule, size: letterSize, optional: e.Optional}
	l.ledger.heldBytes += letterSize
	if e.Drop {
		l.ledger.settle(k, dropped+fate(dropOnError))
		return
	}
	l.letters.add(letter{
		mark: k, id: m.ID, rule: number, output: e.Output,
		reason: reason(e.Kind, e.Err), first: l.now, last: l.now,
	})
}
