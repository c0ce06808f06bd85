package rules_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/rules"
)

func withOutput(from string, o rules.OutputConfig) rules.Config {
	return rules.Config{Name: "r", From: []string{from}, To: []rules.OutputConfig{o}}
}

func TestTemplates(t *testing.T) {
	const from, topic = "plant/{line}/{rest...}", "plant/7/a/b"
	for key, want := range map[string]string{
		`x`:                                   "x",
		`{line}`:                              "7",
		`{line}-{line}.`:                      "7-7.",
		`{{line}}`:                            "{line}",
		`}}{{{line}}}`:                        "}{7}",
		`{rest}`:                              "a/b",
		`p/{rest...}`:                         "p/a/b",
		`{ line }`:                            "7",
		`{"}" + line}`:                        "}7",
		`{'{' + line}`:                        "{7",
		"{`}` + line}":                        "}7",
		`{"a\"}"}`:                            `a"}`,
		`{line /* } */ + "x"}`:                "7x",
		`{len(filter([1,2,3], {# > 1}))}`:     "2",
		`{ {a: line}.a }`:                     "7",
		`{payload.n}/{payload.f}/{payload.t}`: "9007199254740993/1/true",
		`{payload.s}`:                         "sü\"",
		`{payload.n + 1}`:                     "9007199254740994",
		`{qos}{retain}`:                       "1false",
		`{id}`:                                "000000000000e-1-42",
		`{received}`:                          "2026-03-04T05:06:07.089Z",
		`{raw[0:2]}`:                          `{"`,
		`{topic}{client}{user}`:               "plant/7/a/bpress-1maria",
		`{payload.none ?? "d"}`:               "d",
		`{payload.l}`:                         "error type | to[0].key: a hole in a name takes text, a number or true or false, not a list or map",
		`{[1]}`:                               "error type | to[0].key: a hole in a name takes text, a number or true or false, not a list",
		`{payload.none}`:                      "error nil | to[0].key: a name has a hole, but there is nothing to fill it with",
		`{payload.nil}`:                       "error nil | to[0].key: a name has a hole, but there is nothing to fill it with",
		`{properties.content_type}`:           "error nil | to[0].key: a name has a hole, but there is nothing to fill it with",
		`{1 / 0}`:                             "error number | to[0].key: a number that is infinite or not a number cannot be written as JSON",
	} {
		set := compile(t, withOutput(from, rules.OutputConfig{Sink: "file", Key: key, Value: `"v"`}))
		got := outcome(evaluate(set, "file", publish(topic, `{"n":9007199254740993,"f":1.0,"t":true,"s":"s\u00fc\"","l":[],"nil":null}`)))
		if want = strings.TrimPrefix(topic+" | "+want+" | v", topic+" | error"); strings.HasPrefix(want, " ") {
			want = strings.TrimSuffix("error"+want, " | v")
		}
		if got != want {
			t.Errorf("key %s: %s, want %s", key, got, want)
		}
	}
}

func TestEmptyRestDropsTheSlash(t *testing.T) {
	for topic, want := range map[string]string{"plant": "x/y", "plant/a": "x/a/y", "plant//a": "x//a/y"} {
		set := compile(t, withOutput("plant/{rest...}", rules.OutputConfig{Sink: "file", Key: "x/{rest}/y", Value: `"v"`}))
		if got := outcome(evaluate(set, "file", publish(topic, ""))); got != topic+" | "+want+" | v" {
			t.Errorf("%s: %s", topic, got)
		}
	}
	set := compile(t, withOutput("plant/{level}", rules.OutputConfig{Sink: "file", Key: "x/{level}/y", Value: `"v"`}))
	if got := outcome(evaluate(set, "file", publish("plant/", ""))); got != "plant/ | x//y | v" {
		t.Errorf("an empty level stays: %s", got)
	}
}

