package rules_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/rules"
)

var sinks = []rules.Sink{
	{Name: "kafka", Kind: "kafka"},
	{Name: "standing", Kind: "kafka", Topic: "standing-topic"},
	{Name: "file", Kind: "file"},
	{Name: "out", Kind: "stdout"},
	{Name: "ordered", Kind: "file", Order: "{m}"},
}

// sequence numbers rules and outputs 1, 2, 3 ... as they come.
func sequence() func(kind, key string) (uint32, error) {
	var n uint32
	return func(string, string) (uint32, error) {
		n++
		return n, nil
	}
}

func compile(t testing.TB, cfgs ...rules.Config) *rules.Set {
	t.Helper()
	set, problems := rules.Compile(cfgs, sinks)
	if len(problems) > 0 {
		t.Fatalf("compile: %v", problems)
	}
	if err := set.Number(sequence()); err != nil {
		t.Fatal(err)
	}
	return set
}

// received is when all test messages came in.
var received = time.Date(2026, 3, 4, 5, 6, 7, 89_000_000, time.UTC)

func publish(topic, payload string) *message.Message {
	return &message.Message{
		ID: message.ID{Journal: 7, Epoch: 1, Offset: 42}, Received: received.UnixMilli(),
		Client: "press-1", User: "maria", Topic: topic, QoS: 1, Payload: []byte(payload),
	}
}

// evaluate runs rule 1 of the set for a sink.
func evaluate(set *rules.Set, sink string, m *message.Message) *message.Outcome {
	var out message.Outcome
	set.Evaluator(sink).Evaluate(1, m, &out)
	return &out
}

// outcome prints what became of a message: one line a record or error.
func outcome(out *message.Outcome) string {
	var lines []string
	for _, r := range out.Records {
		key := "-"
		if r.Key != nil {
			key = string(r.Key)
		}
		value := string(r.Value)
		if r.Null {
			value = "(null)"
		}
		lines = append(lines, fmt.Sprintf("%s | %s | %s", r.Topic, key, value))
	}
	for _, e := range out.Errors {
		lines = append(lines, fmt.Sprintf("error %s | %s", e.Kind, e.Err))
	}
	if out.Filtered {
		lines = append(lines, "filtered")
	}
	if out.Missing {
		lines = append(lines, "missing")
	}
	return strings.Join(lines, "\n")
}

// toFile is a rule with one output to a file: the simplest there is.
func toFile(from, where, value string) rules.Config {
	return rules.Config{
		Name: "r", From: []string{from}, Where: where,
		To: []rules.OutputConfig{{Sink: "file", Value: value}},
	}
}

func TestTopicsAndCaptures(t *testing.T) {
	for _, c := range []struct{ from, topic, value, want string }{
		{"#", "a/b", "topic", "a/b"},
		{"#", "$SYS/x", "topic", ""},
		{"$SYS/#", "$SYS/x", "topic", "$SYS/x"},
		{"+/x", "$SYS/x", "topic", ""},
		{"a/{n}", "a/b", "n", "b"},
		{"a/{n}", "a/", "n", ""},
		{"a/{n}", "a", "n", "filtered"},
		{"a/{n}", "a/b/c", "n", "filtered"},
		{"a/+/{n}", "a/b/c", "n", "c"},
		{"{n...}", "a/b/c", "n", "a/b/c"},
		{"a/{n...}", "a/b/c", "n", "b/c"},
		{"a/{n...}", "a", `"<" + n + ">"`, "<>"},
		{"a/{n...}", "a/", `"<" + n + ">"`, "<>"},
		{"a/{n...}", "ab", "n", "filtered"},
		{"{a}/{b}/{c}", "x//z", `a + "-" + b + "-" + c`, "x--z"},
		{"a/#", "a", "topic", "a"},
		{"ä/{n}", "ä/ö", "n", "ö"},
	} {
		got := outcome(evaluate(compile(t, toFile(c.from, "", c.value)), "file", publish(c.topic, "")))
		want := c.topic + " | - | " + c.want
		if c.want == "filtered" || strings.HasPrefix(c.topic, "$") && c.want == "" {
			want = "filtered"
		}
		if got != want {
			t.Errorf("from %s, topic %s: %s, want %s", c.from, c.topic, got, want)
		}
	}
}

const press = `{"temp":91.25,"n":9007199254740993,"state":"run","ok":true,"off":false,"nil":null,` +
	`"a":{"b":[{"v":1},{"v":2}],"c":"x"},"list":[1,2,3],"items":[{"id":1,"t":5},{"id":2,"t":9}],"ts":1767225600123,"esc":"a\"b"}`

