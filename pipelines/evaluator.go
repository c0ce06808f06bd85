package pipelines

import "github.com/penstock/penstock/internal/message"

// An Evaluator runs rules for one lane. It is used by one goroutine at a time.
type Evaluator interface {
	// Rules returns the numbers of the rules with an output to the lane's sink.
	Rules() []uint32
	// Evaluate runs one rule on one message and adds what it makes to out,
	// whose records and errors may be those of other messages. It must be a
	// pure function, unless the Evaluator is Stateful: the lane evaluates again
	// after a crash, and several messages at a time, and expects the same
	// records (C16).
	Evaluate(rule uint32, m *message.Message, out *message.Outcome)
}

// Stateful is an Evaluator that remembers messages (C21). It is called in the
// order of offsets, and what it makes must depend on nothing but the messages
// and ticks it has seen.
type Stateful interface {
	Evaluator
	// Checkpoint appends the state.
	Checkpoint(dst []byte) []byte
	// Restore takes over a state that Checkpoint appended, of these rules or of
	// their form before an update. On an error the state stays what it was.
	Restore(state []byte) error
	// Tick says that the journal's time is at, in Unix milliseconds. What it
	// makes needs no message: the tick's own id stands for it.
	Tick(at int64, out *message.Outcome)
}