func TestOutputs(t *testing.T) {
	for name, c := range map[string]struct {
		output        rules.OutputConfig
		payload, want string
	}{
		"defaults":              {rules.OutputConfig{Sink: "standing"}, "\x00raw\xff", "standing-topic | plant/7/a.b | \x00raw\xff"},
		"topic":                 {rules.OutputConfig{Sink: "standing", Topic: "t.{line}", Key: "{line}"}, "x", "t.7 | 7 | x"},
		"no key":                {rules.OutputConfig{Sink: "kafka", Topic: "t", Key: "none"}, "x", "t | - | x"},
		"file has no key":       {rules.OutputConfig{Sink: "file"}, "x", "plant/7/a.b | - | x"},
		"stdout":                {rules.OutputConfig{Sink: "out", Key: "k"}, "x", "plant/7/a.b | k | x"},
		"when met":              {rules.OutputConfig{Sink: "file", When: `line == "7"`}, "x", "plant/7/a.b | - | x"},
		"when not":              {rules.OutputConfig{Sink: "file", When: `line == "8"`}, "x", "filtered"},
		"when missing":          {rules.OutputConfig{Sink: "file", When: `payload.x > 1`}, "{}", "filtered\nmissing"},
		"when error":            {rules.OutputConfig{Sink: "file", When: `payload.x > 1`}, `{"x":"a"}`, "error type | to[0].when: invalid operation: text > number"},
		"tombstone":             {rules.OutputConfig{Sink: "kafka", Topic: "t", Value: "payload.x", Tombstone: true}, "{}", "t | plant/7/a.b | (null)"},
		"tombstone always":      {rules.OutputConfig{Sink: "kafka", Topic: "t", Value: "nil", Tombstone: true}, "{}", "t | plant/7/a.b | (null)"},
		"tombstone not":         {rules.OutputConfig{Sink: "kafka", Topic: "t", Value: "payload.x", Tombstone: true}, `{"x":1}`, "t | plant/7/a.b | 1"},
		"undecodable":           {rules.OutputConfig{Sink: "file", Value: "payload.x"}, `{"x":1`, "error decode | to[0].value: invalid JSON at byte 6: unexpected end, ',' or '}' was expected"},
		"undecodable whole":     {rules.OutputConfig{Sink: "file", Value: "payload"}, ``, "error decode | to[0].value: invalid JSON at byte 0: unexpected end, a value was expected"},
		"undecodable condition": {rules.OutputConfig{Sink: "file", When: "payload.x > 1"}, `x`, "error decode | to[0].when: invalid JSON at byte 0: unexpected 'x', a value was expected"},
		"number out of range":   {rules.OutputConfig{Sink: "file", Value: "payload.x + 1"}, `{"x":1e999}`, "error decode | to[0].value: number out of range"},
		"safe name":             {rules.OutputConfig{Sink: "kafka", Topic: "t-{rest}", Key: "none"}, "x", "t-a.b | - | x"},
		"unsafe name":           {rules.OutputConfig{Sink: "kafka", Topic: "t-{payload.x}"}, `{"x":"a/../b"}`, `error unsafe_name | to[0].topic: "t-a/../b" is not a Kafka topic`},
		"empty name":            {rules.OutputConfig{Sink: "kafka", Topic: "{payload.x}", Unconfined: true}, `{"x":""}`, `error unsafe_name | to[0].topic: "" is not a Kafka topic`},
		"dots":                  {rules.OutputConfig{Sink: "kafka", Topic: "{payload.x}", Unconfined: true}, `{"x":".."}`, `error unsafe_name | to[0].topic: ".." is not a Kafka topic`},
		"unconfined":            {rules.OutputConfig{Sink: "kafka", Topic: "{payload.x}", Unconfined: true, Key: "none"}, `{"x":"own"}`, `own | - | {"x":"own"}`},
		"long name":             {rules.OutputConfig{Sink: "kafka", Topic: `t{payload.x}`}, `{"x":"` + strings.Repeat("a", 249) + `"}`, `error unsafe_name | to[0].topic: "t` + strings.Repeat("a", 79) + `" is not a Kafka topic`},
		"header break":          {rules.OutputConfig{Sink: "file", Headers: rules.HeadersConfig{Set: map[string]string{"h": "{payload.x}"}}}, `{"x":"a\r\nb"}`, "error unsafe_name | to[0].headers.h: a header may not hold a line break"},
		"bytes out":             {rules.OutputConfig{Sink: "file", Value: "raw[1:]"}, "\x00\xff\xfe", "plant/7/a.b | - | \xff\xfe"},
		"broken UTF-8":          {rules.OutputConfig{Sink: "file", Value: "{x: payload.x}"}, "{\"x\":\"\xff\"}", "plant/7/a.b | - | {\"x\":\"\ufffd\"}"},
	} {
		set := compile(t, withOutput("plant/{line}/{rest...}", c.output))
		if got := outcome(evaluate(set, c.output.Sink, publish("plant/7/a.b", c.payload))); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func headers(r *message.Record) []string {
	var list []string
	for _, h := range r.Headers {
		list = append(list, h.Name+": "+string(h.Value))
	}
	return list
}

func TestHeaders(t *testing.T) {
	standard := []string{
		"penstock-id: 000000000000e-1-42.1.2", "penstock-client: press-1", "penstock-topic: t", "penstock-received: 2026-03-04T05:06:07.089Z",
	}
	for name, c := range map[string]struct {
		config rules.HeadersConfig
		want   []string
	}{
		"left out": {rules.HeadersConfig{}, standard},
		"none":     {rules.HeadersConfig{None: true}, nil},
		"own":      {rules.HeadersConfig{Set: map[string]string{"site": "a-{client}", "fixed": "f"}}, append(standard[:4:4], "fixed: f", "site: a-press-1")},
		"replaced": {rules.HeadersConfig{Set: map[string]string{"penstock-client": "x"}}, []string{standard[0], "penstock-client: x", standard[2], standard[3]}},
	} {
		set := compile(t, withOutput("#", rules.OutputConfig{Sink: "file", Headers: c.config}))
		out := evaluate(set, "file", publish("t", ""))
		if diff := cmp.Diff(c.want, headers(&out.Records[0])); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestRecordsStayAsTheyWere(t *testing.T) {
	set := compile(t, withOutput("#", rules.OutputConfig{
		Sink: "kafka", Topic: "t{payload.n}", Key: "{payload.n}", Value: "{n: payload.n, at: received}",
	}))
	e := set.Evaluator("kafka")
	var out message.Outcome
	var records []message.Record
	var want []string
	for i := range 3000 {
		out.Reset()
		m := publish("t", fmt.Sprintf(`{"n":%d}`, i))
		m.Received += int64(i)
		e.Evaluate(1, m, &out)
		records = append(records, out.Records...)
		want = append(want, fmt.Sprintf(`t%d %d {"at":%q,"n":%d} press-1`, i, i, m.Time().Format("2006-01-02T15:04:05.000Z07:00"), i))
	}
	var got []string
	for _, r := range records {
		got = append(got, fmt.Sprintf("%s %s %s %s", r.Topic, r.Key, r.Value, r.Headers[1].Value))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOrderKey(t *testing.T) {
	order := func(o rules.OutputConfig, client, topic, payload string) uint64 {
		m := publish(topic, payload)
		m.Client = client
		return evaluate(compile(t, withOutput("#", o)), o.Sink, m).Records[0].Order
	}
	byKey := rules.OutputConfig{Sink: "kafka", Topic: "t", Key: "{payload.k}"}
	if order(byKey, "a", "x", `{"k":"1"}`) != order(byKey, "b", "y", `{"k":"1"}`) {
		t.Error("one Kafka key, two order keys")
	}
	if order(byKey, "a", "x", `{"k":"1"}`) == order(byKey, "a", "x", `{"k":"2"}`) {
		t.Error("two Kafka keys, one order key")
	}
	for _, o := range []rules.OutputConfig{{Sink: "file", Key: "same"}, {Sink: "kafka", Topic: "t", Key: "none"}} {
		if order(o, "a", "x", "") != order(o, "a", "x", "other") {
			t.Error("one client and topic, two order keys")
		}
		if order(o, "a", "x", "") == order(o, "b", "x", "") || order(o, "a", "x", "") == order(o, "a", "y", "") {
			t.Error("two clients or topics, one order key")
		}
	}
}

func TestProperties(t *testing.T) {
	m := publish("t", "")
	m.Properties = message.Properties{
		ContentType: "text/plain", ResponseTopic: "re", CorrelationData: []byte("co"), MessageExpiry: 60, HasMessageExpiry: true,
		PayloadFormat: 1, HasPayloadFormat: true,
		UserProperties: []message.UserProperty{{Name: "site", Value: "a"}, {Name: "site", Value: "b"}},
	}
	set := compile(t, toFile("#", `properties.message_expiry > 30 && properties.user["site"] == "b"`, `properties`))
	const want = `t | - | {"content_type":"text/plain","correlation_data":"co","message_expiry":60,"payload_format":1,"response_topic":"re","user":{"site":"b"}}`
	if got := outcome(evaluate(set, "file", m)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestPayloadIsNotLookedAtWithoutNeed(t *testing.T) {
	for _, cfg := range []rules.Config{
		toFile("#", `topic == "t" && qos > 0`, "topic"),
		toFile("#", `payload.x > 1 && topic == "other"`, ""), // the cheap half says no first
		toFile("#", ``, "{at: received}"),
		toFile("#", `topic == "other"`, "payload.x"),
	} {
		out := evaluate(compile(t, cfg), "file", publish("t", "no JSON"))
		if len(out.Errors) > 0 {
			t.Errorf("where %s, value %s: %s", cfg.Where, cfg.To[0].Value, outcome(out))
		}
	}
}

func TestOutputsFailApart(t *testing.T) {
	cfg := rules.Config{Name: "r", From: []string{"#"}, OnError: "drop", To: []rules.OutputConfig{
		{Sink: "file", Value: "payload.a"},
		{Sink: "file", Value: "payload.b"},
		{Sink: "file", When: "payload.c > 1"},
		{Sink: "out", Value: "topic"},
	}}
	out := evaluate(compile(t, cfg), "file", publish("t", `{"b":"B"}`))
	want := "t | - | B\nerror nil | to[0].value: there is no value, and the output does not say tombstone: true"
	if got := outcome(out); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if e := out.Errors[0]; e.Output != 2 || !e.Drop || out.Records[0].Output != 3 {
		t.Errorf("output %d failed (drop %v), output %d wrote", e.Output, e.Drop, out.Records[0].Output)
	}
}

func TestEvaluatorOfALane(t *testing.T) {
	set := compile(t, toFile("a", "", ""), rules.Config{Name: "s", From: []string{"b"}, To: []rules.OutputConfig{{Sink: "out"}, {Sink: "file"}}})
	if diff := cmp.Diff([]uint32{1, 3}, set.Evaluator("file").Rules()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]uint32{3}, set.Evaluator("out").Rules()); diff != "" {
		t.Error(diff)
	}
	if set.Name(3) != "s" || set.Name(2) != "" {
		t.Errorf("names: %q, %q", set.Name(3), set.Name(2))
	}
	var out message.Outcome
	set.Evaluator("out").Evaluate(1, publish("a", ""), &out)
	if !out.Filtered || len(out.Records) > 0 {
		t.Error("a rule of another lane was evaluated")
	}
}

func TestEvaluatorsOfManyLanesAtOnce(t *testing.T) {
	set := compile(t, toFile("{n}", `payload.x > 1 && any(payload.l, # == int(n))`, `{n: n, s: sum(payload.l), x: payload.x + 1}`))
	var wg sync.WaitGroup
	for lane := range 4 {
		wg.Go(func() {
			e := set.Evaluator("file")
			for i := range 500 {
				var out message.Outcome
				e.Evaluate(1, publish(strconv.Itoa(lane), fmt.Sprintf(`{"x":%d,"l":[%d]}`, i+2, lane)), &out)
				want := fmt.Sprintf(`%d | - | {"n":"%d","s":%d,"x":%d}`, lane, lane, lane, i+3)
				if got := outcome(&out); got != want {
					t.Errorf("%s, want %s", got, want)
				}
				set.Want("x", nil)
			}
		})
	}
	wg.Wait()
}