func TestConditions(t *testing.T) {
	const met, not, missing = "met", "filtered", "filtered\nmissing"
	for where, want := range map[string]string{
		// Fields that are there.
		`payload.temp > 80`:                                met,
		`payload.temp > 80 && payload.state == "run"`:      met,
		`80 < payload.temp and payload.temp < 100`:         met,
		`payload.temp > 91.25`:                             not,
		`payload.temp >= 91.25`:                            met,
		`payload.state != "run"`:                           not,
		`"run" == payload.state`:                           met,
		`payload.ok`:                                       met,
		`!payload.ok`:                                      not,
		`not payload.off`:                                  met,
		`payload.ok == true && payload.off == false`:       met,
		`payload.ok != true`:                               not,
		`payload.n == 9007199254740993`:                    met,
		`payload.n == 9007199254740992`:                    not,
		`payload.n + 1 == 9007199254740994`:                met,
		`payload.n % 2 == 1`:                               met,
		`payload.ts > 1767225600000`:                       met,
		`payload.a.b[1].v == 2`:                            met,
		`payload.a.b[-1].v == 2`:                           met,
		`payload["a"]["c"] == "x"`:                         met,
		`payload.a?.c == "x"`:                              met,
		`payload.esc == "a\"b"`:                            met,
		`payload.state in ["run", "idle"]`:                 met,
		`payload.list[0] in [1, 2]`:                        met,
		`2 in payload.list`:                                met,
		`"b" in payload.a`:                                 met,
		`"z" in payload.a`:                                 not,
		`any(payload.items, .t > 8)`:                       met,
		`all(payload.items, .t > 8)`:                       not,
		`count(payload.items, .id == 1) == 1`:              met,
		`sum(payload.list) == 6`:                           met,
		`sum(payload.items, .t) == 14`:                     met,
		`payload.state matches "^r.n$"`:                    met,
		`payload.state contains "u"`:                       met,
		`let x = payload.temp; x > 90`:                     met,
		`if payload.ok { payload.temp > 90 } else {false}`: met,
		`payload.ok ? payload.temp > 90 : false`:           met,
		`len(payload.list) == 3`:                           met,
		`keys(payload.a)[0] == "b"`:                        met,
		`payload[user] == nil`:                             met,
		`payload[state_key()]`:                             "",
		// The message itself.
		`topic startsWith "plant/" && line == "7"`: met,
		`line != "7"`:                            not,
		`int(line) == 7`:                         met,
		`client == "press-1" && user == "maria"`: met,
		`qos == 1 && !retain`:                    met,
		`received.Year() == 2026`:                met,
		`int(received.Month()) == 3 && int(received.Weekday()) == 3`: met,
		`len(raw) > 10`:                                            met,
		`id endsWith "-1-42"`:                                      met,
		`properties.content_type == nil`:                           met,
		`properties.user.site == nil`:                              met,
		`received > date("2026-03-04")`:                            met,
		`received - date("2026-03-04T05:06:07Z") < duration("1s")`: met,
		// Fields that are absent, at any depth, under not, or null.
		`payload.nope > 80`:                     missing,
		`payload.nope.deep > 80`:                missing,
		`payload.a.b[7].v > 1`:                  missing,
		`payload.temp.x.y > 1`:                  missing,
		`!payload.nope`:                         missing,
		`payload.nope`:                          missing,
		`not (payload.nope > 5)`:                missing,
		`payload.nil > 5`:                       missing,
		`payload.nope == 5`:                     not,
		`payload.nope != 5`:                     met,
		`payload.nope == nil`:                   met,
		`payload.nope ?? 7 == 7`:                "",
		`(payload.nope ?? 7) == 7`:              met,
		`(payload.zz.y ?? 3) == 3`:              met,
		`payload.temp > 80 && payload.nope > 5`: missing,
		`payload.temp < 80 && payload.nope > 5`: not,
		`payload.temp > 80 || payload.nope > 5`: met,
		`payload.nope > 5 || payload.temp > 80`: missing,
		`any(payload.items, .nope > 3)`:         missing,
		`any(payload.nope, .x > 3)`:             missing,
		`payload[user].x > 5`:                   missing,
		`round(payload.nope) > 5`:               missing,
		`payload.nope matches "x"`:              not,
		`payload.nope in [1]`:                   not,
		// Wrong types are rule errors, not silence.
		`payload.state > 80`:                        "error type | where: invalid operation: text > number",
		`payload.temp`:                              "error type | where: a condition is true or false, this is a number",
		`payload.state && true`:                     "error type | where: a condition is true or false, this is text",
		`int(payload.state) > 1`:                    `error type | where: int: "run" is not a whole number`,
		`any(payload.state, true)`:                  "error type | where: a list was expected, not text",
		`payload.list > 1`:                          "",
		`payload.n % 0 == 1`:                        "error type | where: division by zero",
		`payload.n * payload.n > 1`:                 "error number | where: the result does not fit a 64-bit integer",
		`9223372036854775807 + payload.list[0] > 1`: "error number | where: the result does not fit a 64-bit integer",
		`properties.user.site > 5`:                  "",
	} {
		cfg := toFile("plant/{line}/#", where, "client")
		set, problems := rules.Compile([]rules.Config{cfg}, sinks)
		if want == "" && len(problems) > 0 {
			continue // a mistake that is found when it is compiled
		}
		if len(problems) > 0 {
			t.Errorf("%s: %v", where, problems)
			continue
		}
		if err := set.Number(sequence()); err != nil {
			t.Fatal(err)
		}
		got := outcome(evaluate(set, "file", publish("plant/7/press", press)))
		if got == "plant/7/press | - | press-1" {
			got = met
		}
		if want == "" && strings.HasPrefix(got, "error type | where: ") {
			continue
		}
		if got != want {
			t.Errorf("%s: %s, want %s", where, got, want)
		}
	}
}

