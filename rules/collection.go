package rules

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/expr-lang/expr/vm/runtime"

	"github.com/penstock/penstock/rules/codec"
)

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
	var n int
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
	return rareMember(reflect.ValueOf(args[0]), args[1]), nil
}

// rareMember looks into the lists and maps that expr's functions make.
func rareMember(from reflect.Value, key any) any {
	switch from.Kind() {
	case reflect.Slice, reflect.Array:
		if i, ok := place(key, from.Len()); ok {
			return from.Index(i).Interface()
		}
	case reflect.Map:
		k := reflect.ValueOf(key)
		if !k.IsValid() || !k.Comparable() || !k.Type().AssignableTo(from.Type().Key()) {
			return nil
		}
		if v := from.MapIndex(k); v.IsValid() {
			return v.Interface()
		}
	default:
	}
	return nil
}

// place returns an index into a list of n; a negative one counts from the end.
func place(index any, n int) (int, bool) {
	i, ok := integer(index)
	if i < 0 {
		i += int64(n)
	}
	return int(i), ok && i >= 0 && i < int64(n)
}
