package rules_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/rules"
)

func TestWant(t *testing.T) {
	rule := func(name, ack string, from ...string) rules.Config {
		return rules.Config{Name: name, From: from, Ack: rules.AckConfig{Level: ack}, To: []rules.OutputConfig{{Sink: "file"}}}
	}
	set := compile(t,
		rule("a", "received", "plant/{line}/#"), // 1
		rule("b", "stored", "plant/7/+"),        // 3
		rule("c", "", "{all...}"),               // 5
		rule("d", "received", "x/{n}", "y/{n}", "x/{n}"),
		rule("e", "received", "$SYS/{rest...}"),
	)
	for topic, want := range map[string]struct {
		rules []uint32
		ack   message.AckLevel
	}{
		"plant/7/a": {[]uint32{1, 3, 5}, message.AckStored},
		"plant/8/a": {[]uint32{1, 5}, message.AckStored},
		"x/1":       {[]uint32{5, 7}, message.AckStored},
		"$SYS/a":    {[]uint32{9}, message.AckReceived},
		"$other":    {nil, message.AckReceived},
		"plant/7/":  {[]uint32{1, 3, 5}, message.AckStored},
		"plant":     {[]uint32{5}, message.AckStored},
		"plant/7":   {[]uint32{1, 5}, message.AckStored},
	} {
		got, ack := set.Want(topic, []uint32{99})
		if diff := cmp.Diff(append([]uint32{99}, want.rules...), got); diff != "" || ack.Level != want.ack {
			t.Errorf("%s: %v %v, want %v %v", topic, got, ack, want.rules, want.ack)
		}
	}
	buffer := make([]uint32, 0, 8)
	if n := testing.AllocsPerRun(100, func() { set.Want("plant/7/a", buffer[:0]) }); n > 0 {
		t.Errorf("Want allocates %v times", n)
	}
}

func TestDefaultAck(t *testing.T) {
	set, _ := rules.Compile([]rules.Config{toFile("a", "", "")}, sinks)
	set.SetDefaultAck(message.AckReceived)
	if err := set.Number(sequence()); err != nil {
		t.Fatal(err)
	}
	if _, ack := set.Want("a", nil); ack.Level != message.AckReceived {
		t.Errorf("ack: %v", ack)
	}
}

// numbers returns what each output, in the order of `to`, is known by.
func numbers(t *testing.T, outputs ...rules.OutputConfig) []string {
	t.Helper()
	set, problems := rules.Compile([]rules.Config{{Name: "r", From: []string{"#"}, To: outputs}}, sinks)
	if problems != nil {
		t.Fatal(problems)
	}
	var keys []string
	err := set.Number(func(kind, key string) (uint32, error) {
		keys = append(keys, kind+" "+key)
		return uint32(len(keys)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestNumbersOutliveReordering(t *testing.T) {
	a := rules.OutputConfig{Sink: "kafka", Topic: "a"}
	b := rules.OutputConfig{Sink: "kafka", Topic: "b", When: "qos > 0"}
	c := rules.OutputConfig{Sink: "file"}
	want := []string{"rule r", "output r/kafka/a#0", "output r/kafka/a#1", "output r/kafka/b#0", "output r/file/#0"}
	if diff := cmp.Diff(want, numbers(t, a, a, b, c)); diff != "" {
		t.Error(diff)
	}
	moved := numbers(t, c, b, a, a)
	slices.Sort(moved)
	slices.Sort(want)
	if diff := cmp.Diff(want, moved); diff != "" {
		t.Error(diff)
	}
}

func TestNumberFails(t *testing.T) {
	set := compile(t, toFile("#", "", ""))
	broken := errors.New("disk full")
	for _, kind := range []string{"rule", "output"} {
		err := set.Number(func(k, _ string) (uint32, error) {
			if k == kind {
				return 0, broken
			}
			return 1, nil
		})
		if !errors.Is(err, broken) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestManyRules(t *testing.T) {
	cfgs := make([]rules.Config, 2000)
	for i := range cfgs {
		cfgs[i] = toFile(fmt.Sprintf("p/%d/{n}", i), `n != ""`, "n")
		cfgs[i].Name = fmt.Sprintf("r%d", i)
	}
	set := compile(t, cfgs...)
	e := set.Evaluator("file")
	for i := range cfgs {
		wanted, _ := set.Want(fmt.Sprintf("p/%d/x", i), nil)
		if len(wanted) != 1 || set.Name(wanted[0]) != cfgs[i].Name {
			t.Fatalf("rule %d: %v", i, wanted)
		}
		var out message.Outcome
		e.Evaluate(wanted[0], publish(fmt.Sprintf("p/%d/x", i), ""), &out)
		if len(out.Records) != 1 || string(out.Records[0].Value) != "x" {
			t.Fatalf("rule %d: %s", i, outcome(&out))
		}
	}
}
