package rules_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/rules"
)

// trialRule has an output to Kafka and one, sometimes, to a file.
func trialRule(tests ...rules.TestConfig) rules.Config {
	return rules.Config{
		Name: "hot", From: []string{"plant/{line}/{machine}"}, Where: "payload.temp > 80", Tests: tests,
		To: []rules.OutputConfig{
			{Sink: "kafka", Topic: "t.{line}", Key: "{machine}", Value: "{line: line, temp: round(payload.temp, 1), at: received}"},
			{Sink: "file", When: `payload.note != nil`, Value: "payload.note"},
		},
	}
}

func given(payload any) rules.GivenList {
	return rules.GivenList{{Topic: "plant/7/press", Payload: payload}}
}

// results runs the tests and prints what differs, a test a paragraph.
func results(t *testing.T, cfg rules.Config) string {
	t.Helper()
	set, problems := rules.Compile([]rules.Config{cfg}, sinks)
	if problems != nil {
		return say(problems)
	}
	var lines []string
	for _, r := range set.Test() {
		if r.Passed() {
			continue
		}
		lines = append(lines, strings.TrimSpace(r.Path+" "+r.Name)+"\n"+r.Diff)
	}
	return strings.Join(lines, "\n")
}

func TestTrialsPass(t *testing.T) {
	file := filepath.Join(t.TempDir(), "payload.json")
	if err := os.WriteFile(file, []byte(`{"temp":90}`), 0o600); err != nil {
		t.Fatal(err)
	}
	hot := rules.ExpectConfig{Sink: new("kafka"), Topic: new("t.7"), Key: new("press")}
	cfg := trialRule(
		rules.TestConfig{Given: given(map[string]any{"temp": 91, "state": "run"}), Expect: []rules.ExpectConfig{hot}},
		rules.TestConfig{Given: given(map[string]any{"temp": 91.04, "note": "n"}), Expect: []rules.ExpectConfig{
			{Value: map[string]any{"line": "7", "temp": 91.0, "at": "2026-01-01T00:00:00.000Z"}, Headers: map[string]string{"penstock-topic": "plant/7/press"}},
			{Sink: new("file"), Topic: new("plant/7/press"), Value: "n"},
		}},
		rules.TestConfig{Given: given(`{"temp":70}`)},
		rules.TestConfig{Given: given(map[string]any{})},
		rules.TestConfig{Given: rules.GivenList{{Topic: "other", Payload: 1}}},
		rules.TestConfig{Given: given("no JSON"), Expect: []rules.ExpectConfig{{Error: new("invalid JSON")}}},
		rules.TestConfig{Given: given(nil), Expect: []rules.ExpectConfig{{Error: new("where:")}}},
		rules.TestConfig{Given: given([]any{1}), Expect: nil},
		rules.TestConfig{
			Given:  rules.GivenList{{Topic: "plant/7/press", PayloadBase64: "eyJ0ZW1wIjo5MH0="}, {Topic: "plant/8/saw", PayloadFile: file, Received: "2026-05-01T00:00:00Z"}},
			Expect: []rules.ExpectConfig{{Topic: new("t.7")}, {Topic: new("t.8"), Value: map[string]any{"line": "8", "temp": 90, "at": "2026-05-01T00:00:00.000Z"}}},
		},
	)
	if got := results(t, cfg); got != "" {
		t.Error(got)
	}
}

