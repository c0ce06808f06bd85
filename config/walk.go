package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/penstock/penstock/internal/problem"
	"github.com/penstock/penstock/rules"
)

// A walker reads the tree of one file against the types of Config. It collects
// every complaint, the place of every value, and returns the values in the
// types of the structs, ready to be merged and unmarshalled.
type walker struct {
	src      *source
	doc      document
	expander *expander
	index    *index
	lengths  map[string]int // of the lists in earlier files, by path
	problems problem.List
}

// file walks a whole file.
func (w *walker) file() map[string]any {
	if w.doc.body == nil {
		return nil
	}
	v, _ := w.value(w.doc.body, reflect.TypeFor[Config](), spot{})
	m, _ := v.(map[string]any)
	return m
}

// expectedValue is the key under which the word null is a value: a rule's test
// expects a tombstone.
const expectedValue = "rules.tests.expect.value"

// value reads a node as type t. ok is false when there was a complaint that
// leaves no value.
func (w *walker) value(n ast.Node, t reflect.Type, s spot) (v any, ok bool) {
	n, ok = w.bare(n, t, s)
	if !ok {
		return nil, false
	}
	switch {
	case isNull(n) && s.shape == expectedValue && written(w.src, n) != "":
		return rules.Tombstone{}, true
	case isNull(n):
		return nil, w.null(n, t, s)
	}
	switch t {
	case reflect.TypeFor[rules.HeadersConfig]():
		return w.headers(n, s)
	case reflect.TypeFor[rules.AckConfig]():
		return w.ack(n, s)
	case reflect.TypeFor[rules.GivenList]():
		return w.oneOrMany(n, t, s)
	case reflect.TypeFor[time.Duration]():
		return w.duration(n, s)
	}
	return w.kind(n, t, s)
}

// kind is value for the types that are not special.
func (w *walker) kind(n ast.Node, t reflect.Type, s spot) (any, bool) {
	switch t.Kind() {
	case reflect.Pointer:
		return w.value(n, t.Elem(), s)
	case reflect.Struct:
		return w.structure(n, t, s)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.String {
			return w.texts(n, t, s)
		}
		return w.list(n, t, s)
	case reflect.Map:
		return w.table(n, t, s)
	case reflect.Interface:
		return w.free(n, s, false)
	case reflect.String:
		return w.text(n, s)
	case reflect.Bool:
		return w.boolean(n, s)
	case reflect.Int, reflect.Int64:
		return w.number(n, s)
	default:
		panic(fmt.Sprintf("BUG: no way to read %s as %v", s.path, t))
	}
}

// structure reads a map with known keys.
func (w *walker) structure(n ast.Node, t reflect.Type, s spot) (any, bool) {
	entries, ok := entriesOf(n)
	if !ok {
		return nil, w.wrongType(n, s, "a map", mapExample(t))
	}
	fields := fieldsOf(t)
	values := map[string]any{}
	w.eachEntry(entries, s, func(key string, e *ast.MappingValueNode) {
		f, known := find(fields, key)
		if !known {
			w.unknownKey(e, s, key, fields)
			return
		}
		below := spot{path: s.key(key), shape: strings.TrimPrefix(s.shape+"."+key, "."), unit: f.unit, nested: s.nested}
		w.enter(e, below)
		if v, ok := w.value(e.Value, f.typ, below); ok {
			values[key] = v
		}
	})
	return values, true
}

// table reads a map with free keys: of texts, or of free YAML.
func (w *walker) table(n ast.Node, t reflect.Type, s spot) (any, bool) {
	entries, ok := entriesOf(n)
	if !ok {
		return nil, w.wrongType(n, s, "a map", "{name: text}")
	}
	values := map[string]any{}
	w.eachEntry(entries, s, func(key string, e *ast.MappingValueNode) {
		below := spot{path: s.key(key), shape: s.shape + ".*", nested: true}
		w.enter(e, below)
		var v any
		var ok bool
		if t.Elem().Kind() == reflect.String {
			v, ok = w.value(e.Value, t.Elem(), below)
		} else {
			v, ok = w.free(e.Value, below, true)
		}
		if ok {
			values[key] = v
		}
	})
	return values, true
}

