package rules_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/broker/topic"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/rules"
)

// renamed gives a rule another name and filter.
func renamed(cfg rules.Config, name, from string) rules.Config {
	cfg.Name, cfg.From = name, []string{from}
	return cfg
}

// Where several rules match, the strongest ack wins (I1), and at delivered the
// shortest time.
func TestStrongestAckWins(t *testing.T) {
	file := rules.OutputConfig{Sink: "file"}
	delivered := func(within time.Duration) rules.Config {
		return withAck(rules.AckConfig{Level: "delivered", Within: within}, file)
	}
	shadow := withAck(rules.AckConfig{Level: "stored"}, file)
	shadow.Shadow = true
	unnamed := withAck(rules.AckConfig{}, file)
	unnamedShadow := unnamed
	unnamedShadow.Shadow = true
	set := compile(t,
		renamed(delivered(0), "always", "a/+"),
		renamed(delivered(5*time.Second), "soon", "a/soon"),
		renamed(delivered(time.Second), "sooner", "a/soon"),
		renamed(withAck(rules.AckConfig{Level: "stored"}, file), "stored", "#"),
		renamed(withAck(rules.AckConfig{Level: "received"}, file), "received", "$r"),
		renamed(shadow, "shadow", "$s"),
		renamed(unnamed, "unnamed", "$u"),
		renamed(unnamedShadow, "unnamed-shadow", "$us"),
	)
	for topic, want := range map[string]message.Ack{
		"a/soon": {Level: message.AckDelivered, Within: time.Second},
		"a/x":    {Level: message.AckDelivered},
		"b":      {Level: message.AckStored},
		"$r":     {},
		"$s":     {},
		"$u":     {Level: message.AckStored},
		"$us":    {},
		"$none":  {},
	} {
		if _, got := set.Want(topic, nil); got != want {
			t.Errorf("%s: %+v, want %+v", topic, got, want)
		}
	}
}

// Only outputs that say required: false make records nobody waits for (C13).
func TestRequired(t *testing.T) {
	set := compile(t, rules.Config{Name: "r", From: []string{"#"}, To: []rules.OutputConfig{
		{Sink: "file"}, {Sink: "file", Required: new(true)}, {Sink: "file", Required: new(false)},
	}})
	var got []bool
	for _, r := range evaluate(set, "file", publish("t", "")).Records {
		got = append(got, r.Optional)
	}
	if diff := cmp.Diff([]bool{false, false, true}, got); diff != "" {
		t.Error(diff)
	}
}

// Nor does anybody wait for what such an output could not make.
func TestRequiredErrors(t *testing.T) {
	set := compile(t, rules.Config{Name: "r", From: []string{"#"}, To: []rules.OutputConfig{
		{Sink: "file", Value: "payload.x"}, {Sink: "file", Value: "payload.x", Required: new(false)},
	}})
	var got []bool
	for _, e := range evaluate(set, "file", publish("t", "not JSON")).Errors {
		got = append(got, e.Optional)
	}
	if diff := cmp.Diff([]bool{false, true}, got); diff != "" {
		t.Error(diff)
	}
}

// A shadow rule is evaluated like any other, its outcome says that nothing of
// it is sent, and nobody keeps its errors.
func TestShadow(t *testing.T) {
	cfg := toFile("p/#", `payload.x > 1`, "payload.x")
	cfg.Shadow = true
	set := compile(t, cfg)
	for payload, want := range map[string]string{
		`{"x":2}`: "p/a | - | 2", `{"x":1}`: "filtered", `{}`: "filtered\nmissing",
		`no`: "error decode | where: invalid JSON at byte 1: unexpected 'o', a value was expected",
	} {
		out := evaluate(set, "file", publish("p/a", payload))
		if got := outcome(out); got != want || !out.Shadow {
			t.Errorf("%s: shadow %t, %s, want %s", payload, out.Shadow, got, want)
		}
		for _, e := range out.Errors {
			if !e.Drop {
				t.Errorf("%s: the error would be kept", payload)
			}
		}
	}
	if evaluate(compile(t, toFile("p/#", "", "")), "file", publish("p/a", "")).Shadow {
		t.Error("a rule is a shadow rule unasked")
	}
}

// Whatever rules match, Want answers with the strongest of their acks.
func TestAckModel(t *testing.T) {
	filters := []string{"#", "a/+", "a/b", "+/b", "a/#", "c"}
	levels := []string{"", "received", "stored", "delivered"}
	rapid.Check(t, func(t *rapid.T) {
		var cfgs []rules.Config
		var acks []message.Ack
		for i := range rapid.IntRange(0, 6).Draw(t, "rules") {
			a := rules.AckConfig{Level: rapid.SampledFrom(levels).Draw(t, "level")}
			want := message.Ack{Level: message.AckReceived}
			if a.Level == "delivered" && rapid.Bool().Draw(t, "timed") {
				a.Within = time.Duration(rapid.IntRange(1, 5).Draw(t, "seconds")) * time.Second
			}
			want.Within = a.Within
			want.Level = map[string]message.AckLevel{"": message.AckStored, "received": message.AckReceived, "stored": message.AckStored, "delivered": message.AckDelivered}[a.Level]
			cfg := renamed(withAck(a, rules.OutputConfig{Sink: "file"}), fmt.Sprintf("r%d", i), rapid.SampledFrom(filters).Draw(t, "from"))
			if cfg.Shadow = a.Level != "delivered" && rapid.Bool().Draw(t, "shadow"); cfg.Shadow {
				want = message.Ack{}
			}
			cfgs, acks = append(cfgs, cfg), append(acks, want)
		}
		set, problems := rules.Compile(cfgs, sinks)
		if problems != nil {
			t.Fatal(problems)
		}
		if err := set.Number(sequence()); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a/b", "a/x", "x/b", "c", "d"} {
			var want message.Ack
			for i := range cfgs {
				if topic.Match(cfgs[i].From[0], name) {
					want = want.Max(acks[i])
				}
			}
			if _, got := set.Want(name, nil); got != want {
				t.Fatalf("%s: %+v, want %+v", name, got, want)
			}
		}
	})
}
