package rules

import (
	"os"
	"reflect"
	"strconv"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
)

// call rewrites a call of one of our functions or of a method of a time.
func (r *rewriter) call(n *ast.CallNode) ast.Node {
	if method, ok := n.Callee.(*ast.MemberNode); ok {
		return r.method(n, method)
	}
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		return r.fail(n, "only functions can be called")
	}
	switch callee.Value {
	case "env":
		return r.env(n)
	case "timezone":
		return r.timezone(n, n.Arguments[0])
	}
	if r.scope.config.Functions[callee.Value] == nil {
		return r.fail(n, "unknown function %q", callee.Value)
	}
	r.all(n.Arguments)
	return call(n, callee.Value, n.Arguments...)
}

// env replaces env("NAME") by what the variable says now.
func (r *rewriter) env(n *ast.CallNode) ast.Node {
	name, ok := n.Arguments[0].(*ast.StringNode)
	if !ok {
		return r.fail(n.Arguments[0], "env takes a name as it stands, in quotes")
	}
	value, ok := os.LookupEnv(name.Value)
	if !ok {
		return r.fail(name, "the environment variable %s is not set", name.Value)
	}
	return like(n, &ast.StringNode{Value: value})
}

// timezone replaces timezone("Europe/Paris") by the zone.
func (r *rewriter) timezone(n, argument ast.Node) ast.Node {
	name, ok := argument.(*ast.StringNode)
	if !ok {
		return r.fail(argument, "a time zone is a name as it stands, in quotes")
	}
	if name.Value == "Local" {
		return r.fail(name, "the time zone Local differs from machine to machine")
	}
	zone, err := time.LoadLocation(name.Value)
	if err != nil {
		return r.fail(name, "unknown time zone %q", name.Value)
	}
	return constantNode(n, zone)
}

// method allows what a time or a duration can tell of itself.
func (r *rewriter) method(n *ast.CallNode, method *ast.MemberNode) ast.Node {
	name, _ := method.Property.(*ast.StringNode)
	switch t := method.Node.Type(); {
	case name == nil:
		return r.fail(n, "only functions can be called")
	case t == reflect.TypeFor[time.Time]() && timeMethod(name.Value), t == reflect.TypeFor[time.Duration]() && durationMethod(name.Value):
	default:
		return r.fail(name, "%s is not a function", name.Value)
	}
	method.Node = r.rewrite(method.Node)
	r.all(n.Arguments)
	if name.Value == "Month" || name.Value == "Weekday" {
		return call(n, "int", n)
	}
	return n
}

func timeMethod(name string) bool {
	switch name {
	case "Format", "Unix", "UnixMilli", "UnixMicro", "UnixNano", "Year", "Month", "Day", "Hour", "Minute", "Second",
		"Nanosecond", "Weekday", "YearDay", "Add", "AddDate", "Sub", "Truncate", "Round", "Before", "After", "Equal", "In", "UTC":
		return true
	}
	return false
}

func durationMethod(name string) bool {
	switch name {
	case "Hours", "Minutes", "Seconds", "Milliseconds", "Microseconds", "Nanoseconds", "Round", "Truncate", "Abs", "String":
		return true
	}
	return false
}

// builtin rewrites a call of one of expr's functions.
func (r *rewriter) builtin(n *ast.BuiltinNode) ast.Node {
	if builtin.Builtins[builtin.Index[n.Name]].Predicate {
		return r.predicate(n)
	}
	if n.Name == "date" {
		return r.date(n)
	}
	r.all(n.Arguments)
	if r.scope.config.Functions[internal+n.Name] != nil {
		return call(n, n.Name, n.Arguments...)
	}
	return n
}

// date reads times without a zone in UTC, and zones only by a name that stands
// there: neither the machine's zone nor a file is read when the rule runs.
func (r *rewriter) date(n *ast.BuiltinNode) ast.Node {
	arguments := n.Arguments
	zone := constantNode(n, time.UTC)
	switch {
	case arguments[0].Type() == reflect.TypeFor[*time.Location]():
		zone, arguments = r.rewrite(arguments[0]), arguments[1:]
	case len(arguments) == 3:
		zone, arguments = r.timezone(n, arguments[2]), arguments[:2]
	}
	r.all(arguments)
	return call(n, "date", append([]ast.Node{zone}, arguments...)...)
}

// predicate rewrites any, filter, map and the like: the walk is paid for before
// it begins, by the length of the list and the size of what is done to each.
func (r *rewriter) predicate(n *ast.BuiltinNode) ast.Node {
	if n.Name == "sum" {
		return r.sum(n)
	}
	weight := 1
	if len(n.Arguments) > 1 {
		weight += size(n.Arguments[1]) / 16
	}
	n.Arguments[0] = r.each(n.Arguments[0], weight)
	r.depth++
	for i := 1; i < len(n.Arguments); i++ {
		n.Arguments[i] = r.rewrite(n.Arguments[i])
	}
	r.depth--
	if n.Name == "sortBy" && strconv.IntSize == 32 {
		n.Arguments[1] = call(n.Arguments[1], "wide", n.Arguments[1])
	}
	return n
}

func (r *rewriter) each(list ast.Node, weight int) ast.Node {
	return call(list, "each", r.rewrite(list), &ast.IntegerNode{Value: weight})
}

// sum becomes a reduce with our exact +.
func (r *rewriter) sum(n *ast.BuiltinNode) ast.Node {
	var element ast.Node = &ast.PointerNode{}
	if len(n.Arguments) > 1 {
		element = n.Arguments[1]
	}
	weight := 1 + size(element)/16
	list := r.each(n.Arguments[0], weight)
	r.depth++
	element = r.rewrite(element)
	r.depth--
	body := call(n, "+", &ast.PointerNode{Name: "acc"}, element)
	return like(n, &ast.BuiltinNode{
		Name:      "reduce",
		Arguments: []ast.Node{list, body, &ast.IntegerNode{Value: 0}},
	})
}

// size counts the nodes of an expression.
func size(node ast.Node) int {
	var c counter
	ast.Walk(&node, &c)
	return int(c)
}

type counter int

// Visit counts one node.
func (c *counter) Visit(*ast.Node) { *c++ }