// eachEntry calls f for the entries of a map whose keys can be used.
func (w *walker) eachEntry(entries []*ast.MappingValueNode, s spot, f func(string, *ast.MappingValueNode)) {
	seen := map[string]int{}
	for _, e := range entries {
		key, ok := w.keyText(e, s)
		if !ok {
			continue
		}
		at := start(w.src, e.Key)
		if first, twice := seen[key]; twice {
			line, _ := w.src.at(first)
			w.say(at, s.key(key), fmt.Sprintf("the key %q stands here twice, first in line %d", key, line), "")
			continue
		}
		seen[key] = at
		f(key, e)
	}
}

// keyText returns the text of a key.
func (w *walker) keyText(e *ast.MappingValueNode, s spot) (string, bool) {
	if _, merge := e.Key.(*ast.MergeKeyNode); merge {
		w.complain(start(w.src, e.Key), s.path, "merge keys (<<) are not supported", "write the keys out")
		return "", false
	}
	node := ast.Node(e.Key)
	if explicit, is := node.(*ast.MappingKeyNode); is {
		node = explicit.Value
	}
	key, _, _, ok := w.scalar(node)
	if !ok || strings.ContainsRune(key, placeholder) {
		w.complain(start(w.src, e.Key), s.path, "a key must be plain text", "put a text with special characters in single quotes")
		return "", false
	}
	return key, true
}

// enter notes the place of a key and its value.
func (w *walker) enter(e *ast.MappingValueNode, s spot) {
	at := place{src: w.src, key: start(w.src, e.Key), value: start(w.src, e.Value)}
	if isNull(e.Value) {
		at.value = at.key
	}
	if _, again := w.index.places[s.path]; !again {
		w.index.places[s.path] = at
	}
}

// list reads a list; one that an earlier file began goes on.
func (w *walker) list(n ast.Node, t reflect.Type, s spot) (any, bool) {
	nodes, ok := itemsOf(n)
	if !ok {
		return nil, w.wrongType(n, s, "a list", listExample(t.Elem()))
	}
	values := make([]any, 0, len(nodes))
	for _, item := range nodes {
		below := spot{path: fmt.Sprintf("%s[%d]", s.path, w.lengths[s.path]), shape: s.shape, nested: true}
		w.lengths[s.path]++
		at := start(w.src, item)
		w.index.places[below.path] = place{src: w.src, key: at, value: at}
		v, ok := w.value(item, t.Elem(), below)
		if !ok {
			v = map[string]any{} // keeps the place in the list
		}
		values = append(values, v)
	}
	return values, true
}

// texts reads a list of texts, or one text; a list that an earlier file began
// goes on.
func (w *walker) texts(n ast.Node, t reflect.Type, s spot) (any, bool) {
	nodes, isList := itemsOf(n)
	if !isList {
		nodes = []ast.Node{n}
	}
	values := make([]any, 0, len(nodes))
	for _, item := range nodes {
		item = w.rejoin(item)
		below := spot{path: fmt.Sprintf("%s[%d]", s.path, w.lengths[s.path]), shape: s.shape, nested: true}
		w.lengths[s.path]++
		at := start(w.src, item)
		w.index.places[below.path] = place{src: w.src, key: at, value: at}
		if v, ok := w.value(item, t.Elem(), below); ok {
			values = append(values, v)
		} else {
			w.index.broken[s.path] = true
		}
	}
	if !isList {
		at := w.index.places[s.path+"[0]"]
		at.key = w.index.places[s.path].key
		w.index.places[s.path] = at
	}
	return values, true
}

// oneOrMany reads a list of maps, or one map.
func (w *walker) oneOrMany(n ast.Node, t reflect.Type, s spot) (any, bool) {
	if _, isList := itemsOf(n); isList {
		return w.list(n, t, s)
	}
	below := spot{path: s.path + "[0]", shape: s.shape, nested: true}
	at := start(w.src, n)
	w.index.places[below.path] = place{src: w.src, key: at, value: at}
	v, ok := w.value(n, t.Elem(), below)
	if !ok {
		w.index.broken[s.path] = true
	}
	return []any{v}, ok
}

