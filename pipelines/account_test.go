package pipelines_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/pipelines"
)

type fakeT struct{ errors []string }

func (f *fakeT) Helper() {}

func (f *fakeT) Errorf(format string, args ...any) {
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}

func TestAccountCheck(t *testing.T) {
	good := pipelines.RuleAccount{
		Name: "r", In: 10, Filtered: 3, FilteredMissing: 1, Errors: 2, Passed: 5,
		Records: 9, Delivered: 4, DeadLettered: 2, Pending: 1, Dropped: map[string]uint64{"on_error": 2},
	}
	cases := []struct {
		name   string
		change func(*pipelines.RuleAccount)
		want   string
	}{
		{"balanced", func(*pipelines.RuleAccount) {}, ""},
		{"messages", func(r *pipelines.RuleAccount) { r.In++ }, "in 11 is not filtered 3 + errors 2 + passed 5"},
		{"records", func(r *pipelines.RuleAccount) { r.Delivered++ }, "records 9 is not delivered 5"},
		{"dropped", func(r *pipelines.RuleAccount) { r.Dropped = nil }, "records 9 is not delivered 4"},
		{"missing", func(r *pipelines.RuleAccount) { r.FilteredMissing = 4 }, "4 of 3 filtered"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := good
			c.change(&r)
			var f fakeT
			pipelines.AssertBalanced(&f, pipelines.Account{Lane: "l", Rules: []pipelines.RuleAccount{r}})
			if got := strings.Join(f.errors, "\n"); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	total := pipelines.Account{Rules: []pipelines.RuleAccount{good, good}}.Total()
	want(t, "total", []uint64{total.In, total.Records, total.DroppedSum(), total.Pending}, []uint64{20, 18, 4, 2})
}

// Whatever a cursor holds, a lane starts and its account balances or it begins
// at zero.
func FuzzCounters(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 0})
	f.Add([]byte{1, 1, 1, 11, 10, 3, 1, 2, 5, 9, 5, 2, 2, 0, 0})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 1})
	f.Fuzz(func(t *testing.T, counters []byte) {
		j := newFakeJournal()
		if _, err := j.StoreCursor(7, journal.Cursor{Low: 1, Counters: counters}); err != nil {
			t.Fatal(err)
		}
		lane, err := pipelines.NewLane(pipelines.LaneOptions{
			Name: "plant", Number: 7, Journal: j, Evaluators: rulesOf(1), Sink: &fakeSink{},
			RuleName: func(uint32) string { return "r" }, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(lane.Account().Rules); n > len(counters)+1 {
			t.Errorf("%d rules out of %d bytes", n, len(counters))
		}
	})
}
