package rules

import (
	"errors"
	"math"
	"reflect"

	"github.com/penstock/penstock/rules/codec"
)

// What one rule may spend on one message, so that neither a rule nor a payload
// can keep a lane busy: a few 100 ms at the very worst, a few times 8 MiB.
const (
	maxSteps = 1 << 18 // elements looked at, weighed by how much is done to each
	maxText  = 8 << 20 // bytes of text made
	maxItems = 1 << 18 // elements of lists and maps made in one expression
)

var (
	errBudget   = errors.New("the rule does too much work for one message")
	errOverflow = errors.New("the result does not fit a 64-bit integer")
)

// A budget is what is left to spend on the message at hand. Programs reach it
// through the variable budgetName.
type budget struct {
	steps int
	text  int
	// absent: a member of the payload was looked up that is not there.
	absent bool
}

func (b *budget) reset() { *b = budget{steps: maxSteps, text: maxText} }

func (b *budget) spend(steps int) error {
	if steps < 0 || steps > b.steps {
		b.steps = 0
		return errBudget
	}
	b.steps -= steps
	return nil
}

// grow pays for n bytes of text before they are made.
func (b *budget) grow(n int) error {
	if n < 0 || n > b.text {
		b.text = 0
		return errBudget
	}
	b.text -= n
	return nil
}

// How many bytes of text are read for one step: by most functions, and by a
// regular expression, which is slower by far.
const (
	textStep    = 1024
	patternStep = 16
)

// weigh pays for reading all of v, however deep. A value that refers to itself
// many times over counts each time, and one too deep costs everything, so that
// whatever passes is safe to recurse into.
func (b *budget) weigh(v any) error { return b.weighAt(v, 0) }

func (b *budget) weighAt(v any, depth int) error {
	if depth > codec.MaxDepth {
		return b.spend(math.MaxInt)
	}
	switch v := v.(type) {
	case nil, bool, int, int64, float64:
		return b.spend(1)
	case string:
		return b.spend(1 + len(v)/textStep)
	case []byte:
		return b.spend(1 + len(v)/textStep)
	case []any:
		return b.weighList(len(v), func(i int) any { return v[i] }, depth)
	case map[string]any:
		for k, e := range v {
			if err := b.spend(1 + len(k)/textStep); err != nil {
				return err
			}
			if err := b.weighAt(e, depth+1); err != nil {
				return err
			}
		}
		return b.spend(1)
	}
	return b.weighRare(reflect.ValueOf(v), depth)
}

func (b *budget) weighList(n int, at func(int) any, depth int) error {
	if err := b.spend(1); err != nil {
		return err
	}
	for i := range n {
		if err := b.weighAt(at(i), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (b *budget) weighRare(v reflect.Value, depth int) error {
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		return b.weighList(v.Len(), func(i int) any { return v.Index(i).Interface() }, depth)
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if err := b.weighAt(it.Value().Interface(), depth+1); err != nil {
				return err
			}
		}
	default:
	}
	return b.spend(1)
}