// headers reads a map of templates, or the word none.
func (w *walker) headers(n ast.Node, s spot) (any, bool) {
	if _, isMap := entriesOf(n); isMap {
		v, ok := w.table(n, reflect.TypeFor[map[string]string](), s)
		set := map[string]string{}
		values, _ := v.(map[string]any)
		for key, value := range values {
			set[key], _ = value.(string)
		}
		return rules.HeadersConfig{Set: set}, ok
	}
	word, _, _, ok := w.scalar(n)
	if !ok || word != "none" {
		return nil, w.wrongType(n, s, "a map of headers, or none", "{site: '{line}'}")
	}
	return rules.HeadersConfig{None: true}, true
}

// ack reads a level, or a map with the level and more.
func (w *walker) ack(n ast.Node, s spot) (any, bool) {
	if _, isMap := entriesOf(n); isMap {
		return w.structure(n, reflect.TypeFor[rules.AckConfig](), s)
	}
	if _, isList := itemsOf(n); isList {
		return nil, w.wrongType(n, s, "a level, or a map", "{level: delivered, within: 5s}")
	}
	level, ok := w.text(n, s)
	w.index.places[s.path+".level"] = w.index.places[s.path]
	return map[string]any{"level": level}, ok
}

// unknownKey complains about a key, and takes the one that was probably meant
// as written.
func (w *walker) unknownKey(e *ast.MappingValueNode, s spot, key string, fields []field) {
	keys := keysOf(fields)
	hint := problem.DidYouMean(strings.ToLower(key), keys)
	if _, isMap := entriesOf(e.Value); isMap {
		w.index.strange[s.path] = true
	}
	if nearest := problem.Nearest(strings.ToLower(key), keys); nearest != "" {
		w.index.broken[s.key(nearest)] = true
	} else if under := deeper(fields, key); under != "" {
		hint = fmt.Sprintf("%q belongs under %q", key, under)
	} else {
		hint = "keys here: " + strings.Join(keys, ", ")
	}
	message := fmt.Sprintf("unknown key %q", key)
	if s.shape != "" {
		message += fmt.Sprintf(" in %q", s.leaf())
	}
	w.say(start(w.src, e.Key), s.key(key), message, hint)
}

// deeper returns the key under which another one is known.
func deeper(fields []field, key string) string {
	for _, f := range fields {
		t := f.typ
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			continue
		}
		if _, ok := find(fieldsOf(t), key); ok {
			return f.key
		}
	}
	return ""
}

// complain notes a complaint about the value at a path, which then has none.
func (w *walker) complain(offset int, path, message, hint string) {
	w.index.broken[path] = true
	w.say(offset, path, message, hint)
}

// say notes a complaint about what is at an offset of the file.
func (w *walker) say(offset int, path, message, hint string) {
	p := w.src.problem(offset, message)
	p.Path, p.Hint = path, hint
	w.problems = append(w.problems, p)
}

// words returns the sorted keys of a set.
func words[V any](set map[string]V) []string { return slices.Sorted(maps.Keys(set)) }

// rejoin makes a text of what the library takes for a map although there is no
// blank behind the colon: [b:1].
func (w *walker) rejoin(n ast.Node) ast.Node {
	m, ok := n.(*ast.MappingNode)
	if !ok || m.IsFlowStyle || len(m.Values) != 1 || !isPlain(m.Values[0].Key) || !isPlain(m.Values[0].Value) {
		return n
	}
	at := start(w.src, n)
	seg := valueAt(w.src, at)
	text := w.src.text[seg.from:seg.to]
	if strings.Contains(text, ": ") || strings.HasSuffix(text, ":") {
		return n
	}
	joined := *m.Values[0].Key.GetToken()
	joined.Value, joined.Origin = text, text
	return &ast.StringNode{BaseNode: &ast.BaseNode{}, Value: text, Token: &joined}
}
