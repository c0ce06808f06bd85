package rules_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/rules"
)

// ordered compiles a rule to a sink with an order template.
func ordered(t testing.TB, order, from string) (*rules.Set, string) {
	t.Helper()
	set, problems := rules.Compile(
		[]rules.Config{{Name: "r", From: []string{from}, To: []rules.OutputConfig{{Sink: "s", Key: "k"}}}},
		[]rules.Sink{{Name: "s", Kind: "file", Order: order}},
	)
	if problems != nil {
		return nil, say(problems)
	}
	if err := set.Number(sequence()); err != nil {
		t.Fatal(err)
	}
	return set, ""
}

// Two messages have one order key exactly when the template says so (I3).
func TestOrder(t *testing.T) {
	for order, groups := range map[string]string{ // messages with one letter are in one order
		"":                         "AABCD",
		"{client}/{topic}":         "AABCD",
		"{line}":                   "AABBB",
		"{line}.{m}":               "AABCC",
		"all":                      "AAAAA",
		"{payload.n}":              "ABABA",
		`{line + "-" + client}`:    "AABBC",
		`{payload.none ?? client}`: "AAAAB",
	} {
		set, problems := ordered(t, order, "p/{line}/{m}")
		if set == nil {
			t.Errorf("%s: %s", order, problems)
			continue
		}
		keys := map[uint64]rune{}
		got := ""
		e := set.Evaluator("s")
		for i, topic := range []string{"p/1/a", "p/1/a", "p/2/a", "p/2/b", "p/2/b"} {
			m := publish(topic, fmt.Sprintf(`{"n":%d}`, i%2))
			if i == 4 {
				m.Client = "other"
			}
			var out message.Outcome
			e.Evaluate(1, m, &out)
			key := out.Records[0].Order
			if _, ok := keys[key]; !ok {
				keys[key] = rune('A' + len(keys))
			}
			got += string(keys[key])
		}
		if got != groups {
			t.Errorf("%s: %s, want %s", order, got, groups)
		}
	}
}

// A hole of the order that nothing fills is a rule error like any other.
func TestOrderFails(t *testing.T) {
	set, _ := ordered(t, "{payload.n}", "#")
	got := outcome(evaluate(set, "s", publish("t", `{}`)))
	if want := "error nil | order of sink s: a name has a hole, but there is nothing to fill it with"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestOrderProblems(t *testing.T) {
	for order, want := range map[string]string{
		"{line":       "sinks[0].order: the { has no } that closes it (write {{ for a brace as it stands)",
		"x{machin}":   `sinks[0].order@2: unknown name "machin" in the rule "r", which feeds the sink (did you mean "machine"?)`,
		"{shift}":     `sinks[0].order@1: unknown name "shift" in the rule "r", which feeds the sink (what order names must be a {name} in the filters of every rule with an output to the sink, or a variable such as client)`,
		"{client > }": "sinks[0].order@9: the expression ends too early",
	} {
		if _, got := ordered(t, order, "p/{line}/{machine}"); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", order, got, want)
		}
	}
}

// A mistake is told once however many rules feed the sink, and also when none
// does; what a rule's filter breaks is not told as the order's mistake.
func TestOrderProblemsAreToldOnce(t *testing.T) {
	out := []rules.OutputConfig{{Sink: "s"}}
	rule := func(name, from string) rules.Config { return rules.Config{Name: name, From: []string{from}, To: out} }
	for name, c := range map[string]struct {
		rules []rules.Config
		order string
		want  string
	}{
		"two rules": {
			[]rules.Config{rule("a", "x/{line}"), rule("b", "y"), rule("c", "z")},
			"{line}",
			`sinks[0].order@1: unknown name "line" in the rule "b", which feeds the sink (what order names must be a {name} in the filters of every rule with an output to the sink, or a variable such as client)`,
		},
		"no rule":         {nil, "{line", "sinks[0].order: the { has no } that closes it (write {{ for a brace as it stands)"},
		"no rule, a name": {nil, "{line}", ""},
		"broken filter":   {[]rules.Config{rule("a", "x/{line}/b+")}, "{line}", `[0].from@9: a wildcard takes a whole level of the topic, "b+" is neither`},
	} {
		_, problems := rules.Compile(c.rules, []rules.Sink{{Name: "s", Kind: "file", Order: c.order}})
		if got := say(problems); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

func TestOrderOfKafkaIsTheKey(t *testing.T) {
	kafka := func(order string) uint64 {
		set, problems := rules.Compile(
			[]rules.Config{withOutput("p/{line}", rules.OutputConfig{Sink: "k", Topic: "t", Key: "{line}"})},
			[]rules.Sink{{Name: "k", Kind: "kafka", Order: order}},
		)
		if problems != nil {
			t.Fatal(problems)
		}
		if err := set.Number(sequence()); err != nil {
			t.Fatal(err)
		}
		return evaluate(set, "k", publish("p/7", "")).Records[0].Order
	}
	if kafka("") != kafka("{client}") {
		t.Error("an order template changed the order of a Kafka sink")
	}
}

// Equal keys have equal hashes, and different ones of a few bytes hardly ever.
func TestOrderHash(t *testing.T) {
	set, _ := ordered(t, "{payload.a}|{payload.b}", "#")
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-z]{0,9}`)
		of := func(a, b string) uint64 {
			return evaluate(set, "s", publish("t", fmt.Sprintf(`{"a":%q,"b":%q}`, a, b))).Records[0].Order
		}
		a, b, c, d := text.Draw(t, "a"), text.Draw(t, "b"), text.Draw(t, "c"), text.Draw(t, "d")
		if same := a == c && b == d; (of(a, b) == of(c, d)) != same {
			t.Fatalf("%s|%s and %s|%s: equal is %t", a, b, c, d, !same)
		}
	})
}
