package rules_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/rules"
)

func TestLanes(t *testing.T) {
	shadow := rules.Config{Name: "c", From: []string{"#"}, Shadow: true, To: []rules.OutputConfig{{Sink: "file"}}}
	set := compile(t,
		rules.Config{Name: "a", From: []string{"#"}, Ack: rules.AckConfig{Level: "delivered"}, To: []rules.OutputConfig{
			{Sink: "file", Required: new(false)}, {Sink: "kafka", Topic: "t", Required: new(false)}, {Sink: "kafka", Topic: "t"},
		}},
		rules.Config{Name: "b", From: []string{"#"}, To: []rules.OutputConfig{{Sink: "file"}}},
		shadow,
	)
	// Rules and outputs have the numbers 1, 2, 3 ... in turn.
	want := map[string][]rules.LaneRule{
		"file": {
			{Number: 1, Name: "a", Delivered: true},
			{Number: 5, Name: "b", Required: true},
			{Number: 7, Name: "c", Required: true, Shadow: true},
		},
		"kafka": {{Number: 1, Name: "a", Delivered: true, Required: true}},
	}
	if diff := cmp.Diff(want, set.Lanes()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]uint32{1, 5, 7}, set.Numbers()); diff != "" {
		t.Error(diff)
	}
	if n, ok := set.Find("b"); n != 5 || !ok {
		t.Errorf("Find(b) = %d, %t", n, ok)
	}
	if _, ok := set.Find("z"); ok {
		t.Error("found a rule that is not there")
	}
}

// full is a rule with everything that a definition must keep.
func full() rules.Config {
	return rules.Config{
		Name: "full", From: []string{"p/{line}/{m}"}, Where: `payload.t > 1`, OnError: "drop", Shadow: true,
		Ack: rules.AckConfig{Level: "stored"},
		To: []rules.OutputConfig{
			{
				Sink: "kafka", When: `line == "7"`, Topic: "t.{line}", Key: "{m}", Value: `{t: payload.t}`, Tombstone: true, Unconfined: true,
				Headers: rules.HeadersConfig{Set: map[string]string{"b": "x", "a": "{m}"}}, Required: new(false),
			},
			{Sink: "standing", Headers: rules.HeadersConfig{None: true}},
			{Sink: "ordered"},
		},
		Tests: []rules.TestConfig{{Given: given(1)}},
	}
}

const fullText = `{"rule":{"name":"full","from":["p/{line}/{m}"],"where":"payload.t \u003e 1","ack":{"level":"stored"},"on_error":"drop","shadow":true,` +
	`"to":[{"sink":"kafka","when":"line == \"7\"","topic":"t.{line}","key":"{m}","value":"{t: payload.t}","headers":{"set":{"a":"{m}","b":"x"}},"tombstone":true,"unconfined":true,"required":false},` +
	`{"sink":"standing","headers":{"none":true}},{"sink":"ordered"}]},` +
	`"sinks":[{"name":"kafka","kind":"kafka"},{"name":"standing","kind":"kafka","topic":"standing-topic"},{"name":"ordered","kind":"file","order":"{m}"}]}`

// What a stored definition makes of a message is what the rule made of it.
func TestDefinition(t *testing.T) {
	set := compile(t, full())
	if diff := cmp.Diff(fullText, string(set.Definition(1))); diff != "" {
		t.Fatalf("a stored format may not change: %s", diff)
	}
	again, err := rules.CompileOne(set.Definition(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Number(sequence()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fullText, string(again.Definition(1))); diff != "" {
		t.Error(diff)
	}
	for _, sink := range []string{"kafka", "standing", "ordered"} {
		for _, payload := range []string{`{"t":5}`, `{"t":0}`, `{}`, `x`} {
			m := publish("p/7/saw", payload)
			want, got := evaluate(set, sink, m), evaluate(again, sink, m)
			if diff := cmp.Diff(want.Records, got.Records); diff != "" || outcome(want) != outcome(got) || want.Shadow != got.Shadow {
				t.Errorf("%s %s: %s, then %s: %s", sink, payload, outcome(want), outcome(got), diff)
			}
		}
	}
	if set.Definition(99) != nil {
		t.Error("a definition of a rule that is not there")
	}
}

func TestDefinitionOfAnAck(t *testing.T) {
	cfg := toFile("a", "", "")
	cfg.Ack = rules.AckConfig{Level: "delivered", Within: 5 * time.Second}
	set := compile(t, cfg)
	again, err := rules.CompileOne(set.Definition(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Number(sequence()); err != nil {
		t.Fatal(err)
	}
	_, want := set.Want("a", nil)
	if _, got := again.Want("a", nil); got != want || got.Within != 5*time.Second {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestBadDefinitions(t *testing.T) {
	for text, want := range map[string]string{
		``:            "read definition of a rule: unexpected end of JSON input",
		`{}`:          "read definition of a rule: it has no name",
		`{"rule":[]}`: "read definition of a rule: json: cannot unmarshal array into Go struct field definition.rule of type rules.Config",
		`{"rule":{"name":"r","from":["#"],"to":[{"sink":"gone"}]}}`: `compile definition of rule r: [0].to[0].sink: there is no sink "gone"`,
	} {
		if _, err := rules.CompileOne([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// FuzzDefinition: whatever was stored, CompileOne ends without a panic, and what
// it compiles has a definition that compiles to the same again.
func FuzzDefinition(f *testing.F) {
	f.Add([]byte(fullText))
	for _, s := range []string{``, `{}`, `null`, `{"rule":{"name":"r","from":["#"],"to":[{"sink":"s"}]},"sinks":[{"name":"s","kind":"file","order":"{client}"}]}`, `{"rule":{"name":"r","ack":{"level":"delivered","within":1}}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		set, err := rules.CompileOne(stored)
		if err != nil {
			return
		}
		if err := set.Number(sequence()); err != nil {
			t.Fatal(err)
		}
		set.Explain(publish("p/7", press))
		first := set.Definition(1)
		again, err := rules.CompileOne(first)
		if err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		if err := again.Number(sequence()); err != nil {
			t.Fatal(err)
		}
		if second := again.Definition(1); !bytes.Equal(first, second) {
			t.Fatalf("%s\n%s", first, second)
		}
	})
}
