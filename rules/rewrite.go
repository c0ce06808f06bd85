package rules

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/penstock/penstock/internal/problem"
	"github.com/penstock/penstock/rules/codec"
)

// A rewriter turns what a person wrote into what we run. Fields of the payload
// become slots, so that only they are decoded; members of nil are nil;
// integers are exact; whatever can take long or grow is paid for from the
// budget; whatever differs from run to run is fixed now or refused.
type rewriter struct {
	scope  *scope
	depth  int // inside so many predicates
	failed *problem.Problem
}

func (r *rewriter) fail(node ast.Node, format string, args ...any) ast.Node {
	if r.failed == nil {
		p := problem.New("", format, args...).At(node.Location().From)
		r.failed = &p
	}
	return node
}

// call makes a call of an internal function.
func call(at ast.Node, name string, args ...ast.Node) ast.Node {
	callee := &ast.IdentifierNode{Value: internal + name}
	callee.SetLocation(at.Location())
	n := &ast.CallNode{Callee: callee, Arguments: append([]ast.Node{&ast.IdentifierNode{Value: budgetName}}, args...)}
	return like(at, n)
}

// like gives a node the place and the type of the one it replaces. Not the type
// int: our functions return int64, which expr's short cuts for int would trip on.
func like(old, n ast.Node) ast.Node {
	n.SetLocation(old.Location())
	if t := old.Type(); t.Kind() != reflect.Int {
		n.SetNature(*old.Nature())
	}
	return n
}

func (r *rewriter) rewrite(node ast.Node) ast.Node {
	switch n := node.(type) {
	case nil:
		return nil
	case *ast.IdentifierNode:
		return r.identifier(n)
	case *ast.ChainNode, *ast.MemberNode:
		return r.member(n)
	case *ast.BinaryNode:
		return r.binary(n)
	case *ast.UnaryNode:
		return r.unary(n)
	case *ast.CallNode:
		return r.call(n)
	case *ast.BuiltinNode:
		return r.builtin(n)
	}
	r.inside(node)
	return node
}

// inside rewrites the parts of a node that stays as it is.
func (r *rewriter) inside(node ast.Node) {
	switch n := node.(type) {
	case *ast.SliceNode:
		n.Node, n.From, n.To = r.rewrite(n.Node), r.rewrite(n.From), r.rewrite(n.To)
	case *ast.ConditionalNode:
		n.Cond, n.Exp1, n.Exp2 = r.rewrite(n.Cond), r.rewrite(n.Exp1), r.rewrite(n.Exp2)
	case *ast.VariableDeclaratorNode:
		n.Value, n.Expr = r.rewrite(n.Value), r.rewrite(n.Expr)
	case *ast.PredicateNode:
		n.Node = r.rewrite(n.Node)
	case *ast.PairNode:
		n.Key, n.Value = r.rewrite(n.Key), r.rewrite(n.Value)
	case *ast.SequenceNode:
		r.all(n.Nodes)
	case *ast.ArrayNode:
		r.all(n.Nodes)
	case *ast.MapNode:
		r.all(n.Pairs)
	}
}

func (r *rewriter) all(nodes []ast.Node) {
	for i := range nodes {
		nodes[i] = r.rewrite(nodes[i])
	}
}

func (r *rewriter) identifier(n *ast.IdentifierNode) ast.Node {
	if n.Value == "$env" {
		return r.fail(n, "unknown name %q", n.Value)
	}
	if number, ok := r.scope.literals[n.Value]; ok {
		return constantNode(n, number)
	}
	return n
}

// member rewrites a.b, a[b] and a?.b.
func (r *rewriter) member(node ast.Node) ast.Node {
	if steps, ok := payloadPath(node); ok && len(steps) > 0 {
		return r.slot(node, steps)
	}
	if chain, ok := node.(*ast.ChainNode); ok {
		return r.rewrite(chain.Node)
	}
	n, ok := node.(*ast.MemberNode)
	if !ok {
		return node
	}
	from, property := r.rewrite(n.Node), r.rewrite(n.Property)
	if rootedIn(n, "properties") {
		return call(node, "get", from, property)
	}
	return call(node, "member", from, property)
}

// slot replaces a constant path into the payload by a variable of its own.
func (r *rewriter) slot(node ast.Node, steps []codec.Step) ast.Node {
	name := internal + pathText(steps)
	slot := r.scope.paths.Add(steps)
	if slot == len(r.scope.fields) {
		r.scope.fields = append(r.scope.fields, fieldText(steps))
	}
	r.scope.variables[name] = variable{source: fromSlot, index: slot}
	n := &ast.IdentifierNode{Value: name}
	n.SetLocation(node.Location())
	return n
}

