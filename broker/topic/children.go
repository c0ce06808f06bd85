package topic

import "strings"

// manyChildren is from how many children on a map is faster than looking at
// one after the other.
const manyChildren = 8

// children are the nodes below a node, by level: a slice, which is small and
// fast for a few, and an index beside it for many.
type children[N any] struct {
	edges []edge[N]
	index map[string]int // level -> place in edges; nil up to manyChildren
}

type edge[N any] struct {
	level string
	node  *N
}

func (c *children[N]) get(level string) *N {
	if c.index != nil {
		if i, ok := c.index[level]; ok {
			return c.edges[i].node
		}
		return nil
	}
	for i := range c.edges {
		if c.edges[i].level == level {
			return c.edges[i].node
		}
	}
	return nil
}

// add returns the node of a level, made when it is not there. The level is
// copied: it may be a view into a read buffer.
func (c *children[N]) add(level string) *N {
	if n := c.get(level); n != nil {
		return n
	}
	n := new(N)
	level = strings.Clone(level)
	c.edges = append(c.edges, edge[N]{level, n})
	if c.index != nil {
		c.index[level] = len(c.edges) - 1
	} else if len(c.edges) > manyChildren {
		c.reindex()
	}
	return n
}

func (c *children[N]) reindex() {
	c.index = make(map[string]int, 2*len(c.edges))
	for i, e := range c.edges {
		c.index[e.level] = i
	}
}

// remove takes a level out; the last edge takes its place. What is left of
// many is given back when few remain.
func (c *children[N]) remove(level string) {
	i := c.place(level)
	last := len(c.edges) - 1
	if c.index != nil {
		delete(c.index, level)
		if i != last {
			c.index[c.edges[last].level] = i
		}
	}
	c.edges[i] = c.edges[last]
	c.edges[last] = edge[N]{}
	c.edges = c.edges[:last]
	if len(c.edges) <= manyChildren/2 && cap(c.edges) > manyChildren {
		c.index = nil
		c.edges = append(make([]edge[N], 0, manyChildren), c.edges...)
	}
}

// place returns where the edge of a level that is there stands.
func (c *children[N]) place(level string) int {
	if c.index != nil {
		return c.index[level]
	}
	i := 0
	for c.edges[i].level != level {
		i++
	}
	return i
}
