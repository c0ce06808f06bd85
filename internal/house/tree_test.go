// Package house_test keeps the rules of the house that no compiler knows:
// which package may import which, habits that a reader relies on, and pages
// that say what is true.
package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"
)

// A source is one parsed Go file.
type source struct {
	path string // slash-separated, from the root of the repository
	file *ast.File
	fset *token.FileSet
}

func (s source) folder() string { return path.Dir(s.path) }
func (s source) isTest() bool   { return strings.HasSuffix(s.path, "_test.go") }

// at returns file:line of a node.
func (s source) at(n ast.Node) string { return s.fset.Position(n.Pos()).String() }

// root is the repository.
func root() fs.FS { return os.DirFS("../..") }

// sources parses every Go file of a tree, in whatever system it is for.
func sources(t *testing.T, tree fs.FS) []source {
	t.Helper()
	var all []source
	fset := token.NewFileSet()
	for _, name := range files(t, tree, ".go") {
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(fset, name, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, source{path: name, file: file, fset: fset})
	}
	if len(all) == 0 {
		t.Fatal("no Go file found")
	}
	return all
}

// files lists the files with one of the endings, leaving out testdata and
// folders that begin with a dot.
func files(t *testing.T, tree fs.FS, endings ...string) []string {
	t.Helper()
	var found []string
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(d.Name(), ".") && name != "."
		if d.IsDir() && (hidden || d.Name() == "testdata" || name == "data") {
			return fs.SkipDir
		}
		for _, ending := range endings {
			if !d.IsDir() && strings.HasSuffix(name, ending) {
				found = append(found, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// tree makes a file system of path, text pairs.
func tree(pairs ...string) fs.FS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}
