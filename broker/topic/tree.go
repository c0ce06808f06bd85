package topic

// A Tree finds the values of all filters that match a topic name. A filter may
// have several values. The zero Tree is empty and ready for use.
//
// Match may run concurrently with Match, so a read lock is enough for it;
// Insert and Remove need the caller's write lock.
type Tree[T comparable] struct {
	root node[T]
	size int
}

// A node stands for the levels on the way to it.
type node[T comparable] struct {
	children children[node[T]]
	plus     *node[T] // the child of level +
	exact    values[T]
	hash     values[T] // values of the filter that goes on with # from here
}

// Len returns how many pairs of filter and value there are.
func (t *Tree[T]) Len() int { return t.size }

// Insert adds a value to a valid filter and reports whether it was new there.
// The tree keeps no part of the filter's bytes.
func (t *Tree[T]) Insert(filter string, value T) bool {
	n, more := &t.root, true
	var level string
	for rest := filter; more; {
		level, rest, more = cut(rest)
		if level == "#" {
			return t.count(n.hash.add(value), 1)
		}
		n = n.grow(level)
	}
	return t.count(n.exact.add(value), 1)
}

func (t *Tree[T]) count(changed bool, by int) bool {
	if changed {
		t.size += by
	}
	return changed
}

func (n *node[T]) grow(level string) *node[T] {
	if level != "+" {
		return n.children.add(level)
	}
	if n.plus == nil {
		n.plus = new(node[T])
	}
	return n.plus
}

// Remove takes a value from a filter and reports whether it was there.
func (t *Tree[T]) Remove(filter string, value T) bool {
	return t.count(t.root.remove(filter, true, value), -1)
}

// remove works on what is left of the filter below n and drops children that
// have become empty.
func (n *node[T]) remove(filter string, more bool, value T) bool {
	if !more {
		return n.exact.remove(value)
	}
	level, rest, more := cut(filter)
	if level == "#" {
		return n.hash.remove(value)
	}
	child := n.child(level)
	if child == nil || !child.remove(rest, more, value) {
		return false
	}
	if child.empty() {
		n.drop(level)
	}
	return true
}

func (n *node[T]) child(level string) *node[T] {
	if level == "+" {
		return n.plus
	}
	return n.children.get(level)
}

func (n *node[T]) drop(level string) {
	if level == "+" {
		n.plus = nil
		return
	}
	n.children.remove(level)
}

func (n *node[T]) empty() bool {
	return n.plus == nil && len(n.children.edges) == 0 && len(n.exact.list) == 0 && len(n.hash.list) == 0
}

// Match appends to dst the values of all filters that match a topic name, in
// no particular order; a value of several such filters comes several times.
// It allocates only to grow dst.
func (t *Tree[T]) Match(name string, dst []T) []T {
	if name == "" {
		return dst
	}
	if name[0] != '$' {
		return t.root.match(name, true, dst)
	}
	// No wildcard at the front matches a name with $ [MQTT-4.7.2-1].
	level, rest, more := cut(name)
	if child := t.root.children.get(level); child != nil {
		return child.match(rest, more, dst)
	}
	return dst
}

// match works on what is left of the name below n; more is false when that is
// nothing.
func (n *node[T]) match(name string, more bool, dst []T) []T {
	for {
		dst = append(dst, n.hash.list...)
		if !more {
			return append(dst, n.exact.list...)
		}
		var level string
		level, name, more = cut(name)
		child := n.children.get(level)
		if n.plus != nil {
			if child != nil {
				dst = n.plus.match(name, more, dst)
			} else {
				child = n.plus
			}
		}
		if child == nil {
			return dst
		}
		n = child
	}
}
