package rules

import (
	"strconv"
	"strings"

	"github.com/expr-lang/expr/builtin"
)

// charged are expr's own functions that read or make something large; the
// others cost nothing worth counting.
func charged() []string {
	return []string{
		"trim", "trimPrefix", "trimSuffix", "upper", "lower", "split", "splitAfter", "replace", "repeat", "join",
		"indexOf", "lastIndexOf", "hasPrefix", "hasSuffix", "max", "min", "mean", "median", "fromBase64", "date",
		"fromPairs", "reverse", "concat", "flatten", "sort", "take",
		"bitand", "bitor", "bitxor", "bitnand", "bitnot", "bitshl", "bitshr", "bitushr",
	}
}

// stock calls one of expr's functions once its arguments, and what it will
// make of them, are paid for.
func stock(name string) func(*budget, []any) (any, error) {
	f := builtin.Builtins[builtin.Index[name]]
	return func(b *budget, args []any) (any, error) {
		for _, a := range args {
			if err := b.weigh(a); err != nil {
				return nil, err
			}
		}
		if err := b.foresee(name, args); err != nil {
			return nil, err
		}
		if strconv.IntSize == 32 {
			args = widen(args)
		}
		switch {
		case f.Fast != nil:
			return f.Fast(args[0]), nil
		case f.Safe != nil:
			v, _, err := f.Safe(args...)
			return v, err
		}
		return f.Func(args...)
	}
}

// foresee pays for the text a function is about to make.
func (b *budget) foresee(name string, args []any) error {
	arg := func(i int) string {
		if i >= len(args) {
			return ""
		}
		s, _ := args[i].(string)
		return s
	}
	switch name {
	case "upper", "lower":
		return b.grow(3 * len(arg(0)))
	case "repeat":
		n, _ := float(args[1])
		return b.grow(int(min(n*float64(len(arg(0))), maxText+1)))
	case "replace":
		return b.grow(len(arg(0)) + product(strings.Count(arg(0), arg(1)), len(arg(2))))
	case "split", "splitAfter":
		return b.spend(strings.Count(arg(0), arg(1)))
	case "join":
		return b.growJoined(args[0], len(arg(1)))
	}
	return nil
}

// product multiplies without passing what no budget pays for anyway.
func product(n, m int) int { return int(min(float64(n)*float64(m), maxText+1)) }

func (b *budget) growJoined(parts any, glue int) error {
	total := 0
	switch parts := parts.(type) {
	case []any:
		for _, p := range parts {
			s, _ := p.(string)
			total += len(s)
		}
		total += product(len(parts), glue)
	case []string:
		for _, s := range parts {
			total += len(s)
		}
		total += product(len(parts), glue)
	}
	return b.grow(total)
}

// widen makes floats of integers beyond 32 bits where int has no more: expr's
// functions would cut them.
func widen(args []any) []any {
	wide := make([]any, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case int64:
			if wide[i] = int(a); int64(int(a)) != a {
				wide[i] = float64(a)
			}
		case []any:
			wide[i] = widen(a)
		default:
			wide[i] = a
		}
	}
	return wide
}
