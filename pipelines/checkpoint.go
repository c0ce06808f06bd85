package pipelines

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/penstock/penstock/internal/message"
)

const (
	// checkpointEvery is how often the state of a lane's rules is taken while
	// it changes, and checkpointAfter sooner when so many messages were
	// evaluated since: a start evaluates at most those and what the cursor waits
	// for again.
	checkpointEvery = 10 * time.Second
	checkpointAfter = 1 << 17
	// checkpointKind is what checkpoints are kept under, by the lane's name.
	checkpointKind = "state"
	// checkpointVersion is the first byte of a checkpoint:
	//
	//	version 1 | uvarint: offset of the first message that is not in it | the evaluator's bytes
	checkpointVersion = 1
)

// A StateStore keeps small things by kind and name in the journal. What was
// saved is stored when an entry that was appended later is.
type StateStore interface {
	// Save replaces what is kept; a nil body removes it. While it is kept, the
	// journal keeps the messages at and above needs.
	Save(kind, key string, needs uint64, body []byte) (offset uint64, err error)
	// Load returns what is kept, false for nothing.
	Load(kind, key string) (body []byte, ok bool)
}

// checkpoints keep the state of a stateful evaluator. The state at an offset S
// goes into the journal together with S, when a cursor at or above S is in the
// log before it; after a restart the messages from S on up to the cursor are
// evaluated without sending or counting (C21).
type checkpoints struct {
	store StateStore
	key   string
	log   *slog.Logger

	state  Stateful // nil: the evaluator has none
	resume uint64   // offsets below are evaluated to get the state back
	behind bool     // they are not all evaluated yet
	at     time.Time
	since  int    // messages evaluated since the last one was taken
	taken  uint64 // its offset
	body   []byte // it, not saved yet: nil when it is
	err    error  // of the last Save
}

// begin gives the evaluator the state that is kept and returns the offset to
// read from. low is the cursor's.
func (c *checkpoints) begin(e Evaluator, low uint64) (from uint64, err error) {
	c.state, _ = e.(Stateful)
	if c.state != nil && c.store == nil {
		return 0, errors.New("BUG: a stateful evaluator without a store for its state")
	}
	if c.store == nil {
		return low, nil
	}
	body, ok := c.store.Load(checkpointKind, c.key)
	switch {
	case c.state == nil && ok:
		_, err = c.store.Save(checkpointKind, c.key, 0, nil)
		return low, err
	case c.state == nil:
		return low, nil
	case ok:
		at, err := c.restore(body, low)
		if err == nil {
			c.taken, c.resume, c.behind = at, low, at < low
			return at, nil
		}
		c.log.Error("read state of the rules, it begins anew", slog.Uint64("offset", at), slog.Any("err", err))
	}
	c.take(low)
	return low, c.save()
}

func (c *checkpoints) restore(body []byte, low uint64) (at uint64, err error) {
	if len(body) == 0 || body[0] != checkpointVersion {
		return 0, fmt.Errorf("checkpoint is not of version %d", checkpointVersion)
	}
	at, n := binary.Uvarint(body[1:])
	if n <= 0 {
		return 0, errors.New("checkpoint is cut short")
	}
	if at > low {
		return at, fmt.Errorf("checkpoint is above the cursor at %d", low)
	}
	return at, c.state.Restore(body[1+n:])
}

// take notes the state of all below position.
func (c *checkpoints) take(position uint64) {
	body := append([]byte(nil), checkpointVersion)
	c.body = c.state.Checkpoint(binary.AppendUvarint(body, position))
	c.taken, c.since = position, 0
}

func (c *checkpoints) save() error {
	if _, err := c.store.Save(checkpointKind, c.key, c.taken, c.body); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	c.body = nil
	return nil
}

// due reports whether the state should be taken now.
func (c *checkpoints) due(position uint64, now time.Time) bool {
	return c.body == nil && !c.behind && position != c.taken &&
		(now.Sub(c.at) >= checkpointEvery || c.since >= checkpointAfter)
}

// checkpoint takes the state when it is due and saves it once the cursor in the
// log has reached it.
func (l *Lane) checkpoint() {
	c := &l.checkpoints
	if c.state != nil && c.due(l.ledger.position, l.now) {
		c.take(l.ledger.position)
		c.at = l.now
	}
	if c.body == nil || l.keeper.low < c.taken {
		return
	}
	err := c.save()
	if err != nil && (c.err == nil || c.err.Error() != err.Error()) {
		l.log.Warn("save state of the rules", slog.Any("err", err))
	}
	if c.err = err; err == nil {
		l.ledger.again = c.taken
	}
}

// handOver gives the state to the evaluator that follows, which has none of its
// own yet.
func (c *checkpoints) handOver(e Evaluator, position uint64) error {
	next, _ := e.(Stateful)
	switch {
	case next != nil && c.store == nil:
		return errors.New("BUG: a stateful evaluator without a store for its state")
	case next != nil && c.state != nil:
		if err := next.Restore(c.state.Checkpoint(nil)); err != nil {
			return fmt.Errorf("hand over the state of the rules: %w", err)
		}
	case next == nil && c.state != nil:
		if _, err := c.store.Save(checkpointKind, c.key, 0, nil); err != nil {
			return fmt.Errorf("remove the state of the rules: %w", err)
		}
		c.body, c.behind = nil, false
	}
	if c.state = next; next != nil && !c.behind {
		c.take(position)
	}
	return nil
}

// evaluateAgain brings the state past a message that is settled: what its
// rules make of it is neither sent nor counted.
func (l *Lane) evaluateAgain() {
	if l.checkpoints.state == nil || l.reader.Message(&l.message) != nil {
		return
	}
	for _, rule := range l.wanting {
		if r := &l.ledger.rules[rule]; r.state == fed {
			l.outcome.Reset()
			l.evaluator.Evaluate(r.number, &l.message, &l.outcome)
		}
	}
}

// tick tells the rules what time it is. What they make of it is of no message:
// it is counted among the records of its rules, and errors are only logged.
func (l *Lane) tick(id message.ID, at int64) {
	send := id.Offset >= l.checkpoints.resume
	if send {
		l.checkpoints.behind = false
		l.ledger.position = id.Offset + 1
		send = !l.wasSettled(id.Offset)
	}
	out := &l.outcome
	out.Reset()
	l.checkpoints.state.Tick(at, out)
	if !send {
		return
	}
	for i := range out.Errors {
		l.mistakes.note(0, l.names.of, id, &out.Errors[i])
	}
	if len(out.Records) == 0 {
		return
	}
	seq := l.ledger.begin(id.Offset, 0)
	l.ledger.window.at(seq).received = at
	for i := range out.Records {
		l.tickRecord(seq, id, &out.Records[i])
	}
	l.ledger.end(seq)
}

func (l *Lane) tickRecord(seq uint64, id message.ID, r *message.Record) {
	if r.Message == (message.ID{}) {
		r.Message = id
	}
	m := mark{seq: seq, rule: l.ledger.enter(r.Rule), size: int32(r.Size()), optional: true}
	l.ledger.outcome(seq, m.rule, ticked, 1)
	l.ledger.heldBytes += int64(m.size)
	l.router.route(r, m, l.now)
}
