package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// A definition is one rule and what it must know of its sinks: all that decides
// what it makes of a message, but for the environment variables that its
// expressions name with env("...").
type definition struct {
	Rule  Config `json:"rule"`
	Sinks []Sink `json:"sinks"`
}

// Definition returns the rule with a number as JSON, to be stored and compiled
// again by CompileOne, nil when there is none. Equal rules have equal
// definitions, byte for byte; their tests are no part of it.
func (s *Set) Definition(number uint32) []byte {
	r, _ := s.of(number)
	if r == nil {
		return nil
	}
	d := definition{Rule: *r.config}
	d.Rule.Tests = nil
	for _, o := range r.outputs {
		if !slices.Contains(d.Sinks, o.sink) {
			d.Sinks = append(d.Sinks, o.sink)
		}
	}
	text, err := json.Marshal(d)
	if err != nil {
		panic(fmt.Sprintf("BUG: a rule of text and numbers cannot be JSON: %v", err))
	}
	return text
}

// CompileOne compiles a stored definition to a Set of one rule, as it was when
// it was stored. Number it with the numbers of the rule and its outputs at that
// time.
func CompileOne(stored []byte) (*Set, error) {
	var d definition
	if err := json.Unmarshal(stored, &d); err != nil {
		return nil, fmt.Errorf("read definition of a rule: %w", err)
	}
	if d.Rule.Name == "" {
		return nil, errors.New("read definition of a rule: it has no name")
	}
	s, problems := Compile([]Config{d.Rule}, d.Sinks)
	if err := problems.Err(); err != nil {
		return nil, fmt.Errorf("compile definition of rule %s: %w", d.Rule.Name, err)
	}
	return s, nil
}
