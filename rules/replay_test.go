package rules_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/rules"
)

func record(output uint32, topic, key, value string, headers ...string) message.Record {
	r := message.Record{Rule: 1, Output: output, Topic: topic, Key: []byte(key), Value: []byte(value)}
	if key == "" {
		r.Key = nil
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Headers = append(r.Headers, message.Header{Name: headers[i], Value: []byte(headers[i+1])})
	}
	return r
}

func TestDiffRecords(t *testing.T) {
	type records = []message.Record
	tombstone := record(1, "t", "k", "")
	tombstone.Null, tombstone.Value = true, nil
	for name, c := range map[string]struct {
		before, after records
		want          string
	}{
		"same":              {records{record(1, "t", "k", "v", "penstock-id", "x.1.1")}, records{record(1, "t", "k", "v", "penstock-id", "x.1.1.run")}, "= topic t, key k, value v\n"},
		"same JSON":         {records{record(1, "t", "", `{"b": 1.0,"a":[1]}`)}, records{record(1, "t", "", `{"a":[1],"b":1}`)}, "= topic t, value {\"a\":[1],\"b\":1}\n"},
		"nothing":           {nil, nil, ""},
		"only old":          {records{record(1, "t", "k", "v")}, nil, "- topic t, key k, value v\n"},
		"only new":          {nil, records{tombstone}, "+ topic t, key k, null (a tombstone)\n"},
		"topic and key":     {records{record(1, "t", "k", "v")}, records{record(1, "u", "", "v")}, "~ topic u\n  topic: t -> u\n  key: k -> (none)\n"},
		"tombstone":         {records{record(1, "t", "k", "v")}, records{tombstone}, "~ topic t, key k\n  value: v -> null (a tombstone)\n"},
		"two tombstones":    {records{tombstone}, records{tombstone}, "= topic t, key k, null (a tombstone)\n"},
		"text":              {records{record(1, "t", "", "v\n")}, records{record(1, "t", "", `{"a":1}`)}, "~ topic t\n  value: \"v\\n\" -> {\"a\":1}\n"},
		"other output":      {records{record(1, "t", "k", `1`)}, records{record(2, "t", "k", `2`)}, "~ topic t, key k\n  value: 1 -> 2\n"},
		"one left each":     {records{record(1, "t", "k", `1`), record(2, "a", "", "1")}, records{record(2, "a", "", "1"), record(3, "u", "", `1`)}, "~ topic u\n  topic: t -> u\n  key: k -> (none)\n= topic a, value 1\n"},
		"more left":         {records{record(1, "t", "k", `1`)}, records{record(2, "u", "", `1`), record(3, "v", "", `1`)}, "- topic t, key k, value 1\n+ topic u, value 1\n+ topic v, value 1\n"},
		"headers":           {records{record(1, "t", "", "v", "a", "1", "b", "1", "b", "2")}, records{record(1, "t", "", "v", "b", "1", "b", "3", "c", "")}, "~ topic t\n  header a: 1 -> (none)\n  header b: 2 -> 3\n  header c: (none) ->\n"},
		"fields":            {records{record(1, "t", "", `{"temp":91,"x y":{"z":[1,{"q":1}]},"gone":null,"l":[1]}`)}, records{record(1, "t", "", `{"temp":91.5,"x y":{"z":[1,{"q":"1"}]},"new":true,"l":[1,2]}`)}, "~ topic t\n  value.gone: null -> (none)\n  value.l: [1] -> [1,2]\n  value.new: (none) -> true\n  value.temp: 91 -> 91.5\n  value[\"x y\"].z[1].q: 1 -> \"1\"\n"},
		"text of a control": {records{record(1, "t", "", "\x1b")}, records{record(1, "t", "", "\xff")}, "~ topic t\n  value: \"\\x1b\" -> \"\\xff\"\n"},
	} {
		var b strings.Builder
		if err := rules.WriteDifferences(&b, rules.DiffRecords(c.before, c.after)); err != nil || b.String() != c.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, b.String(), c.want)
		}
	}
}

// A definition stored yesterday against today's rule, on one message.
func TestDiffOfDefinitions(t *testing.T) {
	cfg := toFile("p/{line}", "payload.t > 1", "{t: payload.t, line: line}")
	stored := compile(t, cfg).Definition(1)
	cfg.To[0].Value = "{t: round(payload.t), line: int(line)}"
	today := compile(t, cfg)
	yesterday, err := rules.CompileOne(stored)
	if err != nil {
		t.Fatal(err)
	}
	if err := yesterday.Number(sequence()); err != nil {
		t.Fatal(err)
	}
	m := publish("p/7", `{"t":1.5}`)
	list := rules.DiffRecords(evaluate(yesterday, "file", m).Records, evaluate(today, "file", m).Records)
	text, err := json.Marshal(list[0].Changes)
	const want = `[{"part":"value.line","old":"\"7\"","new":"7"},{"part":"value.t","old":"1.5","new":"2"}]`
	if diff := cmp.Diff(want, string(text)); err != nil || diff != "" || len(list) != 1 || list[0].Kind != rules.DiffChanged {
		t.Errorf("%v %s", err, diff)
	}
}

// Every record is in one difference, as often as it came, and a list compared
// with itself is the same throughout.
func TestDiffRecordsKeepsAll(t *testing.T) {
	one := rapid.Custom(func(t *rapid.T) message.Record {
		short := rapid.StringMatching(`[ab]?`)
		return record(rapid.Uint32Range(1, 3).Draw(t, "output"), short.Draw(t, "topic"), short.Draw(t, "key"), rapid.SampledFrom([]string{"", "1", "1.0", `{"a":1}`, `{"a":[]}`, "x"}).Draw(t, "value"))
	})
	rapid.Check(t, func(t *rapid.T) {
		before, after := rapid.SliceOfN(one, 0, 5).Draw(t, "before"), rapid.SliceOfN(one, 0, 5).Draw(t, "after")
		olds, news := 0, 0
		for _, d := range rules.DiffRecords(before, after) {
			if d.Old != nil {
				olds++
			}
			if d.New != nil {
				news++
			}
			if (len(d.Changes) > 0) != (d.Kind == rules.DiffChanged) {
				t.Fatalf("%+v", d)
			}
		}
		if olds != len(before) || news != len(after) {
			t.Fatalf("%d old and %d new records, want %d and %d", olds, news, len(before), len(after))
		}
		for _, d := range rules.DiffRecords(before, before) {
			if d.Kind != rules.DiffSame {
				t.Fatalf("compared with itself: %+v", d)
			}
		}
	})
}
