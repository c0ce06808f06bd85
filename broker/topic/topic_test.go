package topic_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/penstock/penstock/broker/topic"
)

func TestValidName(t *testing.T) {
	for _, tt := range []struct {
		name string
		want error
	}{
		{"a", nil},
		{"/", nil},
		{"a//b/", nil},
		{"$SYS/x", nil},
		{"größe/€", nil},
		{strings.Repeat("a", 65535), nil},
		{"", topic.ErrEmpty},
		{strings.Repeat("a", 65536), topic.ErrTooLong},
		{"a\x00b", topic.ErrNUL},
		{"a/\xff", topic.ErrUTF8},
		{"\xed\xa0\x80", topic.ErrUTF8}, // a surrogate
		{"a/+", topic.ErrWildcard},
		{"a#", topic.ErrWildcard},
	} {
		if got := topic.ValidName(tt.name); !errors.Is(got, tt.want) {
			t.Errorf("%.20q: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestValidFilter(t *testing.T) {
	for _, tt := range []struct {
		filter string
		want   error
	}{
		{"a", nil},
		{"#", nil},
		{"+", nil},
		{"+/+/#", nil},
		{"/+", nil},
		{"a//", nil},
		{"$SYS/#", nil},
		{"$share", nil}, // an ordinary name
		{"$share/g/a/+/#", nil},
		{"$share/g//", nil},
		{strings.Repeat("/", 199), nil},
		{strings.Repeat("a", 65535), nil},
		{"", topic.ErrEmpty},
		{strings.Repeat("a", 65536), topic.ErrTooLong},
		{"a\x00", topic.ErrNUL},
		{"a/\xc0\x80", topic.ErrUTF8},
		{"#/a", topic.ErrHash},
		{"a/#/b", topic.ErrHash},
		{"a/#/", topic.ErrHash},
		{"a#", topic.ErrHash},
		{"a/##", topic.ErrHash},
		{"+#", topic.ErrHash},
		{"a+/b", topic.ErrPlus},
		{"a/++", topic.ErrPlus},
		{"a/+b", topic.ErrPlus},
		{strings.Repeat("/", 200), topic.ErrTooDeep},
		{"$share/", topic.ErrShareName},
		{"$share//a", topic.ErrShareName},
		{"$share/+/a", topic.ErrShareName},
		{"$share/g#/a", topic.ErrShareName},
		{"$share/g", topic.ErrShareFilter},
		{"$share/g/", topic.ErrShareFilter},
		{"$share/g/a#", topic.ErrHash},
	} {
		if got := topic.ValidFilter(tt.filter); !errors.Is(got, tt.want) {
			t.Errorf("%.20q: %v, want %v", tt.filter, got, tt.want)
		}
	}
}

func TestSplitShare(t *testing.T) {
	for _, tt := range [][3]string{
		{"a/b", "", "a/b"},
		{"$SYS/b", "", "$SYS/b"},
		{"$share/g/a/#", "g", "a/#"},
		{"$share/g//a", "g", "/a"},
	} {
		if share, filter := topic.SplitShare(tt[0]); share != tt[1] || filter != tt[2] {
			t.Errorf("%s: %q, %q", tt[0], share, filter)
		}
	}
}

func TestLevels(t *testing.T) {
	if n := topic.Levels("a//b/"); n != 4 {
		t.Errorf("%d levels, want 4", n)
	}
	if topic.HasWildcard("a/b") || !topic.HasWildcard("a/+") || !topic.HasWildcard("#") {
		t.Error("wildcards not told")
	}
}

// matches are filters with names they match and, behind "but not", others.
func matches() map[string]string {
	return map[string]string{
		"a":        "a but not b a/ /a a/b A",
		"a/b":      "a/b but not a a/b/ a/b/c",
		"a/+":      "a/b a/ but not a a/b/c b/a",
		"+":        "a but not / a/b $SYS",
		"+/+":      "a/b / /a a/ but not a a/b/c $SYS/a",
		"/+":       "/a / but not a a/b",
		"a/+/c":    "a/b/c a//c but not a/c a/b/c/ a/b/b/c",
		"#":        "a / a/b a/b/c but not $SYS $SYS/a $",
		"a/#":      "a a/ a/b a/b/c but not ab b/a",
		"a/b/#":    "a/b a/b/ a/b/c but not a a/c",
		"+/#":      "a a/b / but not $SYS $SYS/a",
		"+/b/#":    "a/b a/b/c /b but not b a $SYS/b",
		"/#":       "/ /a /a/b but not a a/b",
		"$SYS/#":   "$SYS $SYS/a but not a $SYSa",
		"$SYS/+":   "$SYS/a but not $SYS",
		"a/$b/+":   "a/$b/c but not a/b/c",
		"a/+/$b":   "a/$/$b but not a/$b",
		"größe/+":  "größe/€ but not größ",
		"a//+":     "a//b a// but not a/b",
		"+/a/+/#":  "x/a/y x/a/y/z but not x/a x/b/y",
		"sport/#":  "sport but not sports",
		"a/b/c/d":  "a/b/c/d but not a/b/c",
		"+/b/+/d":  "a/b/c/d but not a/b/c",
		"+/+/+/+":  "a/b/c/d but not a/b/c",
		"$share/a": "$share/a but not a",
	}
}

// each calls f with every filter and name of matches.
func each(f func(filter, name string, want bool)) {
	for filter, names := range matches() {
		yes, no, _ := strings.Cut(names, "but not")
		for name := range strings.FieldsSeq(yes) {
			f(filter, name, true)
		}
		for name := range strings.FieldsSeq(no) {
			f(filter, name, false)
		}
	}
}

func TestMatch(t *testing.T) {
	each(func(filter, name string, want bool) {
		if topic.Match(filter, name) != want {
			t.Errorf("%s and %s: %v", filter, name, !want)
		}
		if naive(filter, name) != want {
			t.Errorf("%s and %s by the model: %v", filter, name, !want)
		}
	})
	for _, tt := range [][2]string{{"", "a"}, {"a", ""}, {"#", ""}, {"", ""}} {
		if topic.Match(tt[0], tt[1]) {
			t.Errorf("%q matches %q", tt[0], tt[1])
		}
	}
}

// naive matches as the standard says it, without care for time or memory.
func naive(filter, name string) bool {
	f, n := strings.Split(filter, "/"), strings.Split(name, "/")
	if strings.HasPrefix(name, "$") && (f[0] == "#" || f[0] == "+") {
		return false
	}
	if f[len(f)-1] == "#" {
		f = f[:len(f)-1]
		if len(n) < len(f) {
			return false
		}
		n = n[:len(f)]
	}
	return slices.EqualFunc(f, n, func(f, n string) bool { return f == "+" || f == n })
}

func FuzzMatch(f *testing.F) {
	each(func(filter, name string, _ bool) { f.Add(filter, name) })
	f.Add("$share/g/a/#", "a/b")
	f.Fuzz(func(t *testing.T, filter, name string) {
		if topic.ValidFilter(filter) != nil || topic.ValidName(name) != nil {
			return
		}
		_, filter = topic.SplitShare(filter)
		want := naive(filter, name)
		if got := topic.Match(filter, name); got != want {
			t.Errorf("Match(%q, %q) = %v", filter, name, got)
		}
		checkTree(t, filter, name, want)
		var kept topic.Retained[int]
		kept.Set(name, 1)
		if got := len(names(&kept, filter)) == 1; got != want {
			t.Errorf("retained %q found by %q: %v", name, filter, got)
		}
	})
}

// checkTree matches one filter in a tree, and what is left when it has gone.
func checkTree(t *testing.T, filter, name string, want bool) {
	t.Helper()
	var tree topic.Tree[int]
	tree.Insert(filter, 1)
	if got := len(tree.Match(name, nil)) == 1; got != want {
		t.Errorf("tree of %q matches %q: %v", filter, name, got)
	}
	if !tree.Remove(filter, 1) || tree.Len() != 0 || len(tree.Match(name, nil)) != 0 {
		t.Errorf("%q did not go", filter)
	}
}

func FuzzValidFilter(f *testing.F) {
	for filter := range matches() {
		f.Add(filter)
	}
	f.Add("$share/g/+/#")
	f.Fuzz(func(t *testing.T, s string) {
		if err := topic.ValidName(s); err == nil && topic.HasWildcard(s) {
			t.Errorf("name %q with a wildcard", s)
		}
		if topic.ValidFilter(s) != nil {
			return
		}
		if _, filter := topic.SplitShare(s); topic.ValidFilter(filter) != nil && !strings.HasPrefix(filter, "$share/") {
			t.Errorf("%q holds the invalid filter %q", s, filter)
		}
	})
}
