package rules

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/expr-lang/expr/vm/runtime"
)

// Integers are 64 bits wide on every machine and never wrap around: expr's own
// operators compute in int, which has 32 bits on some, and wrap silently.

// integer returns v when it is one.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case int:
		return int64(v), true
	}
	return 0, false
}

func integers(a, b any) (x, y int64, ok bool) {
	x, okX := integer(a)
	y, okY := integer(b)
	return x, y, okX && okY
}

// float returns any number as a float64.
func float(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case int:
		return float64(v), true
	}
	return 0, false
}

func add(b *budget, l, r any) (any, error) {
	if x, y, ok := integers(l, r); ok {
		sum := x + y
		if (sum > x) != (y > 0) && y != 0 {
			return nil, errOverflow
		}
		return sum, nil
	}
	if x, ok := l.(string); ok {
		if y, ok := r.(string); ok {
			if err := b.grow(len(x) + len(y)); err != nil {
				return nil, err
			}
			return x + y, nil
		}
	}
	return runtime.Add(l, r), nil
}

func subtract(l, r any) (any, error) {
	x, y, ok := integers(l, r)
	if !ok {
		return runtime.Subtract(l, r), nil
	}
	difference := x - y
	if (difference < x) != (y > 0) && y != 0 {
		return nil, errOverflow
	}
	return difference, nil
}

func multiply(l, r any) (any, error) {
	x, y, ok := integers(l, r)
	if !ok {
		return runtime.Multiply(l, r), nil
	}
	hi, lo := bits.Mul64(magnitude(x), magnitude(y))
	negative := (x < 0) != (y < 0)
	switch {
	case hi == 0 && lo <= math.MaxInt64:
		if negative {
			return -int64(lo), nil
		}
		return int64(lo), nil
	case hi == 0 && negative && lo == 1<<63:
		return int64(math.MinInt64), nil
	}
	return nil, errOverflow
}

func magnitude(x int64) uint64 {
	if x < 0 {
		return -uint64(x)
	}
	return uint64(x)
}

func modulo(l, r any) (any, error) {
	x, y, ok := integers(l, r)
	switch {
	case !ok:
		return nil, fmt.Errorf("invalid operation: %s %% %s", typeName(l), typeName(r))
	case y == 0:
		return nil, fmt.Errorf("division by zero")
	case y == -1:
		return int64(0), nil
	}
	return x % y, nil
}

func negate(v any) (any, error) {
	x, ok := integer(v)
	if !ok {
		return runtime.Negate(v), nil
	}
	if x == math.MinInt64 {
		return nil, errOverflow
	}
	return -x, nil
}

// equal is expr's ==, but integers of any width compare as they are.
func equal(l, r any) bool {
	if x, y, ok := integers(l, r); ok {
		return x == y
	}
	return runtime.Equal(l, r)
}

// less is expr's <, but integers of any width compare as they are. It panics
// with the reason where the two cannot be compared, as expr's does.
func less(l, r any) bool {
	if x, y, ok := integers(l, r); ok {
		return x < y
	}
	return runtime.Less(l, r)
}

func lessOrEqual(l, r any) bool {
	if x, y, ok := integers(l, r); ok {
		return x <= y
	}
	return runtime.LessOrEqual(l, r)
}

func more(l, r any) bool {
	if x, y, ok := integers(l, r); ok {
		return x > y
	}
	return runtime.More(l, r)
}

func moreOrEqual(l, r any) bool {
	if x, y, ok := integers(l, r); ok {
		return x >= y
	}
	return runtime.MoreOrEqual(l, r)
}

// maxDigits is how many digits round knows, before and behind the point.
const maxDigits = 18

// round rounds half away from zero to so many digits behind the point.
func round(args []any) (any, error) {
	digits := int64(0)
	if len(args) == 2 {
		var ok bool
		if digits, ok = integer(args[1]); !ok || digits < -maxDigits || digits > maxDigits {
			return nil, fmt.Errorf("round: digits are a whole number from -%d to %d", maxDigits, maxDigits)
		}
	}
	if x, ok := integer(args[0]); ok && digits >= 0 {
		return x, nil
	}
	x, ok := float(args[0])
	if !ok {
		return nil, fmt.Errorf("round: a number was expected, not %s", typeName(args[0]))
	}
	return roundFloat(x, digits), nil
}

func roundFloat(x float64, digits int64) float64 {
	scale := math.Pow10(int(max(digits, -digits)))
	if digits < 0 {
		return math.Round(x/scale) * scale
	}
	if scaled := x * scale; math.Abs(scaled) < 1<<53 {
		return math.Round(scaled) / scale
	}
	return x // no digits are left to round
}
