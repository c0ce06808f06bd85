package rules_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/penstock/penstock/broker/topic"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/rules"
)

// numbered compiles a rule, nil when it has a mistake.
func numbered(t *testing.T, cfg rules.Config) *rules.Set {
	t.Helper()
	set, problems := rules.Compile([]rules.Config{cfg}, sinks)
	if problems != nil {
		for _, p := range problems {
			if p.Message == "" || p.Offset < 0 {
				t.Fatalf("a problem without words or place: %+v", p)
			}
		}
		return nil
	}
	if err := set.Number(sequence()); err != nil {
		t.Fatal(err)
	}
	return set
}

// TestTestsAgreeWithPrograms: comparisons that are settled without a program
// say what the program says.
func TestTestsAgreeWithPrograms(t *testing.T) {
	payloads := []string{
		`1`, `2`, `1.0`, `1.5`, `-1`, `9007199254740993`, `9007199254740992`, `1e400`, `"a"`, `"b"`, `"\u0061"`, `""`,
		`true`, `false`, `null`, `[]`, `{}`, "",
	}
	literals := []string{`1`, `1.5`, `"a"`, `true`, `false`, `9007199254740993`, `-1`}
	for _, operator := range []string{"==", "!=", "<", "<=", ">", ">="} {
		for _, literal := range literals {
			for _, form := range []string{"%s %s %s", "%[3]s %[2]s %[1]s"} {
				direct := fmt.Sprintf(form, "payload.x", operator, literal)
				compareConditions(t, payloads, direct, "let v = payload.x; "+fmt.Sprintf(form, "v", operator, literal))
			}
		}
	}
	compareConditions(t, payloads, "payload.x", "let v = payload.x; v")
	compareConditions(t, payloads, "!payload.x", "let v = payload.x; !v")
}

func compareConditions(t *testing.T, payloads []string, direct, program string) {
	t.Helper()
	a, b := numbered(t, toFile("#", direct, `"met"`)), numbered(t, toFile("#", program, `"met"`))
	if a == nil || b == nil {
		if a != b {
			t.Errorf("%s and %s: one of them does not compile", direct, program)
		}
		return
	}
	for _, x := range payloads {
		payload := `{"x":` + x + `}`
		if x == "" {
			payload = `{}`
		}
		got, want := outcome(evaluate(a, "file", publish("t", payload))), outcome(evaluate(b, "file", publish("t", payload)))
		if got != want {
			t.Errorf("%s on %s: %s, want %s", direct, payload, got, want)
		}
	}
}