func TestValues(t *testing.T) {
	for value, want := range map[string]string{
		``:                 press,
		`raw`:              press,
		`topic`:            "plant/7/press",
		`"text"`:           "text",
		`"null"`:           "null",
		`5`:                "5",
		`true`:             "true",
		`received`:         `"2026-03-04T05:06:07.089Z"`,
		`id`:               "000000000000e-1-42",
		`payload.state`:    "run",
		`payload.esc`:      `a"b`,
		`payload.temp`:     "91.25",
		`payload.a`:        `{"b":[{"v":1},{"v":2}],"c":"x"}`,
		`payload.n + 1`:    "9007199254740994",
		`payload.list[1:]`: "[2,3]",
		`{}`:               "{}",
		`{b: 1, a: "x", c: nil, d: [1, "y"], "e f": true, g: 1.5}`:                                             `{"a":"x","b":1,"c":null,"d":[1,"y"],"e f":true,"g":1.5}`,
		`{t: payload.temp, n: payload.n, s: payload.esc, o: payload.ok, z: payload.nope, y: payload.nil}`:      `{"n":9007199254740993,"o":true,"s":"a\"b","t":91.25,"y":null,"z":null}`,
		`{line: line, topic: topic, at: received, qos: qos, retain: retain, id: id}`:                           `{"at":"2026-03-04T05:06:07.089Z","id":"000000000000e-1-42","line":"7","qos":1,"retain":false,"topic":"plant/7/press"}`,
		`{x: {y: {z: line}, w: payload.a.c}}`:                                                                  `{"x":{"w":"x","y":{"z":"7"}}}`,
		`{r: round(payload.temp, 1), r0: round(payload.temp), rn: round(1234.5, -2), ri: round(payload.n, 2)}`: `{"r":91.3,"r0":91,"ri":9007199254740993,"rn":1200}`,
		`{f: payload.temp * 2, i: payload.list[0] * 2, d: payload.list[0] / 2}`:                                `{"d":0.5,"f":182.5,"i":2}`,
		`{a: round(payload.temp * 1, 1), b: round(payload.temp, 0), c: round(payload.temp, int(line))}`:        `{"a":91.3,"b":91,"c":91.25}`,
		`{a: payload.a, l: payload.list}`:                                                                      `{"a":{"b":[{"v":1},{"v":2}],"c":"x"},"l":[1,2,3]}`,
		`map(payload.items, .id)`:                                                                              "[1,2]",
		`map(payload.items, {{id: .id, line: line}})`:                                                          `[{"id":1,"line":"7"},{"id":2,"line":"7"}]`,
		`filter(payload.items, .t > 6) | map(.id)`:                                                             "[2]",
		`groupBy(payload.items, .id)`:                                                                          `{"1":[{"id":1,"t":5}],"2":[{"id":2,"t":9}]}`,
		`sortBy(payload.items, .t, "desc") | map(.id)`:                                                         "[2,1]",
		`reduce(payload.list, #acc + #, 10)`:                                                                   "16",
		`keys(payload.a)`:                                                                                      `["b","c"]`,
		`values({b: 1, a: 2})`:                                                                                 "[2,1]",
		`toPairs({b: 1, a: 2})`:                                                                                `[["a",2],["b",1]]`,
		`string(payload.list) + "/" + string(payload.n) + "/" + string(raw[0:2])`:                              `[1,2,3]/9007199254740993/{"`,
		`toJSON({b: 1, a: payload.n})`:                                                                         `{"a":9007199254740993,"b":1}`,
		`fromJSON("{\"x\": 9007199254740993}").x`:                                                              "9007199254740993",
		`{b64: toBase64(raw[0:3])}`:                                                                            `{"b64":"eyJ0"}`,
		`uniq([1, 2, 1, "a", "a"])`:                                                                            `[1,2,"a"]`,
		`upper(payload.state) + lower("X") + trim(" y ") + replace("aa", "a", "b") + join(["p", "q"], "-")`:    "RUNxybbp-q",
		`split("a,b", ",")`:                                                                                    `["a","b"]`,
		`1..3`:                                                                                                 "[1,2,3]",
		`date("2026-01-02 03:04:05")`:                                                                          `"2026-01-02T03:04:05.000Z"`,
		`date("2026-01-02 03:04:05", "2006-01-02 15:04:05", "Europe/Berlin")`:                                  `"2026-01-02T03:04:05.000+01:00"`,
		`received.In(timezone("Europe/Berlin"))`:                                                               `"2026-03-04T06:06:07.089+01:00"`,
		`received.Format("2006")`:                                                                              "2026",
		`received.UnixMilli()`:                                                                                 "1772600767089",
		`duration("90s")`:                                                                                      `"1m30s"`,
		`bitand(6, 3)`:                                                                                         "2",
		`max(payload.list) + min(3, 2)`:                                                                        "5",
		`mean(payload.list)`:                                                                                   "2",
		`{(payload.state): 1}`:                                                                                 `{"run":1}`,
		`payload`:                                                                                              canonicalPress,
		`get(payload, "state")`:                                                                                "run",
		`-payload.list[0]`:                                                                                     "-1",
		`payload.list | last()`:                                                                                "3",
	} {
		set, problems := rules.Compile([]rules.Config{toFile("plant/{line}/#", "", value)}, sinks)
		if len(problems) > 0 {
			t.Errorf("%s: %v", value, problems)
			continue
		}
		if err := set.Number(sequence()); err != nil {
			t.Fatal(err)
		}
		got := outcome(evaluate(set, "file", publish("plant/7/press", press)))
		if got != "plant/7/press | - | "+want {
			t.Errorf("%s:\n  %s\nwant\n  %s", value, got, want)
		}
	}
}

