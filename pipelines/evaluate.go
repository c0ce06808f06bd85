package pipelines

import (
	"log/slog"
	"time"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines/deadletter"
)

// take evaluates the message the reader is at, with exactly the rules in its
// header that are the lane's (C16); a message without one is not even decoded.
func (l *Lane) take(offset uint64) {
	if l.ticks != nil {
		if id, at, ok := l.ticks.Tick(); ok {
			l.tick(id, at)
			return
		}
	}
	l.numbers = l.reader.Rules(l.numbers[:0])
	l.wanting = l.ledger.wanted(offset, l.numbers, l.wanting[:0])
	if offset < l.checkpoints.resume {
		l.evaluateAgain()
		return
	}
	l.ledger.position, l.checkpoints.behind = offset+1, false
	known := l.wasSettled(offset)
	switch {
	case len(l.wanting) == 0:
	case known, l.scout != nil && l.passed(offset, l.reader.Size()):
		l.evaluateAgain()
		l.ledger.skip()
	case l.scout == nil && l.filled(l.reader.Size()):
		l.lose(l.reader, offset, l.wanting, true)
		l.ledger.skip()
	default:
		seq := l.ledger.begin(offset, l.reader.Size())
		l.evaluate(seq, offset)
		l.ledger.end(seq)
	}
}

func (l *Lane) evaluate(seq, offset uint64) {
	if err := l.reader.Message(&l.message); err != nil {
		l.unreadable(seq, offset, l.wanting, err)
		return
	}
	l.checkpoints.since++
	l.overflow.note(l.ledger.window.at(seq), &l.message)
	for _, rule := range l.wanting {
		if l.ledger.rules[rule].state == retired {
			l.ruleRemoved(seq, rule, &l.message)
			continue
		}
		l.outcome.Reset()
		if l.took == 0 && l.crew.busy > 0 {
			l.measure(rule)
		} else {
			l.evaluator.Evaluate(l.ledger.rules[rule].number, &l.message, &l.outcome)
		}
		l.spread(seq, rule, &l.message, &l.outcome)
	}
}

// measure evaluates and notes how long that took, once a turn.
func (l *Lane) measure(rule int32) {
	begin := time.Now()
	l.evaluator.Evaluate(l.ledger.rules[rule].number, &l.message, &l.outcome)
	l.took = max(time.Since(begin), 1)
}

// readBlock fills one block and has it evaluated.
func (l *Lane) readBlock() {
	b := l.crew.take(l.rules.Evaluators)
	if b == nil {
		return
	}
	found := false
	for range framesPerTurn {
		offset, ok := l.readOn()
		if !ok {
			break
		}
		found, b.last = true, offset
		l.gather(b, offset)
	}
	if !found {
		l.crew.free = append(l.crew.free, b)
		return
	}
	l.crew.start(b)
}

// gather puts the message the reader is at into a block.
func (l *Lane) gather(b *block, offset uint64) {
	l.numbers = l.reader.Rules(l.numbers[:0])
	l.wanting = l.ledger.wanted(offset, l.numbers, l.wanting[:0])
	if len(l.wanting) == 0 {
		return
	}
	n := len(b.items)
	if n == cap(b.messages) {
		b.messages = append(b.messages, message.Message{})[:n]
	}
	b.messages = b.messages[:n+1]
	err := l.reader.Message(&b.messages[n])
	b.items = append(b.items, blockItem{offset: offset, size: l.reader.Size(), wants: len(l.wanting), err: err})
	for _, rule := range l.wanting {
		w := want{rule: rule, number: l.ledger.rules[rule].number}
		if l.ledger.rules[rule].state == retired {
			w.number = 0
		}
		b.wants = append(b.wants, w)
	}
}

// enter takes what a block was evaluated to into the ledger, as far as there
// is room; all: whatever room there is. The position moves with it: until then
// the cursor knows nothing of what is under way.
func (l *Lane) enter(b *block, all bool) {
	for ; b.item < len(b.items) && (all || l.mayRead()); b.item++ {
		l.enterItem(b, &b.items[b.item])
	}
	if b.item == len(b.items) {
		l.ledger.position = b.last + 1
		l.crew.pop()
	}
}

func (l *Lane) enterItem(b *block, item *blockItem) {
	m := &b.messages[b.item]
	l.ledger.position = item.offset + 1
	seq := l.ledger.begin(item.offset, item.size)
	if item.err != nil {
		l.wanting = l.wanting[:0]
		for range item.wants {
			rule, _, _ := b.next()
			l.wanting = append(l.wanting, rule)
		}
		l.unreadable(seq, item.offset, l.wanting, item.err)
		l.ledger.end(seq)
		return
	}
	l.overflow.note(l.ledger.window.at(seq), m)
	for range item.wants {
		rule, gone, out := b.next()
		if gone {
			l.ruleRemoved(seq, rule, m)
		} else {
			l.spread(seq, rule, m, &out)
		}
	}
	l.ledger.end(seq)
}

// enterAll waits for the blocks under way and enters them.
func (l *Lane) enterAll() {
	l.crew.await()
	for len(l.crew.queue) > 0 {
		l.enter(l.crew.queue[0], true)
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
		mark: mark{seq: seq, rule: rule, size: letterSize}, kind: deadletter.RuleRemoved,
		id: m.ID, rule: l.ledger.rules[rule].number, reason: string(deadletter.RuleRemoved), time: l.now,
	})
}

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
	if l.letters.full() && l.overdue() { // it reads on to give up what is too much
		l.ledger.settle(k, dropped+fate(dropLetters))
		return
	}
	if e.Drop {
		l.ledger.settle(k, dropped+fate(dropOnError))
		return
	}
	l.letters.add(letter{
		mark: k, kind: deadletter.RuleError, id: m.ID, rule: number, output: e.Output,
		reason: e.Kind, err: e.Err, time: l.now,
	})
}