// payloadPath returns the steps of a path such as payload.a?.b["c"][1].
func payloadPath(node ast.Node) ([]codec.Step, bool) {
	switch n := node.(type) {
	case *ast.IdentifierNode:
		return nil, n.Value == "payload"
	case *ast.ChainNode:
		return payloadPath(n.Node)
	case *ast.MemberNode:
		steps, ok := payloadPath(n.Node)
		if !ok {
			return nil, false
		}
		switch p := n.Property.(type) {
		case *ast.StringNode:
			return append(steps, codec.Step{Key: p.Value}), true
		case *ast.IntegerNode:
			return append(steps, codec.Step{Index: p.Value, InArray: true}), p.Value >= 0
		}
	}
	return nil, false
}

func pathText(steps []codec.Step) string {
	var b strings.Builder
	b.WriteString("payload")
	for _, s := range steps {
		if s.InArray {
			b.WriteString("[" + strconv.Itoa(s.Index) + "]")
		} else {
			b.WriteString("." + strconv.Quote(s.Key))
		}
	}
	return b.String()
}

// fieldText is the path as a person writes it.
func fieldText(steps []codec.Step) string {
	var b strings.Builder
	b.WriteString("payload")
	for _, s := range steps {
		if s.InArray {
			b.WriteString("[" + strconv.Itoa(s.Index) + "]")
		} else {
			b.WriteString(memberText(s.Key))
		}
	}
	return b.String()
}

// memberText is a step into a map as a person writes it.
func memberText(key string) string {
	if captureName.MatchString(key) {
		return "." + key
	}
	return "[" + strconv.Quote(key) + "]"
}

// rootedIn reports whether a chain of members begins at the variable name.
func rootedIn(node ast.Node, name string) bool {
	for {
		switch n := node.(type) {
		case *ast.MemberNode:
			node = n.Node
		case *ast.ChainNode:
			node = n.Node
		case *ast.IdentifierNode:
			return n.Value == name
		default:
			return false
		}
	}
}

func (r *rewriter) binary(n *ast.BinaryNode) ast.Node {
	if n.Operator == "matches" {
		if _, ok := n.Right.(*ast.StringNode); !ok {
			return r.fail(n.Right, "the pattern behind matches must be a text as it stands, so that it is compiled once")
		}
	}
	n.Left, n.Right = r.rewrite(n.Left), r.rewrite(n.Right)
	switch n.Operator {
	case "+", "-", "*", "%":
		return call(n, n.Operator, n.Left, n.Right)
	case "==", "!=", "<", "<=", ">", ">=":
		return r.comparison(n)
	case "in":
		return r.membership(n)
	case "matches":
		n.Left = call(n.Left, "scan", n.Left)
	case "contains", "startsWith", "endsWith":
		if r.depth > 0 {
			n.Left = call(n.Left, "read", n.Left)
		}
	}
	return n
}

// comparison leaves a comparison to expr where that is exact and done once.
func (r *rewriter) comparison(n *ast.BinaryNode) ast.Node {
	if strconv.IntSize == 32 || r.depth > 0 && !constant(n.Left) && !constant(n.Right) {
		return call(n, n.Operator, n.Left, n.Right)
	}
	return n
}

// membership leaves `in` to expr where the list stands there.
func (r *rewriter) membership(n *ast.BinaryNode) ast.Node {
	if list, ok := n.Right.(*ast.ArrayNode); ok && strconv.IntSize == 64 && literals(list) {
		n.Right = constantList(list)
		return n
	}
	return call(n, "in", n.Left, n.Right)
}

func constant(node ast.Node) bool {
	switch node.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NilNode, *ast.ConstantNode:
		return true
	}
	return false
}

func literals(list *ast.ArrayNode) bool {
	for _, n := range list.Nodes {
		if !constant(n) {
			return false
		}
	}
	return true
}

func constantList(list *ast.ArrayNode) ast.Node {
	values := make([]any, len(list.Nodes))
	for i, n := range list.Nodes {
		values[i], _ = constantValue(n)
	}
	return constantNode(list, values)
}

func constantNode(at ast.Node, value any) ast.Node {
	n := &ast.ConstantNode{Value: value}
	n.SetLocation(at.Location())
	n.SetType(reflect.TypeOf(value))
	return n
}

// constantValue returns the value of a literal.
func constantValue(node ast.Node) (any, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode:
		return n.Value, true
	case *ast.FloatNode:
		return n.Value, true
	case *ast.BoolNode:
		return n.Value, true
	case *ast.NilNode:
		return nil, true
	case *ast.ConstantNode:
		return n.Value, true
	}
	return nil, false
}

func (r *rewriter) unary(n *ast.UnaryNode) ast.Node {
	n.Node = r.rewrite(n.Node)
	if n.Operator != "-" {
		return n
	}
	switch v := n.Node.(type) {
	case *ast.IntegerNode:
		v.Value = -v.Value
		return v
	case *ast.FloatNode:
		v.Value = -v.Value
		return v
	}
	return call(n, "neg", n.Node)
}