// A test can expect a tombstone, and takes neither an empty value nor the text
// null for one.
func TestTrialsOfTombstones(t *testing.T) {
	cfg := rules.Config{
		Name: "r", From: []string{"#"},
		To: []rules.OutputConfig{{Sink: "kafka", Topic: "t", Value: "payload.v", Tombstone: true}},
	}
	expect := func(name string, payload, value any) {
		cfg.Tests = append(cfg.Tests, rules.TestConfig{
			Name: name, Given: rules.GivenList{{Topic: "a", Payload: payload}}, Expect: []rules.ExpectConfig{{Value: value}},
		})
	}
	null, empty, word := map[string]any{}, map[string]any{"v": ""}, map[string]any{"v": "null"}
	expect("null", null, rules.Tombstone{})
	expect("not given", null, nil)
	expect("null for empty", null, "")
	expect("null for the text", null, "null")
	expect("null for a map", null, map[string]any{"a": 1})
	expect("empty", empty, "")
	expect("empty for null", empty, rules.Tombstone{})
	expect("text", word, "null")
	expect("text for null", word, rules.Tombstone{})
	const want = `[0].tests[2] null for empty
output 1: value
  - 
  + null (a tombstone)
[0].tests[3] null for the text
output 1: value
  - null
  + null (a tombstone)
[0].tests[4] null for a map
output 1: value
  - {"a":1}
  + null (a tombstone)
[0].tests[6] empty for null
output 1: value
  - null (a tombstone)
  + 
[0].tests[8] text for null
output 1: value
  - null (a tombstone)
  + null`
	if diff := cmp.Diff(want, results(t, cfg)); diff != "" {
		t.Error(diff)
	}
	cfg.Tests = []rules.TestConfig{{Given: rules.GivenList{{Topic: "b", Payload: "no JSON"}}, Expect: []rules.ExpectConfig{{Value: rules.Tombstone{}}}}}
	if got := results(t, cfg); !strings.Contains(got, "- value: null (a tombstone)") {
		t.Error(got)
	}
}

// The tests of a shadow rule work like those of any other.
func TestTrialsOfShadowRules(t *testing.T) {
	cfg := trialRule(
		rules.TestConfig{Given: given(map[string]any{"temp": 91}), Expect: []rules.ExpectConfig{{Sink: new("kafka"), Key: new("press")}}},
		rules.TestConfig{Given: given("x"), Expect: []rules.ExpectConfig{{Error: new("invalid JSON")}}},
		rules.TestConfig{Given: given(map[string]any{"temp": 91})},
	)
	cfg.Shadow = true
	if got := results(t, cfg); !strings.HasPrefix(got, "[0].tests[2]") {
		t.Error(got)
	}
}

