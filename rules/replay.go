package rules

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/rules/codec"
)

// The kinds of a Difference.
const (
	DiffSame    = "same"
	DiffChanged = "changed"
	DiffOnlyOld = "only_old"
	DiffOnlyNew = "only_new"
)

// A Difference is what became of one record when a rule changed.
type Difference struct {
	Kind    string           `json:"kind"`
	Old     *RecordExplained `json:"old,omitempty"` // nil: only the new rule makes it
	New     *RecordExplained `json:"new,omitempty"` // nil: only the old rule made it
	Changes []Change         `json:"changes,omitempty"`
}

// A Change is one part of a record that differs.
type Change struct {
	Part string `json:"part"` // topic, key, value, value.temp, header site
	Old  string `json:"old"`  // "(none)" where there is none
	New  string `json:"new"`
}

// none stands for a part that is not there.
const none = "(none)"

// maxChanges is how many changes of one value are listed.
const maxChanges = 50

// DiffRecords compares what an old and a new definition of a rule make of one
// message for one sink. Records of the same output belong together, then those
// with the same topic and key, then what is left on both sides if that is one
// record each. Values that are JSON are compared as such. The header
// penstock-id says nothing about the contents and is passed over.
func DiffRecords(before, after []message.Record) []Difference {
	var list []Difference
	partner := pair(before, after)
	for i := range before {
		if j := partner[i]; j >= 0 {
			list = append(list, diffRecord(&before[i], &after[j]))
		} else {
			list = append(list, Difference{Kind: DiffOnlyOld, Old: recordOf(&before[i])})
		}
	}
	for j := range after {
		if !slices.Contains(partner, j) {
			list = append(list, Difference{Kind: DiffOnlyNew, New: recordOf(&after[j])})
		}
	}
	return list
}

// pair returns, for each old record, the new one that belongs to it, or -1.
func pair(before, after []message.Record) []int {
	partner := slices.Repeat([]int{-1}, len(before))
	match := func(same func(a, b *message.Record) bool) {
		for i := range before {
			for j := range after {
				if partner[i] < 0 && !slices.Contains(partner, j) && same(&before[i], &after[j]) {
					partner[i] = j
				}
			}
		}
	}
	match(func(a, b *message.Record) bool { return a.Rule == b.Rule && a.Output == b.Output })
	match(func(a, b *message.Record) bool { return a.Topic == b.Topic && bytes.Equal(a.Key, b.Key) })
	if free := slices.DeleteFunc(slices.Clone(partner), func(j int) bool { return j >= 0 }); len(free) == 1 && len(before) == len(after) {
		match(func(_, _ *message.Record) bool { return true })
	}
	return partner
}

func diffRecord(a, b *message.Record) Difference {
	d := Difference{Kind: DiffSame, Old: recordOf(a), New: recordOf(b)}
	d.text("topic", []byte(a.Topic), []byte(b.Topic))
	d.text("key", a.Key, b.Key)
	d.value(a, b)
	d.headers(a.Headers, b.Headers)
	if len(d.Changes) > 0 {
		d.Kind = DiffChanged
	}
	return d
}

func (d *Difference) change(part, before, after string) {
	d.Changes = append(d.Changes, Change{part, before, after})
}

// text compares two texts, of which nil is none.
func (d *Difference) text(part string, a, b []byte) {
	if !bytes.Equal(a, b) || (a == nil) != (b == nil) {
		d.change(part, textOrNone(a), textOrNone(b))
	}
}

func textOrNone(b []byte) string {
	if b == nil {
		return none
	}
	return shown(b)
}

func (d *Difference) value(a, b *message.Record) {
	if a.Null || b.Null {
		if a.Null != b.Null {
			d.change("value", shown([]byte(valueText(a))), shown([]byte(valueText(b))))
		}
		return
	}
	if bytes.Equal(a.Value, b.Value) {
		return
	}
	x, xErr := codec.Decode(a.Value)
	y, yErr := codec.Decode(b.Value)
	if xErr != nil || yErr != nil {
		d.change("value", shown(a.Value), shown(b.Value))
		return
	}
	most := len(d.Changes) + maxChanges
	d.document("value", whole(x), whole(y), most)
}

// document compares two decoded values and goes into maps and lists.
func (d *Difference) document(part string, x, y any, most int) {
	if len(d.Changes) >= most {
		return
	}
	switch a := x.(type) {
	case map[string]any:
		if b, ok := y.(map[string]any); ok {
			d.maps(part, a, b, most)
			return
		}
	case []any:
		if b, ok := y.([]any); ok && len(a) == len(b) {
			for i := range a {
				d.document(fmt.Sprintf("%s[%d]", part, i), a[i], b[i], most)
			}
			return
		}
	}
	if before, after := canonical(x), canonical(y); before != after {
		d.change(part, shown([]byte(before)), shown([]byte(after)))
	}
}

func (d *Difference) maps(part string, a, b map[string]any, most int) {
	keys := sortedKeys(a)
	for _, k := range sortedKeys(b) {
		if _, both := a[k]; !both {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		x, inA := a[k]
		y, inB := b[k]
		below := part + memberText(k)
		switch {
		case inA && inB:
			d.document(below, x, y, most)
		case len(d.Changes) >= most:
		case inA:
			d.change(below, shown([]byte(canonical(x))), none)
		default:
			d.change(below, none, shown([]byte(canonical(y))))
		}
	}
}

// headers compares by name; of a name that repeats, value by value.
func (d *Difference) headers(a, b []message.Header) {
	var names []string
	for _, h := range slices.Concat(a, b) {
		if h.Name != IDHeader && !slices.Contains(names, h.Name) {
			names = append(names, h.Name)
		}
	}
	for _, name := range names {
		x, y := valuesOf(a, name), valuesOf(b, name)
		for i := range max(len(x), len(y)) {
			d.text("header "+name, valueAt(x, i), valueAt(y, i))
		}
	}
}

// valuesOf returns the values of the headers with a name; none of them is nil.
func valuesOf(headers []message.Header, name string) (values [][]byte) {
	for _, h := range headers {
		if h.Name == name {
			values = append(values, append([]byte{}, h.Value...))
		}
	}
	return values
}

func valueAt(values [][]byte, i int) []byte {
	if i < len(values) {
		return values[i]
	}
	return nil
}

// WriteDifferences writes differences for people: a line for each record and
// one below it for each change.
func WriteDifferences(w io.Writer, list []Difference) error {
	var b strings.Builder
	for i := range list {
		list[i].write(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (d *Difference) write(b *strings.Builder) {
	switch d.Kind {
	case DiffOnlyOld:
		line(b, 0, "-", d.Old.text())
	case DiffOnlyNew:
		line(b, 0, "+", d.New.text())
	case DiffSame:
		line(b, 0, "=", d.New.text())
	default:
		line(b, 0, "~", d.New.name())
		for _, c := range d.Changes {
			line(b, 1, c.Part+":", c.Old+" -> "+c.New)
		}
	}
}

// name says which record it is.
func (r *RecordExplained) name() string {
	text := "topic " + shown([]byte(r.Topic))
	if r.Key != nil {
		text += ", key " + shown(r.Key)
	}
	return text
}

func (r *RecordExplained) text() string {
	if r.Null {
		return r.name() + ", " + tombstoneText
	}
	return r.name() + ", value " + shown(r.Value)
}
