package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/internal/problem"
	"github.com/penstock/penstock/rules"
)

// defaultBind is the listener of a configuration without `listeners`.
const defaultBind = "127.0.0.1:1883"

// defaultJournal is the journal's folder beside the first file.
const defaultJournal = "data"

// A Loaded configuration is complete: every value has been checked, every rule
// is compiled.
type Loaded struct {
	Config   Config
	Set      *rules.Set
	Warnings problem.List // what is allowed but probably not meant
	Files    []string     // in the order they were read

	index *index
}

// Load reads files and folders, in this order, and the variables that override
// values; environ is as os.Environ returns it. Without a path it returns the
// defaults. The error is a problem.List with every complaint, or one of the
// file system when a file cannot be read.
func Load(paths, environ []string) (*Loaded, error) {
	files, problems, err := readFiles(paths)
	if err != nil {
		return nil, err
	}
	l, err := newLoader(environ)
	if err != nil {
		return nil, err
	}
	l.problems = problems
	for _, f := range files {
		dir, err := filepath.Abs(filepath.Dir(f.name))
		if err != nil {
			return nil, fmt.Errorf("find folder of %s: %w", f.name, err)
		}
		l.read(f.name, dir, f.raw)
	}
	return l.finish()
}

// Parse is Load for the text of one file that need not exist: name stands in
// complaints, relative paths begin in the folder of name.
func Parse(name string, text []byte, environ []string) (*Loaded, error) {
	l, err := newLoader(environ)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return nil, fmt.Errorf("find folder of %s: %w", name, err)
	}
	l.read(name, dir, text)
	return l.finish()
}

// A loader collects what the files say.
type loader struct {
	loaded   *Loaded
	environ  map[string]string
	working  string // the working folder
	first    string // the folder of the first file, or the working folder
	layers   []map[string]any
	lengths  map[string]int
	problems problem.List
}

func newLoader(environ []string) (*loader, error) {
	working, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find working folder: %w", err)
	}
	return &loader{
		loaded:  &Loaded{index: newIndex()},
		environ: environment(environ),
		working: working,
		first:   working,
		lengths: map[string]int{},
	}, nil
}

// read adds a file.
func (l *loader) read(name, dir string, raw []byte) {
	if len(l.loaded.Files) == 0 {
		l.first = dir
	}
	l.loaded.Files = append(l.loaded.Files, name)
	src, problems := newSource(name, dir, raw)
	l.problems = append(l.problems, problems...)
	if len(problems) > 0 {
		return
	}
	doc, problems := parse(src)
	l.problems = append(l.problems, problems...)
	w := &walker{
		src: src, doc: doc, index: l.loaded.index, lengths: l.lengths,
		expander: &expander{environ: l.environ, dir: dir},
	}
	if len(problems) > 0 && doc.body == nil {
		w.explainBroken() // nothing else can be read
		l.loaded.index.unread = true
	}
	l.layers = append(l.layers, w.file())
	l.problems = append(l.problems, w.problems...)
}

// finish merges what was read, checks it and puts the complaints in order.
func (l *loader) finish() (*Loaded, error) {
	values, problems := l.loaded.index.overrides(l.environ, l.working)
	l.problems = append(l.problems, problems...)
	if err := layer(append(l.layers, values), &l.loaded.Config); err != nil {
		return nil, err
	}
	l.defaults()
	l.validate()
	if len(l.problems) > 0 {
		return nil, l.sorted(l.problems)
	}
	l.loaded.Warnings = l.sorted(l.loaded.Warnings)
	return l.loaded, nil
}

// defaults fills in what depends on where the files are.
func (l *loader) defaults() {
	c := &l.loaded.Config
	if _, written := l.loaded.index.places["listeners"]; !written {
		c.Listeners = []broker.ListenerConfig{{Bind: defaultBind}}
	}
	if c.Journal.Dir == "" {
		c.Journal.Dir = filepath.Join(l.first, defaultJournal)
	}
}

// sorted puts complaints in the order of files and lines, each once.
func (l *loader) sorted(list problem.List) problem.List {
	rank := func(p problem.Problem) int {
		if i := slices.Index(l.loaded.Files, p.File); i >= 0 {
			return i
		}
		return len(l.loaded.Files)
	}
	slices.SortStableFunc(list, func(a, b problem.Problem) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		if d := strings.Compare(a.File, b.File); d != 0 {
			return d
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return slices.CompactFunc(list, func(a, b problem.Problem) bool {
		return a.File == b.File && a.Line == b.Line && a.Column == b.Column && a.Message == b.Message
	})
}

// A Position is a place in a file, counted from 1, columns in characters.
type Position struct {
	File         string
	Line, Column int
}

// Locate returns where the value at a path (`rules[0].to[1].topic`), or what
// should hold it, was written. ok is false for what no file says.
func (l *Loaded) Locate(path string) (at Position, ok bool) {
	p := l.Place(problem.Problem{Path: path})
	return Position{p.File, p.Line, p.Column}, p.Line > 0
}

// Place gives a problem that has only a path its place in a file.
func (l *Loaded) Place(p problem.Problem) problem.Problem { return l.index.locate(p) }
