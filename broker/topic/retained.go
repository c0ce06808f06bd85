package topic

import (
	"iter"
	"strings"
)

// Retained holds one value per topic name, such as its retained message, and
// finds those that a filter matches. The zero Retained is empty and ready for
// use.
//
// A name takes memory for each of its levels: who accepts names from strangers
// bounds them, as with MaxLevels.
//
// Get and Match may run concurrently; Set and Delete need the caller's write
// lock.
type Retained[V any] struct {
	root leaf[V]
	size int
}

// A leaf stands for the levels on the way to it.
type leaf[V any] struct {
	children children[leaf[V]]
	held     *held[V] // nil: no value at this name
}

type held[V any] struct {
	name  string
	value V
}

// Len returns how many names have a value.
func (r *Retained[V]) Len() int { return r.size }

// Set gives a name a value and returns the one it had. The name's bytes are
// copied.
func (r *Retained[V]) Set(name string, value V) (old V, replaced bool) {
	n, more := &r.root, true
	var level string
	for rest := name; more; {
		level, rest, more = cut(rest)
		n = n.children.add(level)
	}
	if n.held != nil {
		old, n.held.value = n.held.value, value
		return old, true
	}
	n.held = &held[V]{name: strings.Clone(name), value: value}
	r.size++
	return old, false
}

// Get returns the value of a name.
func (r *Retained[V]) Get(name string) (value V, ok bool) {
	n, more := &r.root, true
	var level string
	for more {
		level, name, more = cut(name)
		if n = n.children.get(level); n == nil {
			return value, false
		}
	}
	if n.held == nil {
		return value, false
	}
	return n.held.value, true
}

// Delete takes the value of a name away and returns it.
func (r *Retained[V]) Delete(name string) (old V, ok bool) {
	h := r.root.remove(name, true)
	if h == nil {
		return old, false
	}
	r.size--
	return h.value, true
}

// remove works on what is left of the name below n and drops children that
// have become empty.
func (n *leaf[V]) remove(name string, more bool) *held[V] {
	if !more {
		h := n.held
		n.held = nil
		return h
	}
	level, rest, more := cut(name)
	child := n.children.get(level)
	if child == nil {
		return nil
	}
	h := child.remove(rest, more)
	if h != nil && child.held == nil && len(child.children.edges) == 0 {
		n.children.remove(level)
	}
	return h
}

// Match returns an iterator over the names that a valid filter matches, with
// their values, in no particular order. Nothing may be set or deleted
// meanwhile.
func (r *Retained[V]) Match(filter string) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		r.root.match(filter, true, true, yield)
	}
}

// match works on what is left of the filter below n; it returns false when the
// caller wants no more.
func (n *leaf[V]) match(filter string, more, root bool, yield func(string, V) bool) bool {
	if !more {
		return n.visit(yield)
	}
	level, rest, more := cut(filter)
	switch level {
	case "#":
		return n.below(root, yield)
	case "+":
		return n.eachChild(root, func(child *leaf[V]) bool { return child.match(rest, more, false, yield) })
	}
	child := n.children.get(level)
	return child == nil || child.match(rest, more, false, yield)
}

func (n *leaf[V]) visit(yield func(string, V) bool) bool {
	return n.held == nil || yield(n.held.name, n.held.value)
}

// below visits n and all below it.
func (n *leaf[V]) below(root bool, yield func(string, V) bool) bool {
	return n.visit(yield) &&
		n.eachChild(root, func(child *leaf[V]) bool { return child.below(false, yield) })
}

// eachChild leaves out names with $ at the root: a wildcard at the front does
// not match them [MQTT-4.7.2-1].
func (n *leaf[V]) eachChild(root bool, f func(*leaf[V]) bool) bool {
	for _, e := range n.children.edges {
		if root && strings.HasPrefix(e.level, "$") {
			continue
		}
		if !f(e.node) {
			return false
		}
	}
	return true
}
