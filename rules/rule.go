package rules

import (
	"fmt"
	"regexp"

	"github.com/expr-lang/expr/conf"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/internal/problem"
)

// A rule is one entry of `rules`, compiled. It never changes once compiled.
type rule struct {
	name    string
	config  *Config
	filters []filter
	scope   *scope
	where   *condition
	ack     message.Ack
	ackSet  bool // otherwise the journal's default
	drop    bool // on_error: drop, or a shadow rule, whose errors nobody keeps
	shadow  bool
	outputs []*output
	tests   []trial
}

const maxName = 64

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

// A ruleCompiler compiles one rule and collects what is wrong with it.
type ruleCompiler struct {
	config    *Config
	sinks     []Sink
	functions conf.FunctionsTable
	rule      *rule
	problems  problem.List
	warnings  problem.List
	orders    *orders
}

func (c *ruleCompiler) complain(path, format string, args ...any) {
	c.problems = append(c.problems, problem.New(path, format, args...))
}

func (c *ruleCompiler) compile() {
	c.rule = &rule{name: c.config.Name, config: c.config, shadow: c.config.Shadow, drop: c.config.Shadow}
	c.name()
	captures := c.from()
	c.ack()
	c.onError()
	c.rule.scope = newScope(captures, c.functions)
	if c.config.Where != "" {
		where, p := c.rule.scope.condition(c.config.Where)
		if p != nil {
			p.Path = "where"
			c.problems = append(c.problems, *p)
		}
		c.rule.where = where
	}
	c.outputs()
	c.trials()
	c.rule.scope.finish()
}

func (c *ruleCompiler) name() {
	switch name := c.config.Name; {
	case name == "":
		c.problems = append(c.problems, problem.New("", "a rule needs a name").WithHint("add name: NAME"))
	case len(name) > maxName || !validName.MatchString(name):
		c.problems = append(c.problems, problem.New("name", "%q is not a name", name).
			WithHint("lower-case letters, digits and -, at most %d, no - first", maxName))
	}
}

// from compiles the filters and returns the captures they have in common.
func (c *ruleCompiler) from() (captures []capture) {
	if len(c.config.From) == 0 {
		c.problems = append(c.problems, problem.New("", "a rule needs from").WithHint(`add from: TOPIC FILTER, "#" for all`))
	}
	for i, text := range c.config.From {
		path := "from"
		if len(c.config.From) > 1 {
			path = fmt.Sprintf("from[%d]", i)
		}
		f, problems := parseFilter(path, text)
		c.problems = append(c.problems, problems...)
		if len(problems) > 0 {
			continue
		}
		if len(c.rule.filters) == 0 {
			captures = f.captures
			c.warnings = append(c.warnings, hidden(path, captures)...)
		}
		if !f.renumber(captures) {
			c.complain(path, "all filters of a rule have the same {names}, the first one has others")
		}
		c.rule.filters = append(c.rule.filters, f)
	}
	return captures
}

func (c *ruleCompiler) onError() {
	switch c.config.OnError {
	case "", "dead_letter":
	case "drop":
		c.rule.drop = true
	default:
		c.complain("on_error", "on_error is dead_letter or drop, not %q", c.config.OnError)
	}
}

func (c *ruleCompiler) outputs() {
	if len(c.config.To) == 0 {
		c.problems = append(c.problems, problem.New("", "a rule needs an output").WithHint("add to: [{sink: NAME}]"))
	}
	oc := outputCompiler{scope: c.rule.scope, sinks: c.sinks, rule: c.config.Name}
	if n := len(c.rule.filters); n > 0 && n == len(c.config.From) { // else there is no telling what captures there are
		oc.orders = c.orders
	}
	for i := range c.config.To {
		c.rule.outputs = append(c.rule.outputs, oc.compile(i, &c.config.To[i]))
	}
	identify(c.config.Name, c.rule.outputs, c.config.To)
	c.problems = append(c.problems, oc.problems...)
}
