package rules

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/vm/runtime"

	"github.com/penstock/penstock/rules/codec"
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
		{name: ">", call: comparison(func(l, r any) bool { return less(r, l) })},
		{name: ">=", call: comparison(func(l, r any) bool { return lessOrEqual(r, l) })},
		{name: "==", call: comparison(equal)},
		{name: "!=", call: comparison(func(l, r any) bool { return !equal(l, r) })},
		{name: "in", call: in},
		{name: "each", call: each},
		{name: "read", call: func(b *budget, a []any) (any, error) { return a[0], b.weigh(a[0]) }},
		{name: "wide", call: func(_ *budget, a []any) (any, error) { return widen(a)[0], nil }},
		{name: "member", call: func(b *budget, a []any) (any, error) {
			v, err := member(b, a)
			b.absent = b.absent || v == nil
			return v, err
		}},
	}
}

// comparison makes a function that pays for the text it reads.
func comparison(compare func(l, r any) bool) func(*budget, []any) (any, error) {
	return func(b *budget, a []any) (any, error) {
		if err := b.weigh(a[0]); err != nil {
			return nil, err
		}
		if err := b.weigh(a[1]); err != nil {
			return nil, err
		}
		return compare(a[0], a[1]), nil
	}
}

func free(f func([]any) (any, error)) func(*budget, []any) (any, error) {
	return func(_ *budget, args []any) (any, error) { return f(args) }
}

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

func toInt(args []any) (any, error) {
	switch v := args[0].(type) {
	case int64, int:
		n, _ := integer(v)
		return n, nil
	case float64:
		if v >= -1<<63 && v < 1<<63 {
			return int64(v), nil
		}
		return nil, errOverflow
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("int: %.40q is not a whole number", v)
		}
		return n, nil
	}
	if r := reflect.ValueOf(args[0]); r.IsValid() && r.CanInt() {
		return r.Int(), nil // a time.Month, a time.Duration
	}
	return nil, fmt.Errorf("int: a number or text was expected, not %s", typeName(args[0]))
}

// toString returns text as it is and everything else as JSON.
func toString(b *budget, args []any) (any, error) {
	switch v := args[0].(type) {
	case string:
		return v, nil
	case []byte:
		if err := b.grow(len(v)); err != nil {
			return nil, err
		}
		return string(v), nil
	case time.Time:
		return string(codec.AppendTime(nil, v)), nil
	case time.Duration:
		return v.String(), nil
	}
	return toJSON(b, args)
}

func toJSON(b *budget, args []any) (any, error) {
	if err := b.weigh(args[0]); err != nil {
		return nil, err
	}
	text, err := codec.Append(nil, args[0], b.text)
	if err != nil {
		return nil, err
	}
	return string(text), b.grow(len(text))
}

func fromJSON(b *budget, args []any) (any, error) {
	var text []byte
	switch v := args[0].(type) {
	case string:
		text = []byte(v)
	case []byte:
		text = v
	default:
		return nil, fmt.Errorf("fromJSON: text was expected, not %s", typeName(v))
	}
	if err := b.spend(len(text) / 16); err != nil {
		return nil, err
	}
	return codec.Decode(text)
}

func toBase64(b *budget, args []any) (any, error) {
	switch v := args[0].(type) {
	case string:
		return base64.StdEncoding.EncodeToString([]byte(v)), b.grow(2 * len(v))
	case []byte:
		return base64.StdEncoding.EncodeToString(v), b.grow(2 * len(v))
	}
	return nil, fmt.Errorf("toBase64: text or bytes were expected, not %s", typeName(args[0]))
}

// entries makes a function over a map's entries in the order of their keys:
// a rule gives the same answer each time.
func entries(of func(k string, v any) any) func(*budget, []any) (any, error) {
	return func(b *budget, args []any) (any, error) {
		m, err := stringMap(args[0])
		if err != nil {
			return nil, err
		}
		if err := b.spend(1 + len(m)); err != nil {
			return nil, err
		}
		names := make([]string, 0, len(m))
		for k := range m {
			names = append(names, k)
		}
		slices.Sort(names)
		list := make([]any, len(names))
		for i, k := range names {
			list[i] = of(k, m[k])
		}
		return list, nil
	}
}

