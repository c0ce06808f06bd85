package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/problem"
)

const plant = `sinks: [{name: out, file: {path: out.txt}}]
rules:
  - name: hot
    from: plant/{line}/telemetry
    where: payload.temp > 80
    to:
      - sink: out
        key: "\u007bline}"
        value: |
          {line: line,
           temp: payload.temp}
    tests:
      - name: hot enough
        given: {topic: plant/7/telemetry, payload: {temp: 91}}
        expect: [{sink: out, key: 7, value: {line: "7", temp: 91}}]
      - given: {topic: plant/7/telemetry, payload: {temp: 91}}
        expect: []
`

func parse(t *testing.T, text string, env ...string) *config.Loaded {
	t.Helper()
	loaded, err := config.Parse("conf/plant.yaml", []byte(text), env)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func TestLocate(t *testing.T) {
	loaded := parse(t, plant)
	for _, c := range []struct {
		path   string
		offset int
		key    bool
		want   config.Position
	}{
		{"rules", 0, true, config.Position{"conf/plant.yaml", 2, 1}},
		{"rules[0]", 0, false, config.Position{"conf/plant.yaml", 3, 5}},
		{"rules[0].where", 0, false, config.Position{"conf/plant.yaml", 5, 12}},
		{"rules[0].where", 0, true, config.Position{"conf/plant.yaml", 5, 5}},
		{"rules[0].where", 8, false, config.Position{"conf/plant.yaml", 5, 20}},
		{"rules[0].from[0]", 6, false, config.Position{"conf/plant.yaml", 4, 17}},
		{"rules[0].to[0].key", 1, false, config.Position{"conf/plant.yaml", 8, 21}},
		{"rules[0].to[0].value", 0, false, config.Position{"conf/plant.yaml", 9, 16}},
		{"rules[0].to[0].value", 14, false, config.Position{"conf/plant.yaml", 11, 12}},
		{"rules[0].tests[1]", 0, false, config.Position{"conf/plant.yaml", 16, 9}},
		{"rules[0].tests[0].given[0].payload.temp", 0, false, config.Position{"conf/plant.yaml", 14, 59}},
		{"rules[0].to[0].topic", 0, false, config.Position{"conf/plant.yaml", 7, 9}}, // what should hold it
		{"journal", 0, false, config.Position{}},
	} {
		p := loaded.Place(problem.Problem{Path: c.path, Offset: c.offset, Key: c.key})
		if diff := cmp.Diff(c.want, config.Position{p.File, p.Line, p.Column}); diff != "" {
			t.Errorf("%s offset %d key %v: %s", c.path, c.offset, c.key, diff)
		}
	}
	at, ok := loaded.Locate("rules[0].name")
	if diff := cmp.Diff(config.Position{"conf/plant.yaml", 3, 11}, at); !ok || diff != "" {
		t.Errorf("Locate: %v %s", ok, diff)
	}
	if at, ok := loaded.Locate("auth.users_file"); ok {
		t.Errorf("found at %v what nobody wrote", at)
	}
}

func TestRuleTests(t *testing.T) {
	results := parse(t, plant).Test()
	if len(results) != 2 {
		t.Fatalf("%d results", len(results))
	}
	if r := results[0]; !r.OK() {
		t.Errorf("first test failed: %v", r)
	}
	r := results[1]
	if r.OK() || r.Position.Line != 16 || r.Path != "rules[0].tests[1]" {
		t.Errorf("second test: %+v", r)
	}
	if s := r.String(); !strings.HasPrefix(s, "conf/plant.yaml:16:9: rule hot\n    ") {
		t.Errorf("printed as %q", s)
	}
	if s := results[0].String(); s != `conf/plant.yaml:13:9: rule hot, test "hot enough"` {
		t.Errorf("printed as %q", s)
	}
}

func TestDefaults(t *testing.T) {
	t.Chdir(t.TempDir())
	working, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := config.Load(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{Listeners: []broker.ListenerConfig{{Bind: "127.0.0.1:1883"}}}
	want.Journal.Dir = filepath.Join(working, "data")
	if diff := cmp.Diff(want, loaded.Config); diff != "" {
		t.Error(diff)
	}
	if loaded.Set == nil || len(loaded.Warnings) != 0 || len(loaded.Files) != 0 {
		t.Errorf("%+v", loaded)
	}
	loaded = parse(t, "auth: {}\n")
	if got := loaded.Config.Journal.Dir; got != filepath.Join(working, "conf", "data") {
		t.Errorf("journal beside the first file is %s", got)
	}
}

func TestUnreadableFile(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "nope.yaml"), "\x00"} {
		_, err := config.Load([]string{path}, nil)
		var list problem.List
		var system *fs.PathError
		if errors.As(err, &list) || !errors.As(err, &system) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestRulesLevelWithWeakSync(t *testing.T) {
	_, err := config.Parse("a.yaml", []byte(`journal: {sync: 100ms}
sinks: [{name: out, stdout: {}}]
rules:
  - {name: a, from: a, to: [{sink: out}], ack: stored}
  - {name: b, from: a, to: [{sink: out}], ack: received}
  - {name: c, from: a, to: [{sink: out}]}
`), nil)
	var list problem.List
	if !errors.As(err, &list) || len(list) != 1 || list[0].Path != "rules[0].ack.level" || list[0].Line != 4 || list[0].Column != 48 {
		t.Errorf("%v", err)
	}
}

// TestLargeFiles: the bounds hold, and nothing is quadratic in the number of
// rules.
func TestLargeFiles(t *testing.T) {
	_, err := config.Parse("a.yaml", make([]byte, 17<<20), nil)
	if err == nil || err.Error() != "a.yaml: the file is larger than 16 MiB" {
		t.Errorf("%v", err)
	}
	var b strings.Builder
	b.WriteString("sinks: [{name: out, stdout: {}}]\nrules:\n")
	for i := range 2000 {
		b.WriteString("  - {name: r" + strings.Repeat("x", i%9) + ", from: a/b, where: 'payload.x > 1', to: [{sink: out}]}\n")
	}
	_, err = config.Parse("a.yaml", []byte(b.String()), nil)
	var list problem.List
	if !errors.As(err, &list) || len(list) != 2000-9 {
		t.Errorf("%d complaints about names used twice", len(list))
	}
}

// TestManyMistakes: a file full of them ends soon all the same.
func TestManyMistakes(t *testing.T) {
	for _, line := range []string{"a: !x\n", "a: b: c\n", "- [a: {b\n"} {
		_, err := config.Parse("a.yaml", []byte(strings.Repeat(line, 3000)), nil)
		if list, ok := errors.AsType[problem.List](err); !ok || len(list) == 0 {
			t.Errorf("%q: %v", line, err)
		}
	}
}
