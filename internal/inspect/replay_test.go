package inspect_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/inspect"
	"github.com/penstock/penstock/internal/message"
)

// A replay reads its stretch of time, hands out what rules make of it now in
// batches, with the run at the end of the ids, and says what became of each.
func TestReplaySends(t *testing.T) {
	b := newBook(t)
	b.rules(rule("r", "payload != 3", "a", "b"))
	for i := range 400 {
		b.message("c", "t/1", fmt.Sprint(i))
	}
	set := b.set
	archive := b.archive()
	sent := map[string]int{}
	o := inspect.ReplayOptions{
		Rule: "r", Run: "run", From: b.times[0], To: b.times[300],
		Send: func(_ context.Context, sink string, records []message.Record) ([]string, error) {
			reasons := make([]string, len(records))
			for i := range records {
				r := &records[i]
				id := string(r.AppendID(nil))
				if id[len(id)-4:] != ".run" || string(r.Headers[0].Value) != id {
					t.Errorf("id %s, header %s", id, r.Headers[0].Value)
				}
				if string(r.Value) == "7" {
					reasons[i] = "too hot"
				}
			}
			sent[sink] += len(records)
			return reasons, nil
		},
	}
	refused := 0
	sum, err := inspect.Replay(t.Context(), archive, set, o, func(l *inspect.Replayed) error {
		if l.Result == "refused" && l.Reason == "too hot" {
			refused++
		}
		return nil
	})
	want := inspect.ReplaySummary{Messages: 300, Filtered: 2, Records: 598, Delivered: 596, Refused: 2, Run: "run"}
	if diff := cmp.Diff(want, sum); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if diff := cmp.Diff(map[string]int{"a": 299, "b": 299}, sent); diff != "" || refused != 2 {
		t.Error(refused, diff)
	}
	o.Sink = "b"
	if sum, err = inspect.Replay(t.Context(), archive, set, o, func(*inspect.Replayed) error { return nil }); err != nil || sum.Delivered != 298 {
		t.Errorf("one sink: %+v, %v", sum, err)
	}
	broken := errors.New("broken")
	o.Send = func(context.Context, string, []message.Record) ([]string, error) { return nil, broken }
	if _, err := inspect.Replay(t.Context(), archive, set, o, nil); !errors.Is(err, broken) {
		t.Errorf("a sink that fails: %v", err)
	}
	for _, o := range []inspect.ReplayOptions{{}, {Rule: "x"}, {Rule: "r", Sink: "x"}} {
		if _, err := inspect.Replay(t.Context(), archive, set, o, nil); err == nil {
			t.Errorf("%+v is replayed", o)
		}
	}
}

// A dry run says what differs from what a rule made of a message when it came
// in, also for a rule that was not there then.
func TestReplayDryRun(t *testing.T) {
	b := newBook(t)
	b.rules(rule("r", "payload > 1", "a"))
	for i := range 6 {
		b.message("c", "t/1", fmt.Sprint(i))
	}
	b.rules(rule("r", "payload > 0 && payload < 5", "a=payload == 4 ? 40 : payload"), rule("later", "payload == 0", "b"))
	set := b.set
	archive := b.archive()
	var lines []string
	show := func(l *inspect.Replayed) error {
		lines = append(lines, l.Rule+" "+l.ID[len(l.ID)-1:]+" "+l.Result+" "+l.Then)
		return nil
	}
	sum, err := inspect.Replay(t.Context(), archive, set, inspect.ReplayOptions{Sink: "a"}, show)
	want := inspect.ReplaySummary{Messages: 6, Filtered: 2, Records: 4, Same: 3, Changed: 1, New: 1, Gone: 1}
	if diff := cmp.Diff(want, sum); err != nil || diff != "" || len(lines) != 3 {
		t.Error(err, diff, lines)
	}
	sum, err = inspect.Replay(t.Context(), archive, set, inspect.ReplayOptions{Rule: "later"}, show)
	if err != nil || sum.New != 1 || sum.Filtered != 5 {
		t.Errorf("a rule that is new: %+v, %v", sum, err)
	}
}

// Cat shows what its filters let through, in order.
func TestCat(t *testing.T) {
	b := newBook(t)
	b.rules(hot())
	first := b.message("c", "t/1", "90")
	b.message("d", "t/2", "91")
	b.message("c", "other", "92")
	b.cursor("a", first+1)
	archive := b.archive()
	for name, c := range map[string]struct {
		o    inspect.CatOptions
		want string
	}{
		"messages":         {inspect.CatOptions{Messages: true}, "90 91 92 "},
		"from":             {inspect.CatOptions{Messages: true, From: first + 1}, "91 92 "},
		"limit":            {inspect.CatOptions{Messages: true, Limit: 2}, "90 91 "},
		"topic":            {inspect.CatOptions{Topic: "t/+"}, "90 91 "},
		"client":           {inspect.CatOptions{Client: "c"}, "90 92 "},
		"topic and client": {inspect.CatOptions{Topic: "t/+", Client: "c"}, "90 "},
	} {
		got := ""
		err := inspect.Cat(t.Context(), archive, c.o, func(e *inspect.Entry) error { got += *e.Message.Payload + " "; return nil })
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
	}
	kinds := map[string]int{}
	err := inspect.Cat(t.Context(), archive, inspect.CatOptions{}, func(e *inspect.Entry) error {
		kinds[e.Kind]++
		if e.Cursor != nil && (e.Cursor.Lane != "a" || e.Cursor.Low != first+1) {
			t.Errorf("cursor %+v", e.Cursor)
		}
		if e.Message != nil && e.Message.Topic == "t/1" && (len(e.Rules) != 1 || e.Rules[0] != "r") {
			t.Errorf("rules %v", e.Rules)
		}
		return nil
	})
	if err != nil || kinds["message"] != 3 || kinds["cursor"] != 1 || kinds["number"] < 3 {
		t.Errorf("%v, %v", kinds, err)
	}
	stop := errors.New("stop")
	if err := inspect.Cat(t.Context(), archive, inspect.CatOptions{}, func(*inspect.Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Cat = %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := inspect.Cat(ended, archive, inspect.CatOptions{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Cat = %v", err)
	}
}
