package rules

import (
	"errors"
	"fmt"
	"strings"

	"github.com/expr-lang/expr/file"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/rules/codec"
)

// The kinds of rule errors (C20): a fixed word for each cause, for counters and
// for the dead-letter file.
const (
	kindDecode = "decode"      // the payload is not what the rule needs it to be
	kindType   = "type"        // a value of the wrong type, or a failed operation
	kindNil    = "nil"         // nothing where something must be
	kindUnsafe = "unsafe_name" // text a device chose may not stand in this name
	kindNumber = "number"      // a number that cannot be written: infinite, too large
	kindBudget = "budget"      // too much work for one message
)

// A fault is why a rule failed on a message.
type fault struct {
	kind  string
	place string // the key of the rule: where, value, topic ...
	err   error
}

func (f *fault) Error() string { return f.place + ": " + f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

func newFault(kind, format string, args ...any) *fault {
	return &fault{kind: kind, err: fmt.Errorf(format, args...)}
}

// at returns err as a fault of one key of the rule.
func at(place string, err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return &fault{f.kind, place, f.err}
	}
	return &fault{kindOf(err), place, plainError(err)}
}

func kindOf(err error) string {
	var syntax *codec.SyntaxError
	switch {
	case errors.Is(err, errBudget), errors.Is(err, codec.ErrTooLarge), strings.Contains(err.Error(), "memory budget exceeded"):
		return kindBudget
	case errors.Is(err, errOverflow), errors.Is(err, codec.ErrNotFinite):
		return kindNumber
	case errors.As(err, &syntax), errors.Is(err, codec.ErrRange):
		return kindDecode
	}
	return kindType
}

// plainError takes the drawing of the source out of expr's errors, so that the
// same cause reads the same each time, on one line.
func plainError(err error) error {
	if kindOf(err) == kindBudget {
		return errBudget
	}
	var located *file.Error
	if !errors.As(err, &located) {
		return err
	}
	if located.Prev != nil && !strings.HasPrefix(located.Prev.Error(), "runtime error") &&
		!strings.HasPrefix(located.Prev.Error(), "interface conversion") {
		return located.Prev
	}
	return errors.New(plainMessage(located.Message))
}

// plainMessage puts what Go says about a wrong type into words.
func plainMessage(message string) string {
	message = strings.TrimPrefix(message, "runtime error: ")
	if got, want, ok := strings.Cut(strings.TrimPrefix(message, "interface conversion: interface {} is "), ", not "); ok &&
		strings.HasPrefix(message, "interface conversion: ") {
		return plainWords(want + " was expected, not " + got)
	}
	return strings.ReplaceAll(plainWords(message), "<nil>", "nothing")
}

// ruleError makes the lane's error of a fault.
func ruleError(f *fault, output uint32, drop bool) message.RuleError {
	return message.RuleError{Output: output, Kind: f.kind, Err: f, Drop: drop}
}
