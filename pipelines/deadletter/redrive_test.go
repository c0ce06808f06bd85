package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines/deadletter"
)

// A destination confirms what is injected, unless it says otherwise.
type destination struct {
	mu     sync.Mutex
	refuse func(r *message.Record) bool
	down   map[string]bool // sinks that are unavailable
	got    []string        // ids and values
}

func (d *destination) inject(ctx context.Context, sink string, records []message.Record) ([]deadletter.Outcome, error) {
	out := make([]deadletter.Outcome, len(records))
	if d.down[sink] {
		<-ctx.Done()
		return out, ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range records {
		if d.refuse != nil && d.refuse(&records[i]) {
			out[i] = deadletter.Outcome{Fate: deadletter.Rejected, Reason: "rejected", Err: errors.New("still too large"), Attempts: 2}
			continue
		}
		out[i].Fate = deadletter.Delivered
		d.got = append(d.got, string(records[i].AppendID(nil))+" "+string(records[i].Value))
	}
	return out, nil
}

// now is the rule as it is now.
func now(l deadletter.Letter) ([]message.Record, error) {
	m, err := l.Message()
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasPrefix(string(m.Payload), "error"):
		return nil, errors.New("still not a number")
	case strings.HasPrefix(string(m.Payload), "unwanted"):
		return nil, nil
	}
	r := message.Record{Message: m.ID, Rule: l.RuleNumber, Output: l.Output, Value: append([]byte("now "), m.Payload...)}
	return []message.Record{r}, nil
}

func TestRedrive(t *testing.T) {
	mem := fault.NewMem()
	s := open(t, mem)
	other := letter(deadletter.Refused, 5, "other sink")
	other.Sink = "other"
	replayed := letter(deadletter.Refused, 6, "replayed")
	replayed.Run = "r1"
	replayed.ID += ".r1"
	lost := refused(7)
	lost.Record = nil
	add(t, s, refused(1), letter(deadletter.Refused, 2, "big"), ruleError(3), letter(deadletter.RuleError, 4, "unwanted"),
		other, replayed, lost, letter(deadletter.RuleRemoved, 8, "removed"))
	d := &destination{refuse: func(r *message.Record) bool { return string(r.Value) == "now big" }}
	counts, err := deadletter.Redrive(t.Context(), s, deadletter.Filter{}, now, d.inject)
	want(t, "err", err, nil)
	want(t, "counts", counts, deadletter.Counts{Chosen: 8, Delivered: 4, Filtered: 1, Refused: 1, Failed: 2})
	slices.Sort(d.got)
	want(t, "delivered", d.got, sorted([]string{
		refused(1).ID + " now refused 1", other.ID + " now other sink", replayed.ID + " now replayed",
		letter(deadletter.Refused, 8, "").ID + " now removed",
	}))
	s.Close()
	s = open(t, mem)
	defer s.Close()
	var left []string
	for l := range s.List(deadletter.Filter{}) {
		left = append(left, fmt.Sprint(l.Seq, " ", l.Reason, ": ", l.Error, " ", l.Attempts, " ", len(l.History)))
	}
	want(t, "left", left, []string{
		"2 rejected: still too large 3 1", "3 rejected: still not a number 1 2",
		"7 rejected: the letter has no message: the journal could not read it 1 2",
	})
}

// A redrive waits for a sink that is down, until ctx ends, and does not hold up
// those for others. What was delivered is gone, the rest stays.
func TestRedriveOfASinkThatIsDown(t *testing.T) {
	synctest.Test(t, redriveOfASinkThatIsDown)
}

func redriveOfASinkThatIsDown(t *testing.T) {
	s := open(t, fault.NewMem())
	defer s.Close()
	for n := range 3000 {
		l := refused(n)
		if n%2 == 0 {
			l.Sink = "dead"
		}
		if _, err := s.Append([]deadletter.Letter{l}); err != nil {
			t.Fatal(err)
		}
	}
	d := &destination{down: map[string]bool{"dead": true}}
	ctx, cancel := context.WithCancel(t.Context())
	var counts deadletter.Counts
	done := make(chan error, 1)
	go func() {
		var err error
		counts, err = deadletter.Redrive(ctx, s, deadletter.Filter{}, now, d.inject)
		done <- err
	}()
	synctest.Wait()
	want(t, "meanwhile", s.Stats().Refused.Letters, 1500)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("redrive: %v", err)
	}
	want(t, "counts", counts, deadletter.Counts{Chosen: 2500, Delivered: 1500, Waiting: 1000})
	want(t, "left", s.Stats().Refused.Letters, 1500)
	// A limit is for all sinks together.
	d.down = nil
	counts, err := deadletter.Redrive(t.Context(), s, deadletter.Filter{Limit: 10}, now, d.inject)
	want(t, "limited", []any{counts.Delivered, err}, []any{10, nil})
	counts, err = deadletter.Redrive(t.Context(), s, deadletter.Filter{Sink: "plant"}, now, d.inject)
	want(t, "none", []any{counts, err}, []any{deadletter.Counts{}, nil})
}

// The power fails after each file operation of a redrive: a letter is gone only
// if its record arrived before.
func TestRedriveSurvivesCrashes(t *testing.T) {
	mem := fault.NewMem()
	s := open(t, mem)
	for n := range 12 {
		add(t, s, refused(n))
	}
	d := &destination{refuse: func(r *message.Record) bool { return r.Message.Offset%3 == 0 }}
	points := 0
	mem.Watch(func(op fault.Op) {
		if op.Kind == fault.Read {
			return
		}
		points++
		for seed := range uint64(3) {
			c := open(t, mem.Crash(seed))
			for n := range 12 {
				id := refused(n).ID
				_, ok, err := c.Find(id)
				arrived := slices.ContainsFunc(d.got, func(g string) bool { return strings.HasPrefix(g, id+" ") })
				if err != nil || !ok && !arrived {
					t.Fatalf("after %v: letter %d is gone, %v", op, n, err)
				}
			}
			c.Close()
		}
	})
	if _, err := deadletter.Redrive(t.Context(), s, deadletter.Filter{}, now, d.inject); err != nil {
		t.Fatal(err)
	}
	mem.Watch(nil)
	want(t, "left", s.Stats().Refused.Letters, 4)
	if points < 5 {
		t.Errorf("%d crash points", points)
	}
	s.Close()
}