const canonicalPress = `{"a":{"b":[{"v":1},{"v":2}],"c":"x"},"esc":"a\"b","items":[{"id":1,"t":5},{"id":2,"t":9}],"list":[1,2,3],` +
	`"n":9007199254740993,"nil":null,"off":false,"ok":true,"state":"run","temp":91.25,"ts":1767225600123}`

func TestValueErrors(t *testing.T) {
	for value, want := range map[string]string{
		`payload.nope`:                 "nil | to[0].value: there is no value, and the output does not say tombstone: true",
		`nil`:                          "nil | to[0].value: there is no value, and the output does not say tombstone: true",
		`{x: payload.nope * 2}`:        "type | to[0].value: invalid operation: nothing * number",
		`{x: 1 / 0}`:                   "number | to[0].value: a number that is infinite or not a number cannot be written as JSON",
		`{x: raw}`:                     "",
		`{x: payload.state + 1}`:       "type | to[0].value: invalid operation: text + number",
		`{x: round(payload.state, 1)}`: "type | to[0].value: round: a number was expected, not text",
		`{x: round(payload.temp, 99)}`: "type | to[0].value: round: digits are a whole number from -18 to 18",
		`{x: bogus}`:                   "",
		`first(payload.state)`:         "",
	} {
		set, problems := rules.Compile([]rules.Config{toFile("#", "", value)}, sinks)
		if problems != nil {
			continue
		}
		if err := set.Number(sequence()); err != nil {
			t.Fatal(err)
		}
		got := outcome(evaluate(set, "file", publish("t", press)))
		if want != "" && got != "error "+want {
			t.Errorf("%s: %s, want %s", value, got, want)
		}
	}
}
