package rules

import (
	"slices"

	"github.com/penstock/penstock/broker/topic"
	"github.com/penstock/penstock/internal/message"
)

// An index finds the rules whose filters match a topic. It never changes once
// built, so that any number of connections may ask it at a time.
type index struct {
	tree   topic.Tree[uint32]
	levels map[uint32]message.Ack // by rule
	// even: all rules have the level strongest, so that nobody need look.
	even      bool
	strongest message.Ack
}

// add puts a filter of a rule into the index.
func (x *index) add(f *filter, rule uint32, ack message.Ack) {
	if x.levels == nil {
		x.levels, x.even, x.strongest = map[uint32]message.Ack{}, true, ack
	}
	x.tree.Insert(f.mqtt(), rule)
	x.levels[rule] = ack
	x.even = x.even && ack == x.strongest
	x.strongest = x.strongest.Max(ack)
}

// find appends the rules that match, each once, in the order of their numbers.
func (x *index) find(name string, dst []uint32) ([]uint32, message.Ack) {
	before := len(dst)
	dst = x.tree.Match(name, dst)
	found := dst[before:]
	if len(found) == 0 {
		return dst, message.Ack{}
	}
	if len(found) > 1 {
		slices.Sort(found)
		found = slices.Compact(found) // a rule may match by several filters
	}
	return dst[:before+len(found)], x.level(found)
}

// level returns the strongest level of some rules.
func (x *index) level(rules []uint32) message.Ack {
	if x.even {
		return x.strongest
	}
	var level message.Ack
	for _, r := range rules {
		level = level.Max(x.levels[r])
	}
	return level
}