func TestTrialsFail(t *testing.T) {
	hot := map[string]any{"temp": 91, "note": "n"}
	cfg := trialRule(
		rules.TestConfig{Name: "fields", Given: given(hot), Expect: []rules.ExpectConfig{
			{Sink: new("file"), Topic: new("t.8"), Key: new("x"), Value: map[string]any{"temp": 91}, Headers: map[string]string{"penstock-topic": "x", "site": "a"}},
			{Value: "m"},
		}},
		rules.TestConfig{Name: "too few", Given: given(hot), Expect: []rules.ExpectConfig{{}}},
		rules.TestConfig{Name: "too many", Given: given(`{"temp":1}`), Expect: []rules.ExpectConfig{{Sink: new("kafka"), Key: new("k"), Value: []any{1}}, {}, {Error: new("e")}}},
		rules.TestConfig{Name: "no error", Given: given(hot), Expect: []rules.ExpectConfig{{Error: new("boom")}, {}}},
		rules.TestConfig{Name: "an error", Given: given("x"), Expect: []rules.ExpectConfig{{Topic: new("t")}}},
		rules.TestConfig{Name: "another error", Given: given("x"), Expect: []rules.ExpectConfig{{Error: new("boom")}}},
	)
	const want = `[0].tests[0] fields
output 1: sink
  - file
  + kafka
output 1: topic
  - t.8
  + t.7
output 1: key
  - x
  + press
output 1: value
  - {"temp":91}
  + {"at":"2026-01-01T00:00:00.000Z","line":"7","temp":91}
output 1: header penstock-topic
  - x
  + plant/7/press
output 1: header site
  - a
output 2: value
  - m
  + n
[0].tests[1] too few
+ unexpected: sink: file, topic: plant/7/press, value: n
[0].tests[2] too many
- nothing came for: sink: kafka, key: k, value: [1]
- nothing came for: a record
- nothing came for: error: e
[0].tests[3] no error
output 1: error
  - boom
  + sink: kafka, topic: t.7, key: press, value: {"at":"2026-01-01T00:00:00.000Z","line":"7","temp":91}
[0].tests[4] an error
output 1: a rule error came
  - topic: t
  + error: where: invalid JSON at byte 0: unexpected 'x', a value was expected
[0].tests[5] another error
output 1: error
  - boom
  + where: invalid JSON at byte 0: unexpected 'x', a value was expected`
	if got := results(t, cfg); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestTrialsSeeAllOfAMessage(t *testing.T) {
	cfg := toFile("#", "", "{client: client, user: user, qos: qos, retain: retain, id: id, at: received, properties: properties}")
	cfg.Tests = []rules.TestConfig{{
		Given: rules.GivenList{{
			Topic: "t", Client: "c", User: "u", QoS: 2, Retain: true, Received: "2026-02-03T04:05:06.007+01:00",
			Properties: map[string]any{
				"content_type": "text/plain", "response_topic": "r", "correlation_data": "x", "message_expiry": 60, "payload_format": uint64(1),
				"user": map[string]any{"site": "a"},
			},
		}},
		Expect: []rules.ExpectConfig{{Value: map[string]any{
			"client": "c", "user": "u", "qos": 2, "retain": true, "id": "0000000000002-1-1", "at": "2026-02-03T03:05:06.007Z",
			"properties": map[string]any{
				"content_type": "text/plain", "response_topic": "r", "correlation_data": "x", "message_expiry": 60, "payload_format": 1,
				"user": map[string]any{"site": "a"},
			},
		}}},
	}}
	if got := results(t, cfg); got != "" {
		t.Error(got)
	}
}

func TestTrialProblems(t *testing.T) {
	cfg := trialRule(rules.TestConfig{
		Given: rules.GivenList{
			{Topic: "a/+", QoS: 3, Received: "yesterday", Payload: "x", PayloadBase64: "eA=="},
			{PayloadBase64: "?"},
			{Topic: "a", PayloadFile: "/no/such/file", Properties: map[string]any{"contenttype": 1, "user": 1, "message_expiry": -1}},
		},
		Expect: []rules.ExpectConfig{{Sink: new("fiel")}},
	}, rules.TestConfig{})
	got := results(t, cfg)
	for _, want := range []string{
		"[0].tests[0].given[0].topic: a message needs a topic, without wildcards",
		"[0].tests[0].given[0].qos: qos is 0, 1 or 2",
		`[0].tests[0].given[0].received: "yesterday" is not a time (write it as 2026-01-31T12:00:00Z)`,
		"[0].tests[0].given[0].payload_base64: a message has one of payload, payload_base64 and payload_file",
		"[0].tests[0].given[1].topic: a message needs a topic, without wildcards",
		"[0].tests[0].given[1].payload_base64: the payload cannot be read: illegal base64 data at input byte 0",
		"[0].tests[0].given[2].payload_file: the payload cannot be read: open /no/such/file: no such file or directory",
		`[0].tests[0].given[2].properties.contenttype (key): unknown property "contenttype" (did you mean "content_type"?)`,
		"[0].tests[0].given[2].properties.user: user is a map of text",
		"[0].tests[0].given[2].properties.message_expiry: message_expiry is a whole number",
		`[0].tests[0].expect[0].sink: the rule has no output to "fiel" (did you mean "file"?)`,
		"[0].tests[1]: a test needs given (add given: {topic: ..., payload: ...})",
	} {
		if !strings.Contains(got+"\n", want+"\n") {
			t.Errorf("missing: %s\nin\n%s", want, got)
		}
	}
}
