package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cockroachdb/datadriven"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/problem"
)

// FuzzParse: whatever a file holds, Parse ends without a panic, and every
// complaint has a place that exists.
func FuzzParse(f *testing.F) {
	addGoldens(f)
	for _, seed := range []string{
		"", "\ufeff", "a", "- a", "a: b: c", "? a", "a: |2\n   x\n  y", "a: >+\n\n", "%YAML 1.2\n---\n", "a: &b *c", "!x", "<<: {}",
		"rules: [{where: !x, name: \"\\ud83d\\ude00\"}]", "sinks:\n- name: 'a\n\n  b'\n", "journal: {dir: \"\\\n\\\n  x\"}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "${file") || len(text) > 1<<16 {
			t.Skip("reads files, or is larger than tells us more")
		}
		loaded, err := config.Parse("fuzz.yaml", []byte(text), []string{"A=b{c}"})
		if err == nil {
			loaded.Test()
			return
		}
		var list problem.List
		if !errors.As(err, &list) {
			t.Fatalf("not a list of problems: %v", err)
		}
		for _, p := range list {
			checkPlace(t, text, p)
		}
	})
}

// addGoldens seeds the fuzzer with every YAML text of the golden tests.
func addGoldens(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("testdata/golden/*")
	if err != nil || len(files) == 0 {
		f.Fatalf("no golden files: %v", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		datadriven.RunTestFromString(&testing.T{}, string(b), func(_ *testing.T, d *datadriven.TestData) string {
			f.Add(unescape(d.Input))
			return d.Expected
		})
	}
}

func checkPlace(t *testing.T, text string, p problem.Problem) {
	t.Helper()
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(text, "\ufeff"))
	lines := strings.Split(text, "\n")
	switch {
	case p.Message == "" || strings.ContainsAny(p.Message, "\n\ufdd0") || strings.ContainsRune(p.Hint, '\ufdd0'):
		t.Errorf("not a message for people: %q, hint %q", p.Message, p.Hint)
	case p.File != "fuzz.yaml":
		t.Errorf("not in the file: %+v", p)
	case p.Line < 1 || p.Line > len(lines):
		t.Errorf("line %d of %d: %v", p.Line, len(lines), p)
	case p.Column < 1 || p.Column > utf8.RuneCountInString(lines[p.Line-1])+1:
		t.Errorf("column %d of %q: %v", p.Column, lines[p.Line-1], p)
	}
	_ = p.Error()
}
