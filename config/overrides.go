package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/penstock/penstock/internal/problem"
)

// overridePrefix begins the names of variables that override values; what
// only begins PENSTOCK_ is somebody else's.
const overridePrefix = "PENSTOCK__"

// environment returns the variables as a map.
func environment(environ []string) map[string]string {
	vars := map[string]string{}
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok {
			vars[name] = value
		}
	}
	return vars
}

// overrides reads the variables that override values: one `__` per level,
// PENSTOCK__JOURNAL__MAX_BYTES. Their values are taken as they are; relative
// paths begin in dir.
func (ix *index) overrides(vars map[string]string, dir string) (values map[string]any, problems problem.List) {
	values = map[string]any{}
	for _, name := range words(vars) {
		rest, ok := strings.CutPrefix(name, overridePrefix)
		if !ok {
			continue
		}
		keys := strings.Split(strings.ToLower(rest), "__")
		f, p := resolve(keys)
		if p.Message != "" {
			p.File = name
			problems = append(problems, p)
			continue
		}
		v, ok, complaints := ix.override(name, vars[name], keys, f, dir)
		problems = append(problems, complaints...)
		if ok {
			put(values, keys, v)
		}
	}
	return values, problems
}

// resolve finds the field that a variable names.
func resolve(keys []string) (field, problem.Problem) {
	f := field{typ: reflect.TypeFor[Config]()}
	for i, key := range keys {
		t := structOf(f.typ)
		if t.Kind() != reflect.Struct {
			return f, problem.New("", "%q holds no further keys", strings.Join(keys[:i], "."))
		}
		next, ok := find(fieldsOf(t), key)
		if !ok {
			hint := problem.DidYouMean(key, keysOf(fieldsOf(t)))
			if near := problem.Nearest(key, keysOf(fieldsOf(t))); near != "" {
				fixed := slices.Concat(keys[:i], []string{near}, keys[i+1:])
				hint = fmt.Sprintf("did you mean %q?", overridePrefix+strings.ToUpper(strings.Join(fixed, "__")))
			}
			return f, problem.New("", "no key is named %q", strings.Join(keys[:i+1], ".")).WithHint("%s", hint)
		}
		f = next
	}
	switch structOf(f.typ).Kind() {
	case reflect.Slice:
		return f, problem.New("", "%q is a list, which a variable cannot set", strings.Join(keys, "."))
	case reflect.Struct:
		return f, problem.New("", "%q is a map, which a variable cannot set", strings.Join(keys, ".")).
			WithHint("name one of its keys: %s", strings.Join(keysOf(fieldsOf(structOf(f.typ))), ", "))
	default:
		return f, problem.Problem{}
	}
}

// structOf returns the struct that a type points to, or the type.
func structOf(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct {
		return t.Elem()
	}
	return t
}

// override reads one variable as if it stood in a file of its own.
func (ix *index) override(name, value string, keys []string, f field, dir string) (any, bool, problem.List) {
	path := strings.Join(keys, ".")
	src := &source{name: name, dir: dir, lines: []int{0}}
	src.setText(value)
	w := &walker{src: src, expander: &expander{dir: dir, literal: true}, index: newIndex()}
	node := &ast.StringNode{Value: value, Token: token.New(value, value, &token.Position{Line: 1, Column: 1, Offset: 1})}
	v, ok := w.value(node, f.typ, spot{path: path, shape: path, unit: f.unit})
	for i := range w.problems { // a variable has no lines
		p := &w.problems[i]
		p.Line, p.Column, p.Snippet, p.Caret = 0, 0, "", 0
	}
	if len(w.problems) > 0 {
		ix.broken[path] = true
	}
	ix.places[path] = place{variable: name}
	return v, ok, w.problems
}

// put sets the value at a path of maps.
func put(values map[string]any, keys []string, v any) {
	for _, key := range keys[:len(keys)-1] {
		below, ok := values[key].(map[string]any)
		if !ok {
			below = map[string]any{}
			values[key] = below
		}
		values = below
	}
	values[keys[len(keys)-1]] = v
}