// stringMap returns any map with its keys as text.
func stringMap(v any) (map[string]any, error) {
	if m, ok := v.(map[string]any); ok {
		return m, nil
	}
	r := reflect.ValueOf(v)
	if r.Kind() != reflect.Map {
		return nil, fmt.Errorf("a map was expected, not %s", typeName(v))
	}
	m := make(map[string]any, r.Len())
	for _, k := range r.MapKeys() {
		name, err := codec.KeyText(k.Interface())
		if err != nil {
			return nil, err
		}
		m[name] = r.MapIndex(k).Interface()
	}
	return m, nil
}

func uniq(b *budget, args []any) (any, error) {
	list, err := anyList(args[0])
	if err != nil {
		return nil, err
	}
	kept := []any{}
	for _, v := range list {
		before := b.steps
		if err := b.weigh(v); err != nil {
			return nil, err
		}
		if err := b.spend(len(kept) * (before - b.steps) / 8); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(kept, func(k any) bool { return equal(k, v) }) {
			kept = append(kept, v)
		}
	}
	return kept, nil
}

func anyList(v any) ([]any, error) {
	if list, ok := v.([]any); ok {
		return list, nil
	}
	r := reflect.ValueOf(v)
	if r.Kind() != reflect.Slice && r.Kind() != reflect.Array {
		return nil, fmt.Errorf("a list was expected, not %s", typeName(v))
	}
	list := make([]any, r.Len())
	for i := range list {
		list[i] = r.Index(i).Interface()
	}
	return list, nil
}

// in is expr's `in`, at a price; what cannot be a key is in no map.
func in(b *budget, args []any) (any, error) {
	needle, where := args[0], args[1]
	if m, ok := where.(map[string]any); ok {
		key, isText := needle.(string)
		_, found := m[key]
		return isText && found, nil
	}
	if where == nil {
		return false, nil
	}
	if r := reflect.ValueOf(where); r.Kind() != reflect.Slice && r.Kind() != reflect.Array {
		return runtime.In(needle, where), nil
	}
	if err := b.weigh(where); err != nil {
		return nil, err
	}
	list, err := anyList(where)
	return slices.ContainsFunc(list, func(v any) bool { return equal(v, needle) }), err
}

// each pays for a walk over a list; its second argument is how much is done to
// each element.
func each(b *budget, args []any) (any, error) {
	n := 0
	switch v := args[0].(type) {
	case []any:
		n = len(v)
	case []int:
		n = len(v)
	default:
		r := reflect.ValueOf(v)
		if r.Kind() != reflect.Slice && r.Kind() != reflect.Array {
			return nil, fmt.Errorf("a list was expected, not %s", typeName(v))
		}
		n = r.Len()
	}
	weight, _ := args[1].(int)
	return args[0], b.spend(1 + n*weight)
}

// member looks up a member of a map or list. What is not there is nil, at any
// depth; so is a member of what has none.
func member(_ *budget, args []any) (any, error) {
	switch from := args[0].(type) {
	case map[string]any:
		key, _ := args[1].(string)
		return from[key], nil
	case []any:
		if i, ok := place(args[1], len(from)); ok {
			return from[i], nil
		}
		return nil, nil
	case nil, string, bool, int, int64, float64:
		return nil, nil
	}
	r := reflect.ValueOf(args[0])
	switch r.Kind() {
	case reflect.Slice, reflect.Array:
		if i, ok := place(args[1], r.Len()); ok {
			return r.Index(i).Interface(), nil
		}
	case reflect.Map:
		key := reflect.ValueOf(args[1])
		if key.IsValid() && key.Comparable() && key.Type().AssignableTo(r.Type().Key()) {
			if v := r.MapIndex(key); v.IsValid() {
				return v.Interface(), nil
			}
		}
	}
	return nil, nil
}

// place returns an index into a list of n; a negative one counts from the end.
func place(index any, n int) (int, bool) {
	i, ok := integer(index)
	if i < 0 {
		i += int64(n)
	}
	return int(i), ok && i >= 0 && i < int64(n)
}

// typeName names what a value is, for a person.
func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case bool:
		return "true or false"
	case int, int64, float64:
		return "a number"
	case string:
		return "text"
	case []byte:
		return "bytes"
	case time.Time:
		return "a time"
	case time.Duration:
		return "a duration"
	}
	switch reflect.ValueOf(v).Kind() {
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map:
		return "a map"
	default:
		return fmt.Sprintf("a %T", v)
	}
}
