package house_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// A habit finds what breaks it in one package: the files of one folder and one
// package clause.
type habit func(files []source) []string

// breaches applies a habit to every package of a tree.
func breaches(t *testing.T, all []source, find habit) []string {
	t.Helper()
	packages := map[string][]source{}
	for _, s := range all {
		key := s.folder() + " " + s.file.Name.Name
		packages[key] = append(packages[key], s)
	}
	var found []string
	for _, files := range packages {
		found = append(found, find(files)...)
	}
	slices.Sort(found)
	return found
}

// Each habit is shown files that keep it and files that break it, and then the
// whole house.
func TestHabits(t *testing.T) {
	cases := []struct {
		name       string
		find       habit
		file       string
		good, evil []string
	}{
		{
			"tests wait on events", sleepsInTests, "broker/conn_test.go",
			[]string{"func f() { <-time.After(1) }"},
			[]string{"func f() { time.Sleep(1) }"},
		},
		{
			"no init functions", initFunctions, "broker/conn.go",
			[]string{"type s int; func (s) init() {}"},
			[]string{"func init() {}"},
		},
		{
			"globals never change", writtenGlobals, "broker/conn.go",
			[]string{
				"var a, b = 1, map[int]int{}\nfunc f() { a, b := 2, map[int]int{}; a++; b[1] = a }",
				"var g = t{}\ntype t struct{ n int }\nfunc (g t) f() { g.n = 1 }",
				"var _ error = e{}\nfunc f() { _ = 1 }",
			},
			[]string{
				"var b = map[int]int{}\nfunc f() { b[1]++ }",
				"var g = t{}\ntype t struct{ n int }\nfunc f() { p := &g; p.n = 1 }",
				"var (\n a int\n c = 1\n)\nfunc f() { c = 2 }",
			},
		},
		{
			"rules are pure", impurities, "rules/evaluate.go",
			[]string{"func f(d time.Duration) { _ = time.UnixMilli(0) }", `import "os"`},
			[]string{"func f() { _ = time.Now() }", `import "net"`},
		},
		{
			"sessions are pure", impurities, "broker/session/session.go",
			[]string{"func f() { func() {}() }"},
			[]string{"func f() { go func() {}() }", `import "os"`},
		},
	}
	house := sources(t, root())
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, text := range c.good {
				if found := breaches(t, sources(t, tree(c.file, "package x\n"+text)), c.find); len(found) > 0 {
					t.Errorf("found in %q: %q", text, found)
				}
			}
			for _, text := range c.evil {
				if len(breaches(t, sources(t, tree(c.file, "package x\n"+text)), c.find)) == 0 {
					t.Errorf("nothing found in %q", text)
				}
			}
			for _, found := range breaches(t, house, c.find) {
				t.Error(found)
			}
		})
	}
}

func sleepsInTests(files []source) []string {
	return findIn(files, source.isTest, func(n ast.Node) string {
		if isSelector(n, "time", "Sleep") {
			return "time.Sleep in a test; wait on an event"
		}
		return ""
	})
}

func initFunctions(files []source) []string {
	return findIn(files, anyFile, func(n ast.Node) string {
		if f, ok := n.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			return "an init function; make a plain table or a constructor"
		}
		return ""
	})
}

// impurities finds clocks, goroutines and I/O in the packages that have none,
// so that what they do is a function of what they are given. Rules may use the
// file system and the environment while they are compiled.
func impurities(files []source) []string {
	below := func(s source, folder string) bool { return strings.HasPrefix(s.folder()+"/", folder+"/") }
	var found []string
	for _, s := range files {
		rules := below(s, "rules")
		if s.isTest() || !rules && !below(s, "broker/session") && !below(s, "broker/topic") {
			continue
		}
		forbidden := []string{`"net"`, `"net/http"`, `"os/exec"`, `"os"`}
		if rules {
			forbidden = forbidden[:3]
		}
		found = append(found, findIn([]source{s}, anyFile, func(n ast.Node) string { return impurity(n, forbidden) })...)
	}
	return found
}

func impurity(n ast.Node, forbidden []string) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "a goroutine in a pure package"
	case *ast.ImportSpec:
		if slices.Contains(forbidden, n.Path.Value) {
			return "I/O in a pure package: " + n.Path.Value
		}
	case *ast.SelectorExpr:
		for _, name := range []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker"} {
			if isSelector(n, "time", name) {
				return "the clock in a pure package: time." + name
			}
		}
	}
	return ""
}

// writtenGlobals finds package-level variables that are assigned to, counted
// up, or whose address is taken, in functions of their package.
func writtenGlobals(files []source) []string {
	globals := globalsOf(files)
	// What tests share may be one for the process: a Kafka takes seconds to start.
	where := func(s source) bool {
		r, _ := roomOf(s.folder())
		return !s.isTest() && !r.tests
	}
	return findIn(files, where, func(n ast.Node) string {
		for _, e := range written(n) {
			// The parser resolves a name to what its own file declares: a
			// global of another file has no object.
			id := rootOf(e)
			if id != nil && globals[id.Name] != nil && (id.Obj == nil || id.Obj.Decl == globals[id.Name]) {
				return "the global " + id.Name + " is written to; give it an owner"
			}
		}
		return ""
	})
}

// globalsOf returns the declarations of the package-level variables by name.
func globalsOf(files []source) map[string]ast.Spec {
	globals := map[string]ast.Spec{}
	for _, s := range files {
		for _, d := range s.file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if name.Name != "_" {
						globals[name.Name] = spec
					}
				}
			}
		}
	}
	return globals
}

// written lists the expressions that a statement may change.
func written(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			return []ast.Expr{n.X}
		}
	}
	return nil
}

// rootOf returns x of x.a[i].b, nil for other expressions.
func rootOf(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

func anyFile(source) bool { return true }

func isSelector(n ast.Node, pkg, name string) bool {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Name == pkg
}

// findIn walks the files that where chooses and returns what find says, with
// its place.
func findIn(files []source, where func(source) bool, find func(ast.Node) string) []string {
	var found []string
	for _, s := range files {
		if !where(s) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if n == nil {
				return false
			}
			if what := find(n); what != "" {
				found = append(found, fmt.Sprintf("%s: %s", s.at(n), what))
			}
			return true
		})
	}
	return found
}
