package rules_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/rules"
)

func explained(t *testing.T, set *rules.Set, m *message.Message, numbers ...uint32) string {
	t.Helper()
	var b strings.Builder
	if err := set.Explain(m, numbers...).WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// story is a set of rules of which each ends differently.
func story(t *testing.T) *rules.Set {
	t.Helper()
	cfg := func(name, from, where string, to ...rules.OutputConfig) rules.Config {
		return rules.Config{Name: name, From: []string{from}, Where: where, To: to}
	}
	file := rules.OutputConfig{Sink: "file"}
	hot := cfg(
		"hot", "plant/{line}/{m}", `payload.temp > 80 && line == "7"`,
		rules.OutputConfig{Sink: "kafka", Topic: "t.{line}", Key: "{m}", Value: `{temp: payload.temp, odd: payload["x y"], no: payload.nope[1].z}`, Headers: rules.HeadersConfig{None: true, Set: map[string]string{"by": "{client}"}}},
		rules.OutputConfig{Sink: "file", When: "payload.nope > 1"},
		rules.OutputConfig{Sink: "file", When: "payload.state", Value: `"x"`},
		rules.OutputConfig{Sink: "kafka", Topic: "u", Value: "payload.nope", Tombstone: true, Required: new(false), Key: "none", Headers: rules.HeadersConfig{None: true}},
		rules.OutputConfig{Sink: "kafka", Topic: "t-{payload.bad}", Value: "len(payload)"},
	)
	hot.Ack.Level = "delivered"
	shadow := cfg("shadow", "plant/#", `payload.temp
		> 100`, file)
	shadow.Shadow = true
	return compile(
		t, hot, shadow, cfg("other", "x/#", "", file), cfg("missing", "#", `payload.nope > 1`, file),
		cfg("failed", "#", `payload.state > 1`, file), cfg("topic-only", "#", `client == "nobody"`, file),
	)
}

const storyPayload = `{"temp":91.50,"x y":"ü\u0001","state":"run","bad":"a/b"}`

const storyText = `rule hot: 2 records
  from plant/{line}/{m}: line=7, m=press
  ack delivered
  where payload.temp > 80 && line == "7" -> met
    payload.temp 91.50
  to[0] kafka
    topic t.7
    key press
    value {"no":null,"odd":"ü\u0001","temp":91.50}
    header by: press-1
    reads
      payload.temp 91.50
      payload["x y"] "ü\u0001"
      payload.nope[1].z absent
  to[1] file
    when payload.nope > 1 -> not met, a field is missing
      payload.nope absent
  to[2] file
    when payload.state -> error type
      to[2].when: a condition is true or false, this is text
      payload.state "run"
  to[3] kafka (not required)
    topic u
    value null (a tombstone)
    reads
      payload.nope absent
  to[4] kafka
    error unsafe_name to[4].topic: "t-a/b" is not a Kafka topic
    reads
      payload.bad "a/b"
rule shadow: filtered, shadow: nothing is sent
  from plant/#
  ack received
  where payload.temp > 100 -> not met
    payload.temp 91.50
rule other: no match, from is x/#
rule missing: filtered, a field is missing
  from #
  ack stored
  where payload.nope > 1 -> not met, a field is missing
    payload.nope absent
rule failed: failed
  from #
  ack stored
  where payload.state > 1 -> error type
    where: invalid operation: text > number
    payload.state "run"
rule topic-only: filtered
  from #
  ack stored
  where client == "nobody" -> not met
`

func TestExplain(t *testing.T) {
	set := story(t)
	m := publish("plant/7/press", storyPayload)
	if diff := cmp.Diff(storyText, explained(t, set, m)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("rule other: no match, from is x/#\nrule number 99: no rule has this number any more\n", explained(t, set, m, set.Numbers()[2], 99)); diff != "" {
		t.Error(diff)
	}
}

// What Explain says is what lanes make: for each rule and output the same
// records and errors.
func TestExplainAgreesWithEvaluate(t *testing.T) {
	set := story(t)
	lanes := []*rules.Evaluator{set.Evaluator("kafka"), set.Evaluator("file")}
	for _, payload := range []string{storyPayload, `{}`, `x`, `{"temp":81,"state":true,"bad":"fine","nope":[]}`, `{"temp":101,"nope":2}`} {
		m := publish("plant/7/press", payload)
		for _, r := range set.Explain(m).Rules {
			var want, got []string
			filtered := true
			for _, lane := range lanes {
				var out message.Outcome
				lane.Evaluate(r.Number, m, &out)
				filtered = filtered && out.Filtered
				for _, rec := range out.Records {
					want = append(want, rec.Topic+" "+string(rec.Key)+" "+string(rec.Value))
				}
				for _, e := range out.Errors {
					want = append(want, e.Kind+" "+e.Err.Error())
				}
			}
			for _, sink := range []string{"kafka", "file"} {
				got = append(got, leftovers(&r, sink)...)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, rule %s: %s", payload, r.Rule, diff)
			}
			if filtered != (r.Result == rules.ResultFiltered || r.Result == rules.ResultMissing || r.Result == rules.ResultNoMatch) {
				t.Errorf("%s, rule %s: %s, but lanes say filtered: %t", payload, r.Rule, r.Result, filtered)
			}
		}
	}
}

// leftovers lists what an explained rule left for a sink.
func leftovers(r *rules.RuleExplained, sink string) (list []string) {
	fault := func(f *rules.Fault) {
		if f != nil {
			list = append(list, f.Kind+" "+f.Text)
		}
	}
	if r.Where != nil && r.Where.Error != nil && (sink == "file" || r.Rule == "hot") {
		fault(r.Where.Error) // each lane with an output finds it
	}
	var records []string
	for _, o := range r.Outputs {
		if o.Sink != sink {
			continue
		}
		if o.Record != nil {
			records = append(records, o.Record.Topic+" "+string(o.Record.Key)+" "+string(o.Record.Value))
		}
		if o.When != nil {
			fault(o.When.Error)
		}
		fault(o.Error)
	}
	return append(records, list...)
}

// Without numbers, as `penstock trace` has none, the explanation is the same.
func TestExplainWithoutNumbers(t *testing.T) {
	cfg := toFile("p/{line}", "payload.x > 1", "payload.x")
	set, problems := rules.Compile([]rules.Config{cfg}, sinks)
	if problems != nil {
		t.Fatal(problems)
	}
	got, err := json.Marshal(set.Explain(publish("p/7", `{"x":5}`)))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"topic":"p/7","rules":[{"rule":"r","result":"records","ack":"stored","filters":["p/{line}"],"filter":"p/{line}","captures":[{"name":"line","text":"7"}],` +
		`"where":{"text":"payload.x \u003e 1","met":true,"reads":[{"name":"payload.x","value":5}]},` +
		`"outputs":[{"index":0,"sink":"file","record":{"topic":"p/7","value":"5","headers":[{"name":"penstock-id","value":"000000000000e-1-42.1.1"},{"name":"penstock-client","value":"press-1"},` +
		`{"name":"penstock-topic","value":"p/7"},{"name":"penstock-received","value":"2026-03-04T05:06:07.089Z"}]},"reads":[{"name":"payload.x","value":5}]}]}]}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

// What a device wrote does not reach a terminal as it is, nor at any length.
func TestExplainIsSafeToShow(t *testing.T) {
	set := compile(t, toFile("#", "", "raw"))
	m := publish("a\x1b[31m", "\x00\xff"+strings.Repeat("ä", 1000))
	text := explained(t, set, m)
	if strings.ContainsAny(text, "\x1b\x00") || !utf8.ValidString(text) || len(text) > 6000 || !strings.Contains(text, "... (2002 bytes)") {
		t.Errorf("%d bytes: %q", len(text), text)
	}
	b, err := json.Marshal(set.Explain(m))
	if err != nil || !strings.Contains(string(b), `"value":{"base64":"AP/`) {
		t.Errorf("%s, %v", b, err)
	}
}
