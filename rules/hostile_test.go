package rules_test

import (
	"strings"
	"testing"

	"github.com/penstock/penstock/rules"
)

// hostile are values that would run for minutes, or need more memory than there
// is, if nothing stopped them. list is a list of 20,000 numbers, text 500 KB.
var hostile = []string{
	`count(1..3000, any(1..3000, false))`,
	`let r = 1..3000; count(r, any(r, any(r, # < 0)))`,
	`1..1000000000`,
	`map(1..200000, 1..200000)`,
	`reduce(1..1000, #acc + #acc, "xx")`,
	`reduce(1..100000, #acc + "0123456789", "")`,
	`repeat("x", 1000000000)`,
	`repeat(payload.text, 1000000)`,
	`repeat("", 1000000000) + repeat("xxxxxxxxxx", 900000) + repeat("xxxxxxxxxx", 900000)`,
	`replace(payload.text, "", payload.text)`,
	`join(map(1..10000, payload.text), "")`,
	`join(split(payload.text, ""), payload.text)`,
	`toJSON(reduce(1..60, [#acc, #acc], [1]))`,
	`string(reduce(1..60, [#acc, #acc], [1]))`,
	`len(flatten(reduce(1..60, [#acc, #acc], [1])))`,
	`mean(reduce(1..60, [#acc, #acc], [1]))`,
	`max(reduce(1..60, [#acc, #acc], [1]))`,
	`reduce(1..60, [#acc, #acc], [1])`,
	`{x: reduce(1..60, [#acc, #acc], [1])}`,
	`toJSON(reduce(1..5000, [#acc], [1]))`,
	`reduce(1..60, {{a: #acc, b: #acc}}, {})`,
	`len(uniq(1..200000))`,
	`count(payload.list, # in payload.list)`,
	`count(payload.list, payload.text contains "yz")`,
	`count(payload.list, payload.text matches "(x+x+)+y")`,
	`count(payload.list, payload.text + "a" == payload.text + "b")`,
	`count(1..200000, payload.text == payload.text2)`,
	`count(payload.list, upper(payload.text) == "")`,
	`sum(payload.list, sum(payload.list, sum(payload.list)))`,
	`map(payload.list, sort(payload.list))`,
	`map(payload.list, fromJSON(toJSON(payload.list)))`,
	`sortBy(payload.list, count(payload.list, # > 3))`,
}

func TestHostileRulesEnd(t *testing.T) {
	list := strings.TrimSuffix(strings.Repeat("7,", 20_000), ",")
	text := strings.Repeat("x", 500_000)
	payload := `{"list":[` + list + `],"text":"` + text + `","text2":"` + text + `"}`
	for _, value := range hostile {
		set, problems := rules.Compile([]rules.Config{toFile("#", "", value)}, sinks)
		if problems != nil {
			t.Errorf("%s: %s", value, say(problems))
			continue
		}
		if err := set.Number(sequence()); err != nil {
			t.Fatal(err)
		}
		out := evaluate(set, "file", publish("t", payload))
		if len(out.Errors) != 1 || out.Errors[0].Kind != "budget" && !strings.Contains(out.Errors[0].Err.Error(), "too deep") {
			t.Errorf("%s: %.300s", value, outcome(out))
		}
	}
}

func TestHostileConditionIsNoMissingField(t *testing.T) {
	set := compile(t, toFile("#", `payload.nope == 1 or count(1..3000, any(1..3000, false)) > 0`, ""))
	if got, want := outcome(evaluate(set, "file", publish("t", "{}"))), "error budget | where: the rule does too much work for one message"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestHostilePayloads(t *testing.T) {
	set := compile(t, toFile("#", `payload.a.b > 1`, "payload"))
	for name, payload := range map[string]string{
		"deep":     strings.Repeat(`{"a":`, 1<<20),
		"deep end": strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"long key": `{"` + strings.Repeat("a", 1<<20) + `":1`,
		"digits":   strings.Repeat("9", 1<<20) + "x",
	} {
		out := evaluate(set, "file", publish("t", payload))
		if len(out.Errors) != 1 || out.Errors[0].Kind != "decode" {
			t.Errorf("%s: %.200s", name, outcome(out))
		}
	}
}

func TestBudgetIsPerMessage(t *testing.T) {
	set := compile(t, toFile("#", `count(1..100000, # > 0) == 100000`, "topic"))
	e := set.Evaluator("file")
	for range 20 {
		out := evaluate(set, "file", publish("t", ""))
		e.Evaluate(1, publish("t", ""), out)
		if len(out.Records) != 2 {
			t.Fatal(outcome(out))
		}
	}
}
