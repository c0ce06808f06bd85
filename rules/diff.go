package rules

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/rules/codec"
)

// compare returns what differs between what a test expects and what came, "" for
// nothing. A line beginning with - was expected, one with + came instead.
func compare(want []ExpectConfig, got []arrival) string {
	var d report
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(want):
			d.line("+ unexpected: %s", got[i])
		case i >= len(got):
			d.line("- nothing came for: %s", describe(&want[i]))
		default:
			d.arrival(i, &want[i], &got[i])
		}
	}
	return strings.TrimSuffix(d.text.String(), "\n")
}

type report struct{ text strings.Builder }

func (d *report) line(format string, args ...any) {
	fmt.Fprintf(&d.text, format+"\n", args...)
}

func (d *report) pair(i int, what, want, got string) {
	d.line("output %d: %s\n  - %s\n  + %s", i+1, what, want, got)
}

func (d *report) arrival(i int, want *ExpectConfig, got *arrival) {
	switch {
	case want.Error != nil && got.failed == nil:
		d.pair(i, "error", *want.Error, got.String())
		return
	case want.Error != nil:
		if !strings.Contains(got.failed.Error(), *want.Error) {
			d.pair(i, "error", *want.Error, got.failed.Error())
		}
		return
	case got.failed != nil:
		d.pair(i, "a rule error came", describe(want), got.String())
		return
	}
	d.optional(i, "sink", want.Sink, got.sink)
	d.optional(i, "topic", want.Topic, got.record.Topic)
	d.optional(i, "key", want.Key, string(got.record.Key))
	d.value(i, want.Value, &got.record)
	d.headers(i, want.Headers, got.record.Headers)
}

func (d *report) optional(i int, what string, want *string, got string) {
	if want != nil && *want != got {
		d.pair(i, what, *want, got)
	}
}

func (d *report) value(i int, want any, r *message.Record) {
	switch want.(type) {
	case nil:
		return
	case Tombstone:
		if !r.Null {
			d.pair(i, "value", tombstoneText, valueText(r))
		}
	case map[string]any, []any:
		expected, came := canonical(want), valueText(r)
		if decoded, err := codec.Decode(r.Value); err == nil {
			came = canonical(decoded)
		}
		if expected != came {
			d.pair(i, "value", expected, came)
		}
	default:
		if expected := plain(want); r.Null || !bytes.Equal([]byte(expected), r.Value) {
			d.pair(i, "value", expected, valueText(r))
		}
	}
}

func (d *report) headers(i int, want map[string]string, got []message.Header) {
	for _, name := range sortedKeys(want) {
		at := slices.IndexFunc(got, func(h message.Header) bool { return h.Name == name })
		if at < 0 {
			d.line("output %d: header %s\n  - %s", i+1, name, want[name])
		} else if value := string(got[at].Value); value != want[name] {
			d.pair(i, "header "+name, want[name], value)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// String describes what came, on one line.
func (a arrival) String() string {
	if a.failed != nil {
		return "error: " + a.failed.Error()
	}
	text := fmt.Sprintf("sink: %s, topic: %s", a.sink, a.record.Topic)
	if a.record.Key != nil {
		text += fmt.Sprintf(", key: %s", a.record.Key)
	}
	return text + ", value: " + valueText(&a.record)
}

const tombstoneText = "null (a tombstone)"

func valueText(r *message.Record) string {
	if r.Null {
		return tombstoneText
	}
	return fmt.Sprintf("%.400s", r.Value)
}

func describe(x *ExpectConfig) string {
	var parts []string
	add := func(name string, v *string) {
		if v != nil {
			parts = append(parts, name+": "+*v)
		}
	}
	add("sink", x.Sink)
	add("topic", x.Topic)
	add("key", x.Key)
	if x.Value != nil {
		parts = append(parts, "value: "+plain(x.Value))
	}
	add("error", x.Error)
	if len(parts) == 0 {
		return "a record"
	}
	return strings.Join(parts, ", ")
}

func plain(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case Tombstone:
		return tombstoneText
	}
	return canonical(v)
}

// canonical writes a value so that equal ones read the same: sorted keys, and
// 1.0 as 1.
func canonical(v any) string {
	text, err := codec.Append(nil, whole(v), maxText)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}

// whole makes integers of the floats that are.
func whole(v any) any {
	switch v := v.(type) {
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v)
		}
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = whole(v[i])
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for k := range v {
			m[k] = whole(v[k])
		}
		return m
	}
	return v
}
