package config

import (
	"fmt"
	"strings"

	"github.com/penstock/penstock/internal/problem"
	"github.com/penstock/penstock/rules"
)

// A TestResult is how one test of a rule went, and where it is written.
type TestResult struct {
	rules.TestResult
	Position Position
}

// OK reports whether all came as expected.
func (r TestResult) OK() bool { return r.Passed() }

// String says where the test is and what differs.
func (r TestResult) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: rule %s", r.Position.File, r.Position.Line, r.Position.Column, r.Rule)
	if r.Name != "" {
		fmt.Fprintf(&b, ", test %q", r.Name)
	}
	for line := range strings.Lines(r.Diff) {
		b.WriteString("\n    " + strings.TrimSuffix(line, "\n"))
	}
	return b.String()
}

// Test runs the tests of all rules.
func (l *Loaded) Test() []TestResult {
	found := l.Set.Test()
	results := make([]TestResult, len(found))
	for i, r := range found {
		r.Path = problem.Join("rules", r.Path)
		at, _ := l.Locate(r.Path)
		results[i] = TestResult{r, at}
	}
	return results
}
