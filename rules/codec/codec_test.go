package codec_test

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/rules/codec"
)

// texts are JSON and not quite JSON; encoding/json says which.
var texts = []string{
	`{}`, `[]`, `null`, `true`, `false`, `0`, `-0`, `-1`, `1.5`, `1e3`, `1E-7`, `""`, `"a"`, ` [ 1 , 2 ] `,
	`{"a":1,"b":[true,null,{"c":"d"}]}`, "\t{\"a\"\n:\r1 }", `{"a":{"b":1},"a":{"c":2}}`, `{"a":1,"a":2}`,
	`"\u00e4\ud83d\ude00\n\"\\\/\b\f\r\t"`, `"\ud800"`, `"\ud800\u0041"`, `"\udc00x"`, `{"\u0061":1}`, `"ä😀"`, "\"\xff\xfe\"", "{\"\xff\":1}",
	`9223372036854775807`, `9223372036854775808`, `-9223372036854775808`, `-9223372036854775809`, `9007199254740993`,
	`123456789012345678901234567890`, `0.1`, `1e308`, `-1.25E+2`, `"0123456789abcdefghijklmnopqrstuvwxyz\n"`, `"12345678901234567ä"`,
	``, ` `, `{`, `[`, `}`, `]`, `{]`, `[}`, `[1,]`, `{"a":1,}`, `{a:1}`, `{"a" 1}`, `{"a":}`, `[1 2]`, `01`, `-`, `1.`, `.5`, `1e`, `1e+`, `+1`,
	`tru`, `truex`, `nul`, `"`, `"a`, `"\`, `"\x"`, `"\u12"`, `"\u12g4"`, "\"a\nb\"", "\"a\x00b\"", `{}{}`, `1 2`, `[[[[`, `{"a":{"b":[1,{"c":`, "\ufeff{}",
	`"0123456789abcdef` + "\x1f" + `"`, `"0123456789abcdef\q"`, `NaN`, `{"z":[1,]}`, `{"z":[[],]}`, `{"z":{"y":[{},[1,]]}}`, `{"z":[,1]}`, `{"z":[]]}`, `{"z":{"a":[]},"b":[[]]}`, `Infinity`, `[1,[2,[3,{"x":[]}]]]`, `{"":0}`, `[{},[],{}]`,
}

// normal makes of encoding/json's numbers what ours are.
func normal(t *testing.T, v any) any {
	t.Helper()
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			t.Skip("a number out of range")
		}
		return f
	case []any:
		for i := range v {
			v[i] = normal(t, v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = normal(t, v[k])
		}
	}
	return v
}

func standard(t *testing.T, text []byte) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("encoding/json: %v", err)
	}
	return normal(t, v)
}

func checkDecode(t *testing.T, text []byte) {
	t.Helper()
	got, err := codec.Decode(text)
	valid := json.Valid(text)
	if errors.Is(err, codec.ErrRange) {
		return // found before anything that may be wrong behind it
	}
	if valid != (err == nil) {
		t.Fatalf("Decode(%q): %v, valid: %v", text, err, valid)
	}
	if !valid {
		var syntax *codec.SyntaxError
		if !errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > len(text) {
			t.Fatalf("Decode(%q): %v has no place", text, err)
		}
		return
	}
	if diff := cmp.Diff(standard(t, text), got); diff != "" {
		t.Fatalf("Decode(%q) (-encoding/json +ours):\n%s", text, diff)
	}
}

func TestDecodeAgreesWithEncodingJSON(t *testing.T) {
	for _, text := range texts {
		t.Run(text, func(t *testing.T) { checkDecode(t, []byte(text)) })
	}
}

func key(k string) codec.Step { return codec.Step{Key: k} }
func item(i int) codec.Step   { return codec.Step{Index: i, InArray: true} }

// somePaths lead into what the texts and the fuzzer's seeds hold.
func somePaths() [][]codec.Step {
	return [][]codec.Step{
		{key("a")},
		{key("a"), key("b")},
		{key("a"), key("c")},
		{key("b"), item(2), key("c")},
		{item(0)},
		{item(1), item(1), item(1)},
		{key("")},
		{key("\ufffd")},
		{key("a"), item(3)},
		{key("ä"), key("b"), key("c"), key("d")},
	}
}

// walk follows a path through decoded values, as Scan does through text.
func walk(v any, path []codec.Step) any {
	for _, s := range path {
		switch from := v.(type) {
		case map[string]any:
			if s.InArray {
				return nil
			}
			v = from[s.Key]
		case []any:
			if !s.InArray || s.Index >= len(from) {
				return nil
			}
			v = from[s.Index]
		default:
			return nil
		}
	}
	return v
}

// checkScan asserts that fields found one by one are those of the whole.
func checkScan(t *testing.T, text []byte) {
	t.Helper()
	var paths codec.Paths
	list := somePaths()
	for _, p := range list {
		paths.Add(p)
	}
	slots := make([]codec.Value, paths.Len())
	err := paths.Scan(text, slots)
	whole, wholeErr := codec.Decode(text)
	if errors.Is(wholeErr, codec.ErrRange) {
		return // Scan decodes no number that nobody reads
	}
	if (err == nil) != (wholeErr == nil) || err != nil && err.Error() != wholeErr.Error() {
		t.Fatalf("Scan(%q): %v, Decode: %v", text, err, wholeErr)
	}
	if err != nil {
		return
	}
	for i, p := range list {
		got, err := slots[i].Any()
		if err != nil {
			t.Fatalf("%q %v: %v", text, p, err)
		}
		if diff := cmp.Diff(walk(whole, p), got); diff != "" {
			t.Fatalf("%q %v (-whole +slot):\n%s", text, p, diff)
		}
	}
}

func TestScanAgreesWithDecode(t *testing.T) {
	for _, text := range texts {
		t.Run(text, func(t *testing.T) { checkScan(t, []byte(text)) })
	}
}

func TestDepth(t *testing.T) {
	for _, pair := range [][2]string{{"[", "]"}, {`{"a":`, "}"}} {
		fits := strings.Repeat(pair[0], codec.MaxDepth) + strings.Repeat(pair[1], codec.MaxDepth)
		fits = strings.Replace(fits, ":}", ":1}", 1)
		tooDeep := pair[0] + fits + pair[1]
		hostile := strings.Repeat(pair[0], 1<<20)
		var paths codec.Paths
		paths.Add([]codec.Step{key("b")})
		slots := make([]codec.Value, 1)
		for text, want := range map[string]bool{fits: true, tooDeep: false, hostile: false} {
			if _, err := codec.Decode([]byte(text)); (err == nil) != want {
				t.Errorf("Decode of %d brackets: %v", len(text), err)
			}
			if err := paths.Scan([]byte(text), slots); (err == nil) != want {
				t.Errorf("Scan of %d brackets: %v", len(text), err)
			}
		}
	}
}

func TestAddIsIdempotent(t *testing.T) {
	var paths codec.Paths
	a := paths.Add([]codec.Step{key("a"), key("b")})
	if b := paths.Add([]codec.Step{key("a")}); b == a {
		t.Error("a path and its beginning share a slot")
	}
	if again := paths.Add([]codec.Step{key("a"), key("b")}); again != a || paths.Len() != 2 {
		t.Errorf("again: slot %d of %d, first: %d", again, paths.Len(), a)
	}
}

func TestAppend(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.FixedZone("", 3600))
	for want, v := range map[string]any{
		`null`:                             nil,
		`{"a":[1,2.5,"x"],"b":{"c":true}}`: map[string]any{"b": map[string]any{"c": true}, "a": []any{1, 2.5, "x"}},
		`"2026-01-02T03:04:05.006+01:00"`:  at,
		`"1m30s"`:                          90 * time.Second,
		`["a","b"]`:                        []string{"a", "b"},
		`[1,2]`:                            []int{1, 2},
		`{"1":[2],"true":[3],"x":[1]}`:     map[any][]any{"x": {1}, int64(1): {2}, true: {3}},
		`"bytes"`:                          []byte("bytes"),
		`3`:                                time.March,
		`"\"\\\n\r\t\u0000\u001f<\u007f` + "\ufffd" + `"`: "\"\\\n\r\t\x00\x1f<\x7f\xff",
	} {
		want = strings.ReplaceAll(want, `\u007f`, "\x7f")
		got, err := codec.Append([]byte("x"), v, 1000)
		if err != nil || string(got) != "x"+want {
			t.Errorf("Append(%v) = %s, %v; want %s", v, got, err, want)
		}
	}
}

func TestAppendTimeAsFormat(t *testing.T) {
	for _, at := range []time.Time{
		{},
		time.UnixMilli(0), time.UnixMilli(1767225600123), time.UnixMilli(-1), time.Date(2024, 2, 29, 23, 59, 59, 999_999_999, time.UTC),
		time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("x", -3600)),
	} {
		for _, at := range []time.Time{at, at.UTC()} {
			if got, want := string(codec.AppendTime(nil, at)), at.Format("2006-01-02T15:04:05.000Z07:00"); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	var deep any = 1
	for range codec.MaxDepth + 2 {
		deep = []any{deep}
	}
	wide := []any{1}
	for range 60 {
		wide = []any{wide, wide}
	}
	for want, v := range map[error]any{
		codec.ErrNotFinite: math.NaN(), codec.ErrTooDeep: deep, codec.ErrTooLarge: wide, codec.ErrBytes: []byte("\xff"),
	} {
		if _, err := codec.Append(nil, v, 1<<16); !errors.Is(err, want) {
			t.Errorf("Append: %v, want %v", err, want)
		}
	}
	if _, err := codec.Append(nil, map[any]any{1.5: 1, struct{}{}: 2}, 100); err == nil {
		t.Error("a struct became a key")
	}
	if _, err := codec.Append(nil, make(chan int), 100); err == nil {
		t.Error("a channel became JSON")
	}
}

func TestAppendFloatAsEncodingJSON(t *testing.T) {
	for _, f := range []float64{0, math.Copysign(0, -1), 1, -1.5, 1e20, 1e21, 1e-6, 1e-7, 1.7976931348623157e308, 5e-324, 0.1, 100, 123456789.125} {
		want, _ := json.Marshal(f)
		if got, _ := codec.AppendFloat(nil, f); string(got) != string(want) {
			t.Errorf("AppendFloat(%g) = %s, want %s", f, got, want)
		}
	}
}

func TestValueIsLazy(t *testing.T) {
	var paths codec.Paths
	paths.Add([]codec.Step{key("n")})
	slots := make([]codec.Value, 1)
	if err := paths.Scan([]byte(`{"n":1e999}`), slots); err != nil {
		t.Fatal(err)
	}
	if string(slots[0].Raw) != "1e999" || !slots[0].Number() || slots[0].Missing() || !slots[0].Verbatim() {
		t.Errorf("value: %+v", slots[0])
	}
	if _, err := slots[0].Any(); !errors.Is(err, codec.ErrRange) {
		t.Errorf("Any: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if strings.Count(string(text), "[")+strings.Count(string(text), "{") > codec.MaxDepth {
			return
		}
		checkDecode(t, text)
	})
}

func FuzzScan(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Add([]byte(`{"a":{"b":1,"c":[1,2,3,4]},"b":[1,2,{"c":"\u00e4"}],"":1,"ä":{"b":{"c":{"d":1.0}}}}`))
	f.Add([]byte(`[1,[2,[3,4]],5]`))
	f.Fuzz(func(t *testing.T, text []byte) { checkScan(t, text) })
}

func FuzzAppendRoundTrip(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := codec.Decode(text)
		if err != nil {
			return
		}
		written, err := codec.Append(nil, v, 1<<20)
		if err != nil {
			t.Fatalf("Append(%q): %v", text, err)
		}
		again, err := codec.Decode(written)
		if err != nil || !reflect.DeepEqual(v, again) && !hasWholeFloat(v) {
			t.Fatalf("%q became %q (%v)", text, written, err)
		}
	})
}

// hasWholeFloat: 1.0 is written as 1 and read again as an integer.
func hasWholeFloat(v any) bool {
	switch v := v.(type) {
	case float64:
		return v == math.Trunc(v)
	case []any:
		return slices.ContainsFunc(v, hasWholeFloat)
	case map[string]any:
		for _, e := range v {
			if hasWholeFloat(e) {
				return true
			}
		}
	}
	return false
}

const payload200 = `{"machine":"press-17","line":"7","temp":91.25,"state":"run","speed":1200,"pressure":4.75,` +
	`"pos":{"x":1.5,"y":-2.25,"z":0},"flags":[1,0,1,1],"ts":1767225600123,"ok":true,"operator":"Maria","note":null}`

func BenchmarkScan(b *testing.B) {
	var paths codec.Paths
	for _, k := range []string{"temp", "state", "speed", "ts"} {
		paths.Add([]codec.Step{key(k)})
	}
	slots := make([]codec.Value, paths.Len())
	text := []byte(payload200)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if err := paths.Scan(text, slots); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	text := []byte(payload200)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := codec.Decode(text); err != nil {
			b.Fatal(err)
		}
	}
}
