package rules

import (
	"slices"
)

// A LaneRule is what one rule means to the lane of one sink.
type LaneRule struct {
	Number    uint32
	Name      string
	Required  bool // an output to the sink is required: `ack: delivered` waits for it (C13)
	Delivered bool // the rule says ack: delivered, so that a publisher may be waiting
	Shadow    bool // what it makes is counted and never sent
}

// Lanes returns, for each sink that a rule has an output to, those rules in the
// order of the configuration. The Set must have been numbered.
func (s *Set) Lanes() map[string][]LaneRule {
	lanes := map[string][]LaneRule{}
	for i, r := range s.rules {
		for _, o := range r.outputs {
			rules := lanes[o.sink.Name]
			at := slices.IndexFunc(rules, func(l LaneRule) bool { return l.Number == s.numbers[i] })
			if at < 0 {
				at = len(rules)
				rules = append(rules, LaneRule{Number: s.numbers[i], Name: r.name, Delivered: r.waits(), Shadow: r.shadow})
			}
			rules[at].Required = rules[at].Required || !o.optional
			lanes[o.sink.Name] = rules
		}
	}
	return lanes
}

// Numbers returns the numbers of all rules in the order of the configuration.
func (s *Set) Numbers() []uint32 { return slices.Clone(s.numbers) }

// Find returns the number of the rule with a name, false for none.
func (s *Set) Find(name string) (number uint32, ok bool) {
	for i, r := range s.rules {
		if r.name == name {
			return s.numbers[i], true
		}
	}
	return 0, false
}

// of returns the rule with a number and its index, nil for none.
func (s *Set) of(number uint32) (r *rule, index int) {
	if index = slices.Index(s.numbers, number); index < 0 {
		return nil, -1
	}
	return s.rules[index], index
}
