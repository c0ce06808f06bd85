package pipelines

import "github.com/penstock/penstock/internal/message"

// An Evaluator runs rules for one lane. It is owned by the lane's goroutine.
type Evaluator interface {
	// Rules returns the numbers of the rules with an output to the lane's sink.
	Rules() []uint32
	// Evaluate runs one rule on one message. It must be a pure function: the
	// lane evaluates again after a crash and expects the same records (C16).
	Evaluate(rule uint32, m *message.Message, out *message.Outcome)
}
