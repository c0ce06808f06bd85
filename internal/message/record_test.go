package message_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/message"
)

func TestRecordID(t *testing.T) {
	r := message.Record{Message: message.ID{Journal: 1 << 60, Epoch: 1, Offset: 7}, Rule: 2, Output: 3}
	if got := string(r.AppendID(nil)); got != "2000000000000-1-7.2.3" {
		t.Errorf("AppendID = %s", got)
	}
}

// Records keep their bytes when the outcome is used again, and appending to
// one record's bytes never reaches another's.
func TestOutcomeKeepsBytesApart(t *testing.T) {
	var o message.Outcome
	var kept [][]byte
	var want []string
	for i := range 2000 {
		text := strings.Repeat(string(rune('a'+i%26)), i%300)
		b := append(o.Scratch(len(text)), text...)
		kept, want = append(kept, o.Keep(b)), append(want, text)
		o.Reset()
	}
	for i := range kept {
		_ = append(kept[i], "overrun"...)
	}
	for i := range kept {
		if string(kept[i]) != want[i] {
			t.Fatalf("record %d holds %q, want %q", i, kept[i], want[i])
		}
	}
}

// What outgrew its scratch space is kept as it is.
func TestOutcomeKeepOutgrown(t *testing.T) {
	var o message.Outcome
	b := append(o.Scratch(4), bytes.Repeat([]byte{'x'}, 200_000)...)
	first := o.Keep(b)
	second := o.Keep(append(o.Scratch(4), "next"...))
	if len(first) != 200_000 || first[199_999] != 'x' || string(second) != "next" {
		t.Errorf("kept %d bytes and %q", len(first), second)
	}
}

func TestOutcomeAllocatesInChunks(t *testing.T) {
	var o message.Outcome
	n := testing.AllocsPerRun(1000, func() {
		o.Reset()
		o.Keep(append(o.Scratch(100), "a record's key and value"...))
	})
	if n > 0.1 {
		t.Errorf("%v allocations for each record", n)
	}
}
