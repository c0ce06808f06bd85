package problem_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/problem"
)

func TestError(t *testing.T) {
	long := strings.Repeat("a", 100) + "X" + strings.Repeat("b", 100)
	for _, c := range []struct {
		name    string
		problem problem.Problem
		want    string
	}{
		{"message", problem.Problem{Message: "wrong"}, "wrong"},
		{"path", problem.New("a.b", "wrong %d", 1), "a.b: wrong 1"},
		{"file", problem.Problem{File: "f", Path: "a.b", Message: "wrong"}, "f: wrong"},
		{"hint", problem.New("a", "wrong").WithHint("try %q", "x"), "a: wrong\n    try \"x\""},
		{
			"caret",
			problem.Problem{File: "f", Line: 3, Column: 4, Snippet: "a: b", Message: "wrong"},
			"f:3:4: wrong\n    a: b\n       ^",
		},
		{
			"tabs stay",
			problem.Problem{File: "f", Line: 1, Column: 4, Snippet: "\ta\tb", Message: "wrong"},
			"f:1:4: wrong\n    \ta\tb\n    \t \t^",
		},
		{
			"wide and combining characters",
			problem.Problem{File: "f", Line: 1, Column: 6, Snippet: "日本e\u0301éX", Message: "wrong"},
			"f:1:6: wrong\n    日本e\u0301éX\n          ^",
		},
		{
			"behind the end",
			problem.Problem{File: "f", Line: 1, Column: 9, Snippet: "ab", Message: "wrong"},
			"f:1:9: wrong\n    ab\n      ^",
		},
		{
			"caret elsewhere",
			problem.Problem{File: "f", Line: 1, Column: 2, Caret: 1, Snippet: "ab", Message: "wrong"},
			"f:1:2: wrong\n    ab\n    ^",
		},
		{
			"control characters",
			problem.Problem{File: "f", Line: 1, Column: 1, Snippet: "a\x1b[31m", Message: "wrong"},
			"f:1:1: wrong\n    a\ufffd[31m\n    ^",
		},
		{
			"long line",
			problem.Problem{File: "f", Line: 1, Column: 101, Snippet: long, Message: "wrong"},
			"f:1:101: wrong\n    …" + strings.Repeat("a", 59) + "X" + strings.Repeat("b", 58) + "…\n    " + strings.Repeat(" ", 60) + "^",
		},
		{
			"long line, at its end",
			problem.Problem{File: "f", Line: 1, Column: 202, Snippet: long, Message: "wrong"},
			"f:1:202: wrong\n    …" + strings.Repeat("a", 18) + "X" + strings.Repeat("b", 100) + "\n    " + strings.Repeat(" ", 120) + "^",
		},
	} {
		if diff := cmp.Diff(c.want, c.problem.Error()); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestList(t *testing.T) {
	if err := (problem.List{}).Err(); err != nil {
		t.Errorf("an empty list is an error: %v", err)
	}
	list := problem.List{problem.New("", "one"), problem.New("[2].x", "two").At(7), problem.New("y", "three")}.Under("a")
	err := list.Err()
	if want := "a: one\na[2].x: two\na.y: three"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if found, ok := errors.AsType[problem.List](err); !ok || found[1].Offset != 7 {
		t.Errorf("%#v", found)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"listeners", "auth", "journal", "sinks", "rules", "max_age", "name", "to", "dir", "compression"}
	for word, want := range map[string]string{
		"listener": "listeners", "jornal": "journal", "juornal": "journal", "maxage": "max_age", "maxAge": "max_age",
		"naem": "name", "nats": "", "ot": "to", "x": "", "": "", "rulez": "rules", "compresion": "compression",
		"mirrors": "", "source": "", "log": "", "dri": "dir", "zip": "",
	} {
		if got := problem.Nearest(word, words); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
	if got := problem.DidYouMean("sink", words); got != `did you mean "sinks"?` {
		t.Errorf("DidYouMean: %q", got)
	}
	if got := problem.DidYouMean("mirrors", words); got != "" {
		t.Errorf("DidYouMean: %q", got)
	}
}
