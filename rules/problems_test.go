package rules_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/problem"
	"github.com/penstock/penstock/rules"
)

// say prints problems as path@offset: message (hint), one a line.
func say(list problem.List) string {
	var lines []string
	for _, p := range list {
		line := p.Path
		if p.Offset > 0 {
			line += fmt.Sprintf("@%d", p.Offset)
		}
		if p.Key {
			line += " (key)"
		}
		line += ": " + p.Message
		if p.Hint != "" {
			line += " (" + p.Hint + ")"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func withAck(ack rules.AckConfig, to ...rules.OutputConfig) rules.Config {
	return rules.Config{Name: "r", From: []string{"#"}, Ack: ack, To: to}
}

func problemsOf(cfgs ...rules.Config) string {
	_, problems := rules.Compile(cfgs, sinks)
	return say(problems)
}

func TestExpressionProblems(t *testing.T) {
	for where, want := range map[string]string{
		`payload.temp >`:                       `@13: the expression ends too early`,
		`paylod.temp > 3`:                      `: unknown name "paylod" (did you mean "payload"?)`,
		`topic == "ä" && tpic == ""`:           `@17: unknown name "tpic" (did you mean "topic"?)`,
		`source.name == "x"`:                   `: unknown name "source"`,
		`$env.topic == ""`:                     `: unknown name "$env"`,
		`get($env, "topic") == ""`:             `@4: unknown name "$env"`,
		`line == 7`:                            `@5: invalid operation: == (types do not match: text and number) (line is text: write int(line))`,
		`7 < line`:                             `@2: invalid operation: < (types do not match: number and text) (line is text: write int(line))`,
		`qos`:                                  `: a condition is true or false, this is number`,
		`topic`:                                `: a condition is true or false, this is text`,
		`now() > received`:                     `: unknown name "now" (a rule gives the same answer whenever it runs: use received, the time the message came in)`,
		`rund(payload.x) > 1`:                  `: unknown name "rund" (did you mean "round"?)`,
		`topic matches user`:                   `@14: the pattern behind matches must be a text as it stands, so that it is compiled once`,
		`topic matches "("`:                    "@6: error parsing regexp: missing closing ): `(`",
		`env("NO_SUCH_VARIABLE_HERE") == ""`:   `@4: the environment variable NO_SUCH_VARIABLE_HERE is not set`,
		`env(topic) == ""`:                     `@4: env takes a name as it stands, in quotes`,
		`date(topic, "2006", user) > received`: `@20: a time zone is a name as it stands, in quotes`,
		`received.In(timezone("Local")) > received`:     `@21: the time zone Local differs from machine to machine`,
		`received.In(timezone("Mars/Base")) > received`: `@21: unknown time zone "Mars/Base"`,
		`received.Local() == received`:                  `@9: Local is not a function`,
		`payload.x.foo()`:                               `@10: foo is not a function`,
		`properties.nope == 1`:                          `@11: unknown field nope`,
		`map(payload.l, {a: .x}) == 1`:                  `@17: unexpected token Operator(":") (inside of map(...) and the like a map takes two braces: map(list, {{a: .b}}))`,
		`topic + 1 == ""`:                               `@6: invalid operation: + (types do not match: text and number)`,
		`topic.x == 1`:                                  `@6: type text has no field x`,
		strings.Repeat("(", 70000):                      `: an expression has at most 65536 bytes`,
		strings.Repeat("1+", 3000) + "1 > 0":            "",
		"\xff":                                          "",
	} {
		got := problemsOf(toFile("plant/{line}", where, ""))
		if want == "" && got != "" {
			continue
		}
		if got != "[0].where"+want {
			t.Errorf("%.60s:\n  %s\nwant\n  [0].where%s", where, got, want)
		}
	}
}

func TestProblems(t *testing.T) {
	out := []rules.OutputConfig{{Sink: "file"}}
	for name, c := range map[string]struct {
		config rules.Config
		want   string
	}{
		"nothing": {rules.Config{}, "[0]: a rule needs a name (add name: NAME)\n" +
			"[0]: a rule needs from (add from: TOPIC FILTER, \"#\" for all)\n[0]: a rule needs an output (add to: [{sink: NAME}])"},
		"name":                   {rules.Config{Name: "Hot_1", From: []string{"#"}, To: out}, `[0].name: "Hot_1" is not a name (lower-case letters, digits and -, at most 64, no - first)`},
		"long name":              {rules.Config{Name: strings.Repeat("a", 65), From: []string{"#"}, To: out}, `[0].name: "` + strings.Repeat("a", 65) + `" is not a name (lower-case letters, digits and -, at most 64, no - first)`},
		"empty":                  {toFile("", "", ""), "[0].from: a topic filter may not be empty"},
		"NUL":                    {toFile("a\x00", "", ""), "[0].from: a topic filter is UTF-8 text without NUL"},
		"long":                   {toFile(strings.Repeat("a", 65536), "", ""), "[0].from: a topic filter has at most 65535 bytes"},
		"# inside":               {toFile("a/#/b", "", ""), `[0].from@2: "#" stands only at the end of a filter`},
		"rest inside":            {toFile("{a...}/b", "", ""), `[0].from: {a...} stands only at the end of a filter`},
		"half":                   {toFile("a/b+", "", ""), `[0].from@2: a wildcard takes a whole level of the topic, "b+" is neither`},
		"half name":              {toFile("a/x{b}", "", ""), `[0].from@2: a {name} takes a whole level of the topic`},
		"bad name":               {toFile("a/{1b}", "", ""), `[0].from@2: "1b" is not a name: letters, digits and _, no digit first`},
		"word":                   {toFile("a/{in}", "", ""), `[0].from@2: "in" is a word of the expression language and cannot be a name`},
		"twice":                  {toFile("{a}/{a}", "", ""), `[0].from@4: the name {a} is given twice`},
		"two levels of problems": {toFile("{a}/b+/{a}", "", ""), "[0].from@4: a wildcard takes a whole level of the topic, \"b+\" is neither\n[0].from@7: the name {a} is given twice"},
		"differ":                 {rules.Config{Name: "r", From: []string{"a/{x}", "b/{y}", "c/{x}"}, To: out}, "[0].from[1]: all filters of a rule have the same {names}, the first one has others"},
		"differ more":            {rules.Config{Name: "r", From: []string{"a/{x}", "a/{x...}"}, To: out}, "[0].from[1]: all filters of a rule have the same {names}, the first one has others"},
		"ack":                    {withAck(rules.AckConfig{Level: "deliverd"}, out...), `[0].ack.level: ack is received, stored or delivered, not "deliverd" (did you mean "delivered"?)`},
		"ack without level":      {withAck(rules.AckConfig{Within: time.Second}, out...), `[0].ack: within needs a level (write ack: {level: delivered, within: 1s})`},
		"within stored":          {withAck(rules.AckConfig{Level: "stored", Within: time.Second}, out...), `[0].ack.within (key): within goes with the level delivered only (an ack of the level stored never waits for a sink)`},
		"within too short":       {withAck(rules.AckConfig{Level: "delivered", Within: time.Millisecond}, out...), `[0].ack.within: within is 10ms to 1h (leave it out to wait as long as it takes)`},
		"within too long":        {withAck(rules.AckConfig{Level: "delivered", Within: 61 * time.Minute}, out...), `[0].ack.within: within is 10ms to 1h (leave it out to wait as long as it takes)`},
		"nothing required":       {withAck(rules.AckConfig{Level: "delivered"}, rules.OutputConfig{Sink: "file", Required: new(false)}), `[0].ack.level: delivered needs an output that is required, and all say required: false (leave required: false out at the output that the publisher waits for)`},
		"shadow delivered":       {rules.Config{Name: "r", From: []string{"#"}, Shadow: true, Ack: rules.AckConfig{Level: "delivered"}, To: out}, `[0].ack.level: a shadow rule sends nothing, so nothing of it is ever delivered (leave ack out until shadow goes)`},
		"on_error":               {rules.Config{Name: "r", From: []string{"#"}, OnError: "skip", To: out}, `[0].on_error: on_error is dead_letter or drop, not "skip"`},
		"no sink":                {withOutput("#", rules.OutputConfig{}), "[0].to[0]: an output names its sink (add sink: NAME)"},
		"sink":                   {withOutput("#", rules.OutputConfig{Sink: "kafak"}), `[0].to[0].sink: there is no sink "kafak" (did you mean "kafka"?)`},
		"topic":                  {withOutput("#", rules.OutputConfig{Sink: "kafka"}), "[0].to[0]: an output to Kafka needs a topic (add topic: NAME here or at the sink kafka)"},
		"file topic": {
			withOutput("#", rules.OutputConfig{Sink: "file", Topic: "x", Tombstone: true, Unconfined: true}),
			"[0].to[0].topic (key): topic belongs to outputs of kafka sinks, file is a file sink (an output to file takes value, key and headers)\n" +
				"[0].to[0].tombstone (key): tombstone belongs to outputs of kafka sinks, file is a file sink (an output to file takes value, key and headers)\n" +
				"[0].to[0].unconfined (key): unconfined belongs to outputs of kafka sinks, file is a file sink (an output to file takes value, key and headers)",
		},
		"topic letters": {withOutput("#", rules.OutputConfig{Sink: "kafka", Topic: "a/{client}"}), `[0].to[0].topic@1: a Kafka topic may not hold "/" (letters, digits and . _ - make a topic, at most 249)`},
		"topic dots":    {withOutput("#", rules.OutputConfig{Sink: "kafka", Topic: ".."}), `[0].to[0].topic: ".." is not a Kafka topic`},
		"topic long":    {withOutput("#", rules.OutputConfig{Sink: "kafka", Topic: strings.Repeat("a", 250)}), `[0].to[0].topic: a Kafka topic has at most 249 characters`},
		"topic free":    {withOutput("#", rules.OutputConfig{Sink: "kafka", Topic: "{client}"}), `[0].to[0].topic: the topic begins with a hole, so that a device could choose any topic (begin it with literal text, or add unconfined: true)`},
		"unclosed":      {withOutput("#", rules.OutputConfig{Sink: "file", Key: "ab{client"}), "[0].to[0].key@2: the { has no } that closes it (write {{ for a brace as it stands)"},
		"unopened":      {withOutput("#", rules.OutputConfig{Sink: "file", Key: "ab}"}), "[0].to[0].key@2: a } closes nothing here (write }} for a brace as it stands)"},
		"empty hole":    {withOutput("#", rules.OutputConfig{Sink: "file", Key: "ab{}"}), "[0].to[0].key@3: the expression ends too early"},
		"hole":          {withOutput("#", rules.OutputConfig{Sink: "file", Key: "ä{clint}"}), `[0].to[0].key@3: unknown name "clint" (did you mean "client"?)`},
		"hole rest":     {withOutput("{x}/#", rules.OutputConfig{Sink: "file", Key: "{x...}"}), `[0].to[0].key@1: no filter of the rule has {x...} (write {x})`},
		"header name":   {withOutput("#", rules.OutputConfig{Sink: "file", Headers: rules.HeadersConfig{Set: map[string]string{"a\nb": "x"}}}), "[0].to[0].headers.a\nb (key): a header has a name of one line"},
		"header value":  {withOutput("#", rules.OutputConfig{Sink: "file", Headers: rules.HeadersConfig{Set: map[string]string{"a": "x\ny"}}}), "[0].to[0].headers.a@1: a header has a value of one line"},
		"value word":    {toFile("#", "", "ok"), `[0].to[0].value: unknown name "ok" (for the text itself write '"ok"')`},
		"value near":    {toFile("#", "", "topc"), `[0].to[0].value: unknown name "topc" (for the text itself write '"topc"'; did you mean "topic"?)`},
		"value twice":   {toFile("#", "", "{a: 1, b: 2, a: 3}"), `[0].to[0].value@13: the key "a" is written twice`},
		"several": {
			rules.Config{Name: "r", From: []string{"+x"}, Where: "bogus", To: []rules.OutputConfig{{Sink: "nope", When: "qos", Value: "bogus"}, {Sink: "kafka", Topic: "*"}}},
			"[0].from: a wildcard takes a whole level of the topic, \"+x\" is neither\n[0].where: unknown name \"bogus\"\n" +
				"[0].to[0].sink: there is no sink \"nope\"\n[0].to[0].when: a condition is true or false, this is number\n" +
				"[0].to[0].value: unknown name \"bogus\" (for the text itself write '\"bogus\"')\n" +
				"[0].to[1].topic: a Kafka topic may not hold \"*\" (letters, digits and . _ - make a topic, at most 249)",
		},
	} {
		if got := problemsOf(c.config); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

func TestDuplicateNames(t *testing.T) {
	a, b := toFile("a", "", ""), toFile("b", "", "")
	if got, want := problemsOf(a, b), `[1].name: another rule is named "r" already, number 1 of the list`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestWarnings(t *testing.T) {
	set := compile(t, toFile("{topic}/{client}/{len}/{fine}", `topic == "x"`, ""))
	const want = "[0].from: the name {topic} hides the variable topic (give the level another name if an expression needs the variable)\n" +
		"[0].from: the name {client} hides the variable client (give the level another name if an expression needs the variable)\n" +
		"[0].from: the name {len} hides the function len (give the level another name if an expression needs the function)"
	if got := say(set.Warnings()); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got := outcome(evaluate(set, "file", publish("x/c/l/f", ""))); !strings.HasPrefix(got, "x/c/l/f") {
		t.Errorf("the capture does not hide the variable: %s", got)
	}
}

func TestEnv(t *testing.T) {
	t.Setenv("PENSTOCK_TEST_SITE", "north")
	set := compile(t, toFile("#", `env("PENSTOCK_TEST_SITE") == "north"`, `{site: env("PENSTOCK_TEST_SITE")}`))
	t.Setenv("PENSTOCK_TEST_SITE", "south") // too late: rules are pure
	if got, want := outcome(evaluate(set, "file", publish("t", ""))), `t | - | {"site":"north"}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
