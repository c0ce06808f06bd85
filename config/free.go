package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// free reads YAML of any shape, as a rule's tests hold it: data, in which no
// reference is expanded. A scalar on its own is text; inside a map or list an
// unquoted one is what JSON makes of it, and text where JSON makes nothing.
func (w *walker) free(n ast.Node, s spot, inside bool) (any, bool) {
	n, ok := w.bare(n, reflect.TypeFor[any](), s)
	if !ok {
		return nil, false
	}
	if entries, isMap := entriesOf(n); isMap {
		return w.freeMap(entries, s)
	}
	if items, isList := itemsOf(n); isList {
		return w.freeList(items, s)
	}
	if isNull(n) {
		if inside {
			return nil, true
		}
		w.complain(start(w.src, n), s.path, fmt.Sprintf("%q has no value", s.leaf()), "for JSON's null write 'null'; else leave the key out")
		return nil, false
	}
	return w.freeScalar(n, s, inside)
}

func (w *walker) freeScalar(n ast.Node, s spot, inside bool) (any, bool) {
	value, m, _, ok := w.scalar(n)
	if !ok {
		return nil, w.wrongType(n, s, "a value", "")
	}
	if strings.ContainsRune(value, placeholder) {
		return nil, w.misreadText(start(w.src, n), s)
	}
	w.note(s, m)
	if inside && isPlain(n) {
		return jsonScalar(value), true
	}
	return value, true
}

func (w *walker) freeMap(entries []*ast.MappingValueNode, s spot) (any, bool) {
	values, whole := map[string]any{}, true
	w.eachEntry(entries, s, func(key string, e *ast.MappingValueNode) {
		below := spot{path: s.key(key), shape: s.shape, nested: true}
		w.enter(e, below)
		v, ok := w.free(e.Value, below, true)
		values[key] = v
		whole = whole && ok
	})
	return values, whole
}

func (w *walker) freeList(items []ast.Node, s spot) (any, bool) {
	values, whole := make([]any, len(items)), true
	for i, item := range items {
		below := spot{path: fmt.Sprintf("%s[%d]", s.path, i), shape: s.shape, nested: true}
		at := start(w.src, item)
		w.index.places[below.path] = place{src: w.src, key: at, value: at}
		v, ok := w.free(item, below, true)
		values[i] = v
		whole = whole && ok
	}
	return values, whole
}

// jsonScalar returns what an unquoted scalar is in JSON: numbers, true and
// false. Integers stay integers.
func jsonScalar(value string) any {
	switch value {
	case "true", "false":
		return value == "true"
	}
	if value == "" || !json.Valid([]byte(value)) || strings.ContainsAny(value, `"{[ `) {
		return value
	}
	if i, err := strconv.ParseInt(value, 10, 64); err == nil {
		return i
	}
	if f, err := strconv.ParseFloat(value, 64); err == nil {
		return f
	}
	return value
}

// entriesOf returns the entries of a map.
func entriesOf(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// itemsOf returns the items of a list.
func itemsOf(n ast.Node) ([]ast.Node, bool) {
	if l, ok := n.(*ast.SequenceNode); ok {
		return l.Values, true
	}
	return nil, false
}
