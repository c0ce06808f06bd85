package rules

import (
	"slices"
	"sort"
	"time"

	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/types"

	"github.com/penstock/penstock/internal/problem"
	"github.com/penstock/penstock/rules/codec"
)

// A variable is something an expression reads of the message.
type variable struct {
	source source
	index  int // of a capture or of a slot
}

type source byte

const (
	fromID source = iota
	fromTopic
	fromClient
	fromUser
	fromQoS
	fromRetain
	fromReceived
	fromRaw
	fromProperties
	fromPayload // all of it, decoded
	fromSlot    // one field of it
	fromCapture
)

// budgetName is the variable that hands programs their budget; no expression
// can spell it.
const budgetName = internal + "budget"

// scopeNames returns what every expression may read, and its type.
func scopeNames() map[string]struct {
	source source
	typ    types.Type
} {
	type entry = struct {
		source source
		typ    types.Type
	}
	return map[string]entry{
		"id":         {fromID, types.String},
		"topic":      {fromTopic, types.String},
		"client":     {fromClient, types.String},
		"user":       {fromUser, types.String},
		"qos":        {fromQoS, types.Int},
		"retain":     {fromRetain, types.Bool},
		"received":   {fromReceived, types.TypeOf(time.Time{})},
		"raw":        {fromRaw, types.TypeOf([]byte(nil))},
		"payload":    {fromPayload, types.Any},
		"properties": {fromProperties, propertyTypes()},
	}
}

func propertyTypes() types.Map {
	return types.Map{
		"content_type": types.Any, "response_topic": types.Any, "correlation_data": types.Any,
		"message_expiry": types.Any, "payload_format": types.Any, "user": types.TypeOf(map[string]any{}),
	}
}

// A scope is what the expressions of one rule may name.
type scope struct {
	captures  []capture
	variables map[string]variable // also the slots, under the names the rewriter gave them
	paths     codec.Paths
	fields    []string // by slot: what a person calls the field
	config    *conf.Config
	env       types.Map        // the types of all that has a name
	literals  map[string]int64 // names that stand for integers, see wideLiterals
}

// newScope returns the scope of a rule. functions is shared and only read.
func newScope(captures []capture, functions conf.FunctionsTable) *scope {
	env := types.Map{}
	s := &scope{captures: captures, variables: map[string]variable{}, env: env, literals: map[string]int64{}}
	for name, e := range scopeNames() {
		env[name] = e.typ
		s.variables[name] = variable{source: e.source}
	}
	for i, c := range captures {
		env[c.name] = types.String
		s.variables[c.name] = variable{source: fromCapture, index: i}
	}
	s.config = conf.CreateNew()
	s.config.Functions = functions
	delete(s.config.Builtins, "now")
	s.config.Disabled["now"] = true
	s.config.MaxNodes = maxNodes
	s.config.WithEnv(env)
	return s
}

// finish lets go of what only compiling needs: ten thousand rules would keep
// ten thousand tables of functions.
func (s *scope) finish() { s.config, s.env, s.literals, s.variables = nil, nil, nil, nil }

// names returns everything an expression of the scope may call or read.
func (s *scope) names() []string {
	var names []string
	for name := range s.variables {
		if name[0] != internal[0] {
			names = append(names, name)
		}
	}
	for name := range s.config.Functions {
		if name[0] != internal[0] {
			names = append(names, name)
		}
	}
	for name := range s.config.Builtins {
		names = append(names, name)
	}
	sort.Strings(names)
	return slices.Compact(names)
}

// rest returns the index of the capture {name...} called name, -1 for none.
func (s *scope) rest(name string) int {
	return slices.Index(s.captures, capture{name: name, rest: true})
}

// hidden returns a warning for each capture that hides something.
func hidden(path string, captures []capture) (warnings problem.List) {
	variables := scopeNames()
	for _, c := range captures {
		if _, ok := variables[c.name]; ok {
			warnings = append(warnings, problem.New(path, "the name {%s} hides the variable %s", c.name, c.name).
				WithHint("give the level another name if an expression needs the variable"))
		} else if _, ok := builtin.Index[c.name]; ok {
			warnings = append(warnings, problem.New(path, "the name {%s} hides the function %s", c.name, c.name).
				WithHint("give the level another name if an expression needs the function"))
		}
	}
	return warnings
}
