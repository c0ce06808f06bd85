package deadletter_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/pipelines/deadletter"
)

// What a line says of its head is what it says in full, and a letter that was
// read is written back the same.
func FuzzLine(f *testing.F) {
	for _, text := range []string{"", "plain", "quoted \" and \\ and \n", `{"seq":1}`, "\xff"} {
		l := letter(deadletter.Refused, 1, text)
		l.Rule, l.Seq = text, 7
		line, err := deadletter.EncodeLetter(&l)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.TrimSuffix(line, []byte("\n")))
		f.Add(append(bytes.TrimSuffix(line, []byte("\n")), line...))
	}
	f.Add([]byte(`{"seq":18446744073709551615,"kind":"","crc":"00000000"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		check := func(line []byte) {
			l, err := deadletter.DecodeLetter(line)
			if err != nil {
				return
			}
			seq, kind, rule, sink, id, err := deadletter.ParseHead(line)
			if err != nil || seq != l.Seq || kind != l.Kind || rule != l.Rule || sink != l.Sink || id != l.ID {
				t.Fatalf("head %d %s %s %s %s, %v of %q", seq, kind, rule, sink, id, err, line)
			}
			again, err := deadletter.EncodeLetter(&l)
			if err != nil {
				return // a year that cannot be written, say
			}
			back, err := deadletter.DecodeLetter(bytes.TrimSuffix(again, []byte("\n")))
			if err != nil || !cmp.Equal(back, l, cmp.Comparer(time.Time.Equal)) {
				t.Fatalf("%+v became %+v, %v", l, back, err)
			}
		}
		check(line)
		last := 0
		deadletter.Salvage(line, func(from, to int) {
			if from < last || to <= from || to > len(line) {
				t.Fatalf("salvaged [%d:%d] of %d, after %d", from, to, len(line), last)
			}
			last = to
			check(line[from:to])
		})
	})
}
