package inspect_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/inspect"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines/deadletter"
	"github.com/penstock/penstock/rules"
)

// A book is a journal that a test writes as a running Penstock would.
type book struct {
	t       *testing.T
	dir     string
	journal *journal.Journal
	set     *rules.Set  // as they are now
	times   []time.Time // of the messages, each in a millisecond of its own
}

func newBook(t *testing.T) *book {
	t.Helper()
	b := &book{t: t, dir: t.TempDir()}
	var err error
	if b.journal, err = journal.Open(journal.Options{Dir: b.dir, MaxBytes: 256 << 20}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	return b
}

func (b *book) close() {
	b.t.Helper()
	if b.journal == nil {
		return
	}
	if err := b.journal.Close(); err != nil {
		b.t.Error(err)
	}
	b.journal = nil
}

// rules puts rules in force, and notes what they say.
func (b *book) rules(list ...rules.Config) {
	b.t.Helper()
	set, problems := rules.Compile(list, []rules.Sink{{Name: "a", Kind: "file"}, {Name: "b", Kind: "file"}})
	if err := problems.Err(); err != nil {
		b.t.Fatal(err)
	}
	b.set = set
	if err := b.set.Number(b.journal.Number); err != nil {
		b.t.Fatal(err)
	}
	var now []inspect.Definition
	for _, n := range b.set.Numbers() {
		now = append(now, inspect.Definition{Rule: n, From: b.journal.Next(), Body: b.set.Definition(n)})
	}
	if err := inspect.Define(b.dir, now); err != nil {
		b.t.Fatal(err)
	}
}

// rule is a rule on t/#; an output is a sink, or sink=value.
func rule(name, where string, outputs ...string) rules.Config {
	c := rules.Config{Name: name, From: []string{"t/#"}, Where: where}
	for _, o := range outputs {
		sink, value, _ := strings.Cut(o, "=")
		c.To = append(c.To, rules.OutputConfig{Sink: sink, Value: value})
	}
	return c
}

// message appends a message that rules want.
func (b *book) message(client, topic, payload string) (offset uint64) {
	b.t.Helper()
	for len(b.times) > 0 && time.Now().UnixMilli() <= b.times[len(b.times)-1].UnixMilli() {
		<-time.After(100 * time.Microsecond)
	}
	m := message.Message{Topic: topic, Client: client, Payload: []byte(payload), QoS: 1}
	wanted, _ := b.set.Want(topic, nil)
	offset, err := b.journal.Append([]journal.Entry{{Message: &m, Rules: wanted}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.times = append(b.times, m.Time())
	return offset
}

// cursor says that a lane has settled all below low.
func (b *book) cursor(sink string, low uint64, dropped ...journal.Drop) {
	b.t.Helper()
	for b.journal.Stored()+1 < low {
		<-time.After(time.Millisecond)
	}
	n, err := b.journal.Number("lane", sink)
	if err == nil {
		_, err = b.journal.StoreCursor(n, journal.Cursor{Low: low, Rules: b.set.Numbers(), Dropped: dropped})
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// archive ends the writing.
func (b *book) archive() *journal.Archive {
	b.t.Helper()
	b.close()
	a, err := journal.OpenArchive(b.dir, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// fates asks why and returns a line for each message and lane.
func fates(t *testing.T, s inspect.Sources, q inspect.Question) (lines []string) {
	t.Helper()
	err := inspect.Why(t.Context(), s, q, func(a *inspect.Answer) error {
		for _, r := range a.Rules {
			for _, f := range r.Lanes {
				lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s: %s %s", *a.Message.Payload, r.Rule, f.Sink, f.State, f.Reason)))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func hot() rules.Config { return rule("r", "payload > 80", "a") }

// What a rule said when a message was settled decides what it became, not what
// it says now.
func TestWhyAfterAnEdit(t *testing.T) {
	b := newBook(t)
	b.rules(hot())
	b.cursor("a", 1)
	b.message("c", "t/1", "90")
	b.cursor("a", b.message("c", "t/1", "20")+1)
	between := b.message("c", "t/1", "21")
	b.rules(rule("r", "payload > 10", "a"))
	b.cursor("a", between+1)
	b.cursor("a", b.message("c", "t/1", "22")+1)
	b.message("c", "t/1", "23")
	now := b.set
	want := []string{
		"90 r a: delivered", "20 r a: filtered",
		"21 r a: settled the rule changed before it was settled, what it said last at the time is not known",
		"22 r a: delivered", "23 r a: pending",
	}
	a := b.archive()
	q := inspect.Question{Topic: "t/#"}
	if diff := cmp.Diff(want, fates(t, inspect.Sources{Archive: a, Rules: now}, q)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, fates(t, inspect.Sources{Archive: a}, q)); diff != "" {
		t.Errorf("without a configuration: %s", diff)
	}
	if err := os.Remove(filepath.Join(b.dir, "rules.jsonl")); err != nil {
		t.Fatal(err)
	}
	if got := fates(t, inspect.Sources{Archive: a, Rules: now}, inspect.Question{Topic: "t/#", Limit: 1}); len(got) != 1 || got[0] != "90 r a: settled what the rule said then is not known" {
		t.Errorf("without definitions: %q", got)
	}
}

// A rule that is gone is explained as it was; a sink that a rule got later has
// nothing to do with earlier messages; what was given up says so.
func TestWhyAfterChanges(t *testing.T) {
	b := newBook(t)
	b.rules(rule("old", "", "a"))
	b.cursor("a", 1)
	b.cursor("a", b.message("c", "t/1", "1")+1)
	b.rules(rule("new", "", "a"))
	b.cursor("a", b.message("c", "t/1", "2")+1)
	b.rules(rule("new", "", "a", "b"))
	b.cursor("b", b.journal.Next())
	given := b.message("c", "t/1", "3")
	b.cursor("b", given+1, journal.Drop{Reason: "lane_full", Ranges: []journal.Range{{First: given, Last: given}}})
	b.cursor("a", given+1)
	now := b.set
	s := inspect.Sources{Archive: b.archive(), Rules: now}
	want := []string{"1 old a: delivered", "2 new a: delivered", "3 new a: delivered", "3 new b: dropped lane_full"}
	if diff := cmp.Diff(want, fates(t, s, inspect.Question{Client: "c"})); diff != "" {
		t.Error(diff)
	}
	var past []bool
	err := inspect.Why(t.Context(), s, inspect.Question{Client: "c"}, func(a *inspect.Answer) error {
		past = append(past, a.Rules[0].Past && a.Rules[0].Explained.Result == rules.ResultRecords)
		return nil
	})
	if diff := cmp.Diff([]bool{true, false, false}, past); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// What the lane and the dead letters know comes before what the journal tells.
func TestWhyLive(t *testing.T) {
	b := newBook(t)
	b.rules(hot())
	b.cursor("a", 1)
	for _, payload := range []string{"90", "91", "92", "93"} {
		b.message("c", "t/1", payload)
	}
	set := b.set
	archive := b.archive()
	var ids []string
	s := inspect.Sources{Archive: archive, Rules: set}
	err := inspect.Why(t.Context(), s, inspect.Question{Topic: "#"}, func(a *inspect.Answer) error { ids = append(ids, a.ID); return nil })
	if err != nil || len(ids) != 4 {
		t.Fatal(err, ids)
	}
	first, _ := message.ParseID(ids[0])
	s.Live = func(_ context.Context, sink string, offset uint64) (*inspect.Fate, bool, error) {
		switch offset - first.Offset {
		case 0:
			return &inspect.Fate{Sink: sink, State: inspect.StatePending, Reason: "retrying", Attempts: 3, Error: "no room"}, false, nil
		case 1:
			return nil, true, nil
		}
		return nil, false, nil
	}
	s.Letters = func(deadletter.Filter) iter.Seq2[deadletter.Letter, error] {
		return func(yield func(deadletter.Letter, error) bool) {
			yield(deadletter.Letter{Seq: 7, ID: ids[2] + ".1.2", Reason: "rejected", Error: "too large", Attempts: 1}, nil)
		}
	}
	want := []string{"90 r a: pending retrying", "91 r a: delivered", "92 r a: dead letter rejected", "93 r a: pending"}
	if diff := cmp.Diff(want, fates(t, s, inspect.Question{Topic: "#"})); diff != "" {
		t.Error(diff)
	}
	if got := fates(t, s, inspect.Question{ID: ids[2] + ".1.2"}); len(got) != 1 || got[0] != want[2] {
		t.Errorf("by the id of a record: %q", got)
	}
	if got := fates(t, s, inspect.Question{Topic: "t/+", From: b.times[1], To: b.times[3]}); len(got) != 2 || got[0] != want[1] {
		t.Errorf("by time: %q", got)
	}
	for _, bad := range []string{"x", ids[0] + "0", strings.Replace(ids[0], "-1-", "-2-", 1), "aaaaaaaaaaaaa-1-1"} {
		if err := inspect.Why(t.Context(), s, inspect.Question{ID: bad}, nil); err == nil {
			t.Errorf("%s is answered", bad)
		}
	}
	if err := inspect.Why(t.Context(), s, inspect.Question{}, nil); err == nil {
		t.Error("no question is answered")
	}
}

// Only what changed is noted, the newest definitions of a rule stay, and a line
// that cannot be read harms no other.
func TestDefine(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rules.jsonl")
	size := func() int64 {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	define := func(rule uint32, from uint64, body string) {
		t.Helper()
		if err := inspect.Define(dir, []inspect.Definition{{Rule: rule, From: from, Body: json.RawMessage(body)}}); err != nil {
			t.Fatal(err)
		}
	}
	define(1, 1, `{"rule":"one"}`)
	before := size()
	define(1, 5, `{"rule":"one"}`)
	if size() != before {
		t.Error("what did not change was noted")
	}
	if err := os.WriteFile(path, append([]byte("broken\n"), read(t, path)...), 0o600); err != nil {
		t.Fatal(err)
	}
	largest := int64(0)
	for i := range uint64(200) {
		define(2, 10+i, fmt.Sprintf(`{"n":%d}`, i))
		largest = max(largest, size())
	}
	text := string(read(t, path))
	if !strings.Contains(text, `"one"`) || !strings.Contains(text, `{"n":199}`) || !strings.Contains(text, `{"n":184}`) || strings.Contains(text, "broken") {
		t.Error(text)
	}
	if largest > 40*50 {
		t.Errorf("the file grew to %d bytes", largest)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