// TestFieldsAgreeWithWhole: fields that are found one by one are those of the
// payload decoded as a whole.
func TestFieldsAgreeWithWhole(t *testing.T) {
	for _, field := range []string{
		`.temp`, `.a.b[0].v`, `.a.b[9].v`, `.a.nope.x`, `.temp.x`, `.list[1]`, `.list.x`, `.a[0]`, `.esc`, `.esc[0]`, `.nil`, `.nil.x`, `.n`, `["a"].c`, `?.a?.c`,
	} {
		lazy := compile(t, toFile("#", "", "{v: payload"+field+"}"))
		whole := compile(t, toFile("#", "", "let p = payload; {v: p"+field+"}"))
		for _, payload := range []string{press, `{"a":{"c":1},"a":{"b":2}}`, `[1]`, `"text"`, `null`} {
			got, want := outcome(evaluate(lazy, "file", publish("t", payload))), outcome(evaluate(whole, "file", publish("t", payload)))
			if got != want {
				t.Errorf("%s of %.40s: %s, whole: %s", field, payload, got, want)
			}
		}
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{`a{line}b`, `{{x}}`, `{rest...}`, `{"}"}`, `{payload.x}`, `{ {a:1}.a }`, "{`}`}", `{/*}*/line}`, `{`, `}`, `{}`, `ä{"\""}`} {
		f.Add(s, "7")
	}
	f.Fuzz(func(t *testing.T, text, level string) {
		if text == "" || text == "none" || strings.ContainsAny(level, "/+#\x00") {
			return
		}
		escaped := strings.NewReplacer("{", "{{", "}", "}}").Replace(text)
		for _, c := range []struct{ key, want string }{{escaped, text}, {escaped + "{line}", text + level}, {text, ""}} {
			set := numbered(t, withOutput("p/{line}/{rest...}", rules.OutputConfig{Sink: "file", Key: c.key, Value: `""`}))
			if set == nil {
				if c.want != "" {
					t.Fatalf("%q does not compile", c.key)
				}
				continue
			}
			out := evaluate(set, "file", publish("p/"+level+"/r", `{"x":1}`))
			if c.want != "" && (len(out.Records) != 1 || string(out.Records[0].Key) != c.want) {
				t.Fatalf("%q: %s", c.key, outcome(out))
			}
		}
	})
}

var named = regexp.MustCompile(`^\{.*\.\.\.\}$|^\{.*\}$`)

// plainFilter writes a filter with names as MQTT has it.
func plainFilter(from string) string {
	parts := strings.Split(from, "/")
	for i, p := range parts {
		switch {
		case strings.HasSuffix(p, "...}"):
			parts[i] = "#"
		case named.MatchString(p):
			parts[i] = "+"
		}
	}
	return strings.Join(parts, "/")
}

func FuzzFilter(f *testing.F) {
	for _, s := range [][2]string{
		{"a/{b}/c", "a/x/c"},
		{"{b...}", "a/b"},
		{"a/{b...}", "a"},
		{"+/#", "$SYS/x"},
		{"#", "/"},
		{"{a}/{b}", "/"},
		{"$SYS/{b...}", "$SYS"},
		{"a//b", "a//b"},
		{"{a}{b}", "x"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, from, name string) {
		if topic.ValidName(name) != nil {
			return
		}
		set := numbered(t, toFile(from, "", "topic"))
		if set == nil {
			return
		}
		want := topic.Match(plainFilter(from), name)
		if wanted, _ := set.Want(name, nil); (len(wanted) == 1) != want {
			t.Fatalf("Want: %s on %s: %v, want %v", from, name, wanted, want)
		}
		if out := evaluate(set, "file", publish(name, "")); (len(out.Records) == 1) != want {
			t.Fatalf("Evaluate: %s on %s: %s, want %v", from, name, outcome(out), want)
		}
	})
}

func FuzzExpression(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	for _, s := range []string{
		`payload.temp > 80 && line == "7"`, `{a: payload.x, b: [1, line]}`, `let x = payload; x.a?.b ?? 3`, `filter(payload.items, .t > 3) | map(.id)`,
		`received.Format("2006") + string(qos)`, `if payload.ok { 1 } else { 2 }`, `sortBy(payload.items, .t)[0].id`, `date("2026-01-01", "2006-01-02", "UTC")`,
		`groupBy(payload.items, #.id)["1"]`, `payload["a"]["b"][-1].v`, `not (1 in payload.list)`, `reduce(payload.list, #acc + #index, 0)`, `raw[1:2]`,
		`::len(payload.list)`, `get(payload, "a").b`, `env("HOME")`, `-payload.n ** 2`, `b"x" == raw`, `keys(payload)[0] matches "a.*"`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, cfg := range []rules.Config{toFile("p/{line}", text, ""), toFile("p/{line}", "", text)} {
			set := numbered(t, cfg)
			if set == nil {
				continue
			}
			first := outcome(evaluate(set, "file", publish("p/7", press)))
			var out message.Outcome
			e := set.Evaluator("file")
			e.Evaluate(1, publish("p/7", `{"x":[1,"a"]}`), &out)
			out = message.Outcome{}
			if e.Evaluate(1, publish("p/7", press), &out); outcome(&out) != first {
				t.Fatalf("%q: %s, then %s", text, first, outcome(&out))
			}
		}
	})
}
