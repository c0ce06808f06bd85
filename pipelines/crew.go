package pipelines

import (
	"runtime"
	"time"

	"github.com/penstock/penstock/internal/message"
)

const (
	// busyTurns is how many turns in a row a lane must find a full turn's
	// messages, with room for what they become, before it gets help.
	busyTurns = 32
	// worthwhile is what a rule must take to evaluate, at the median of these
	// turns: to hand a message and its records from core to core costs a third
	// of it.
	worthwhile = 500 * time.Nanosecond
	// maxBlocks bounds the blocks of a lane, and with them its evaluators.
	maxBlocks = 9
)

// A crew evaluates blocks of messages beside the lane's goroutine, where that
// alone keeps one core busy. Its goroutines are one for each block under way,
// and none when the lane keeps up. The lane's goroutine owns all but the blocks
// under way.
type crew struct {
	limit  int           // blocks; 0: the lane evaluates alone
	full   int           // messages in a turn: framesPerTurn
	after  int           // busyTurns
	price  time.Duration // worthwhile
	busy   int           // turns in a row
	costly int           // of these: how many saw an evaluation that took price or longer
	on     bool
	free   []*block
	queue  []*block    // in the order of the journal
	done   chan *block // capacity limit: a block never waits
}

// newCrew returns a crew that leaves one block to the lane's goroutine, or none
// for a lane that evaluates alone: a stateful evaluator works in the order of
// offsets (C21).
func newCrew(alone bool) *crew {
	c := &crew{full: framesPerTurn, after: busyTurns, price: worthwhile}
	c.renew(alone)
	return c
}

// renew forgets evaluators and habits of earlier rules. No block may be under way.
func (c *crew) renew(alone bool) {
	c.limit, c.free = 0, nil
	if n := runtime.GOMAXPROCS(0); n > 1 && !alone {
		c.limit = min(n+1, maxBlocks)
	}
	c.done = make(chan *block, c.limit)
	c.rest()
}

// worked notes how many messages the lane read alone in a turn, one of which took
// so long to evaluate.
func (c *crew) worked(n int, took time.Duration) {
	if c.limit == 0 {
		return
	}
	if n < c.full {
		c.busy, c.costly = 0, 0
		return
	}
	c.busy++
	if took >= c.price {
		c.costly++
	}
	if c.busy >= c.after {
		c.on = 2*c.costly > c.busy
		c.busy, c.costly = 0, 0
	}
}

// rest sends the crew home.
func (c *crew) rest() { c.on, c.busy, c.costly = false, 0, 0 }

// take returns an empty block, nil when all are under way.
func (c *crew) take(evaluators func() Evaluator) *block {
	if n := len(c.free); n > 0 {
		b := c.free[n-1]
		c.free = c.free[:n-1]
		return b
	}
	if len(c.queue) == c.limit {
		return nil
	}
	return &block{evaluator: evaluators()}
}

// start has a block evaluated, and enters it in the order of the journal.
func (c *crew) start(b *block) {
	c.queue = append(c.queue, b)
	if b.done = len(b.items) == 0; !b.done {
		go b.run(c.done)
	}
}

// head returns the oldest block, nil when there is none or it is under way.
func (c *crew) head() *block {
	if len(c.queue) == 0 || !c.queue[0].done {
		return nil
	}
	return c.queue[0]
}

// pop frees the oldest block, of which all was entered.
func (c *crew) pop() {
	b := c.queue[0]
	c.queue = append(c.queue[:0], c.queue[1:]...)
	b.clear()
	c.free = append(c.free, b)
}

// idles reports whether a crew at work has nothing for the lane's goroutine to
// do: nothing to enter, and nothing to read or no block for it.
func (c *crew) idles(dry bool) bool {
	return c.head() == nil && (dry || len(c.queue) == c.limit)
}

// await waits until no block is under way.
func (c *crew) await() {
	for _, b := range c.queue {
		for !b.done {
			(<-c.done).done = true
		}
	}
}

// drop forgets what was evaluated and not entered.
func (c *crew) drop() {
	c.await()
	c.queue, c.free = nil, nil
}

// A block is messages that follow one another, evaluated by one goroutine.
type block struct {
	evaluator Evaluator
	done      bool // set by the lane's goroutine

	items    []blockItem
	messages []message.Message // of the item at the same index
	wants    []want
	outcome  message.Outcome // of all of them
	last     uint64          // offset of the last message read, wanted or not

	// How far the lane's goroutine entered it.
	item, want, records, errors int
}

// A blockItem is one message that rules of the lane want.
type blockItem struct {
	offset uint64
	size   int // of its frame
	wants  int // of block.wants
	err    error
}

// A want is one rule that wants the message, and what it made of it.
type want struct {
	rule                      int32  // index
	number                    uint32 // 0: the rule is retired
	records, errors           int    // of the block's outcome
	filtered, missing, shadow bool
}

func (b *block) run(done chan<- *block) {
	w := 0
	for i := range b.items {
		for range b.items[i].wants {
			if b.items[i].err == nil && b.wants[w].number != 0 {
				b.evaluate(&b.wants[w], &b.messages[i])
			}
			w++
		}
	}
	done <- b
}

func (b *block) evaluate(w *want, m *message.Message) {
	o := &b.outcome
	o.Filtered, o.Missing, o.Shadow = false, false, false
	records, errors := len(o.Records), len(o.Errors)
	b.evaluator.Evaluate(w.number, m, o)
	w.records, w.errors = len(o.Records)-records, len(o.Errors)-errors
	w.filtered, w.missing, w.shadow = o.Filtered, o.Missing, o.Shadow
}

// next returns what the next want was answered, as views of the block's outcome.
func (b *block) next() (rule int32, gone bool, out message.Outcome) {
	w := &b.wants[b.want]
	b.want++
	out = message.Outcome{
		Records: b.outcome.Records[b.records : b.records+w.records], Errors: b.outcome.Errors[b.errors : b.errors+w.errors],
		Filtered: w.filtered, Missing: w.missing, Shadow: w.shadow,
	}
	b.records, b.errors = b.records+w.records, b.errors+w.errors
	return w.rule, w.number == 0, out
}

// clear lets go of what the block refers to.
func (b *block) clear() {
	clear(b.messages)
	b.outcome.Reset()
	b.items, b.messages, b.wants = b.items[:0], b.messages[:0], b.wants[:0]
	b.item, b.want, b.records, b.errors = 0, 0, 0, 0
	b.done = false
}
