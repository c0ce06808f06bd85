package rules

import (
	"reflect"
	"time"

	"github.com/expr-lang/expr/builtin"
)

// A function is one that programs call with the budget as first argument.
type function struct {
	name  string
	types []any // its shapes as the type checker sees them, pointers to functions
	call  func(b *budget, args []any) (any, error)
}

// internal is what stands before the name of a function that only the rewriter
// may write: no expression can spell it.
const internal = " "

// functionTable returns the functions of the expression language: for the
// checker under their own names, for programs under the internal ones.
func functionTable() map[string]*builtin.Function {
	table := map[string]*builtin.Function{}
	for _, f := range ours() {
		if f.types != nil {
			table[f.name] = public(f)
		}
		table[internal+f.name] = private(f)
	}
	for _, name := range charged() {
		table[internal+name] = private(function{name: name, call: stock(name)})
	}
	return table
}

func public(f function) *builtin.Function {
	types := make([]reflect.Type, len(f.types))
	for i, t := range f.types {
		types[i] = reflect.TypeOf(t).Elem()
	}
	return &builtin.Function{Name: f.name, Types: types}
}

func private(f function) *builtin.Function {
	return &builtin.Function{Name: internal + f.name, Func: func(args ...any) (any, error) {
		return f.call(args[0].(*budget), args[1:]) //nolint:forcetypeassert // the rewriter wrote this argument
	}}
}

// ours are the functions that are not expr's, or not as expr has them: exact
// integers, one order of a map's keys, a price for what is made. Those without
// types are operators and what the rewriter needs.
func ours() []function {
	return append(operators(), []function{
		{"round", []any{new(func(float64) float64), new(func(float64, int) float64)}, free(round)},
		{"int", []any{new(func(any) int64)}, free(toInt)},
		{"string", []any{new(func(any) string)}, toString},
		{"toJSON", []any{new(func(any) string)}, toJSON},
		{"fromJSON", []any{new(func(any) any)}, fromJSON},
		{"toBase64", []any{new(func(any) string)}, toBase64},
		{"keys", []any{new(func(any) []any)}, entries(func(k string, _ any) any { return k })},
		{"values", []any{new(func(any) []any)}, entries(func(_ string, v any) any { return v })},
		{"toPairs", []any{new(func(any) []any)}, entries(func(k string, v any) any { return []any{k, v} })},
		{"uniq", []any{new(func(any) []any)}, uniq},
		{"get", []any{new(func(any, any) any)}, member},
		{"env", []any{new(func(string) string)}, nil}, // the rewriter puts the value in its place
		{"timezone", []any{new(func(string) *time.Location)}, nil},
	}...)
}

func operators() []function {
	return []function{
		{name: "+", call: func(b *budget, a []any) (any, error) { return add(b, a[0], a[1]) }},
		{name: "-", call: func(_ *budget, a []any) (any, error) { return subtract(a[0], a[1]) }},
		{name: "*", call: func(_ *budget, a []any) (any, error) { return multiply(a[0], a[1]) }},
		{name: "%", call: func(_ *budget, a []any) (any, error) { return modulo(a[0], a[1]) }},
		{name: "neg", call: func(_ *budget, a []any) (any, error) { return negate(a[0]) }},
		{name: "<", call: comparison(less)},
		{name: "<=", call: comparison(lessOrEqual)},
		{name: ">", call: comparison(more)},
		{name: ">=", call: comparison(moreOrEqual)},
		{name: "==", call: comparison(equal)},
		{name: "!=", call: comparison(func(l, r any) bool { return !equal(l, r) })},
		{name: "in", call: in},
		{name: "each", call: each},
		{name: "read", call: func(b *budget, a []any) (any, error) { return a[0], b.weigh(a[0]) }},
		{name: "scan", call: func(b *budget, a []any) (any, error) {
			text, _ := a[0].(string)
			raw, _ := a[0].([]byte)
			return a[0], b.spend((len(text) + len(raw)) / patternStep)
		}},
		{name: "wide", call: func(_ *budget, a []any) (any, error) { return widen(a)[0], nil }},
		{name: "member", call: func(b *budget, a []any) (any, error) {
			v, err := member(b, a)
			b.absent = b.absent || v == nil
			return v, err
		}},
	}
}

// comparison makes a function that pays for the text and the lists it reads; a
// scalar is paid for with the operator.
func comparison(compare func(l, r any) bool) func(*budget, []any) (any, error) {
	return func(b *budget, a []any) (any, error) {
		for _, v := range a {
			switch v := v.(type) {
			case nil, bool, int, int64, float64:
			case string:
				if err := b.spend(len(v) / textStep); err != nil {
					return nil, err
				}
			default:
				if err := b.weigh(v); err != nil {
					return nil, err
				}
			}
		}
		return compare(a[0], a[1]), nil
	}
}

func free(f func([]any) (any, error)) func(*budget, []any) (any, error) {
	return func(_ *budget, args []any) (any, error) { return f(args) }
}
