package pipelines_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
)

// paper is a journal that only counts.
type paper struct {
	mu    sync.Mutex
	next  uint64
	rules [][]uint32
	err   error
}

func (p *paper) Append(entries []journal.Entry) (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0, p.err
	}
	first := p.next
	p.next += uint64(len(entries))
	for _, e := range entries {
		p.rules = append(p.rules, e.Rules)
	}
	return first, nil
}

func (p *paper) Next() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}

func (p *paper) Stored() uint64            { return p.Next() - 1 }
func (p *paper) NotifyStored(func(uint64)) {}
func (p *paper) Room() <-chan struct{}     { return nil }

// share is what a lane is owed, full from a number of messages on.
type share struct {
	messages, bytes atomic.Int64
	bound           int64
	room            chan struct{}
}

func newShare(bound int64) *share { return &share{bound: bound, room: make(chan struct{})} }

func (s *share) Add(messages, bytes int64) {
	s.messages.Add(messages)
	s.bytes.Add(bytes)
}

func (s *share) Settle(messages, bytes int64) { s.Add(-messages, -bytes) }
func (s *share) Full() bool                   { return s.messages.Load() >= s.bound }
func (s *share) Room() <-chan struct{}        { return s.room }

// wantBy has the rule n want topics that begin with the letter of the alphabet
// that is the nth, and rule 26 all that begin with a or b.
func wantBy(topic string, dst []uint32) ([]uint32, message.Ack) {
	if topic[0] > 'd' {
		return dst, message.Ack{}
	}
	dst = append(dst, uint32(topic[0]-'a'+1))
	if topic[0] <= 'b' {
		dst = append(dst, 26)
	}
	return dst, message.Ack{Level: message.AckDelivered}
}

func entriesOf(i *pipelines.Intake, topics ...string) (entries []journal.Entry, bytes int64) {
	for _, name := range topics {
		rules, _, _ := i.Want(name, nil)
		e := journal.Entry{Message: &message.Message{Topic: name, QoS: 1, Payload: []byte("payload")}, Rules: rules}
		entries, bytes = append(entries, e), bytes+int64(e.Size())
	}
	return entries, bytes
}

// Each lane is owed each message once, however many of its rules want it.
func TestIntakeCounts(t *testing.T) {
	p := &paper{next: 1}
	i := pipelines.NewIntake(p, pipelines.NewReceipts())
	one, two := newShare(100), newShare(100)
	if from := i.Swap(pipelines.Routing{Want: wantBy, Feeds: []pipelines.Feed{
		{Lane: 1, Name: "one", Share: one, Rules: []uint32{1, 2, 26}},
		{Lane: 2, Name: "two", Share: two, Rules: []uint32{2, 3}},
	}}); from != 1 {
		t.Errorf("swapped from %d on, want 1", from)
	}
	entries, all := entriesOf(i, "a", "b", "c", "d")
	if first, err := i.Append(entries, i.Generation()); first != 1 || err != nil {
		t.Fatalf("Append = %d, %v", first, err)
	}
	half := all / 4 // all are of one size, but for the rules
	if one.messages.Load() != 2 || two.messages.Load() != 2 || one.bytes.Load() < half || one.bytes.Load() > all {
		t.Errorf("owed %d and %d messages, %d and %d bytes of %d", one.messages.Load(), two.messages.Load(), one.bytes.Load(), two.bytes.Load(), all)
	}
	p.err = journal.ErrFull
	if _, err := i.Append(entries, i.Generation()); !errors.Is(err, journal.ErrFull) {
		t.Fatalf("Append = %v", err)
	}
	if one.messages.Load() != 2 || two.messages.Load() != 2 {
		t.Errorf("owed %d and %d messages after a refusal", one.messages.Load(), two.messages.Load())
	}
	if diff := cmp.Diff([][]uint32{{1, 26}, {2, 26}, {3}, {4}}, p.rules); diff != "" {
		t.Error(diff)
	}
}

// A run of messages with one topic counts as the messages it is made of.
func TestIntakeCountsRuns(t *testing.T) {
	i := pipelines.NewIntake(&paper{next: 1}, pipelines.NewReceipts())
	one, two := newShare(100), newShare(100)
	i.Swap(pipelines.Routing{Want: wantBy, Feeds: []pipelines.Feed{
		{Lane: 1, Name: "one", Share: one, Rules: []uint32{1, 26}},
		{Lane: 2, Name: "two", Share: two, Rules: []uint32{1, 2}},
	}})
	a, bytes := entriesOf(i, "a")
	b, more := entriesOf(i, "b")
	none, _ := entriesOf(i, "z")
	entries := slices.Concat(a, a, a, none, none, b, b, a)
	if _, err := i.Append(entries, i.Generation()); err != nil {
		t.Fatal(err)
	}
	got := []int64{one.messages.Load(), one.bytes.Load(), two.messages.Load(), two.bytes.Load()}
	if diff := cmp.Diff([]int64{6, 4*bytes + 2*more, 6, 4*bytes + 2*more}, got); diff != "" {
		t.Error(diff)
	}
}

// A full lane refuses what feeds it, and the others take theirs (C7, I7).
func TestIntakeRefuses(t *testing.T) {
	p := &paper{next: 1}
	i := pipelines.NewIntake(p, pipelines.NewReceipts())
	one, two := newShare(2), newShare(100)
	i.Swap(pipelines.Routing{Want: wantBy, Feeds: []pipelines.Feed{
		{Lane: 1, Name: "one", Share: one, Rules: []uint32{1}},
		{Lane: 2, Name: "two", Share: two, Rules: []uint32{2, 3}},
	}})
	put := func(topics ...string) error {
		entries, _ := entriesOf(i, topics...)
		_, err := i.Append(entries, i.Generation())
		return err
	}
	for k := range 2 {
		if err := put("a"); err != nil {
			t.Fatalf("message %d: %v", k, err)
		}
	}
	full, ok := errors.AsType[*journal.FullError](put("b", "a"))
	if !ok || full.Lane != "one" || full.Room != (<-chan struct{})(one.room) {
		t.Fatalf("refused with %+v", full)
	}
	if err := put("b", "c"); err != nil {
		t.Errorf("another lane's: %v", err)
	}
	one.Settle(1, 0)
	if err := put("a"); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if err := put("a"); !errors.Is(err, journal.ErrFull) {
		t.Errorf("full again: %v", err)
	}
	if one.messages.Load() != 2 || two.messages.Load() != 2 {
		t.Errorf("owed %d and %d messages, want 2 and 2", one.messages.Load(), two.messages.Load())
	}
}

// Nothing is appended under a rule set that is not in force, and what Swap
// returns is where the new one begins (C16).
func TestIntakeSwap(t *testing.T) {
	p := &paper{next: 1}
	i := pipelines.NewIntake(p, pipelines.NewReceipts())
	routing := func(rule uint32) pipelines.Routing {
		return pipelines.Routing{
			Want:  func(_ string, dst []uint32) ([]uint32, message.Ack) { return append(dst, rule), message.Ack{} },
			Feeds: []pipelines.Feed{{Lane: 1, Name: "one", Rules: []uint32{rule}}},
		}
	}
	i.Swap(routing(1))
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for k := 0; k < 2000; {
				generation := i.Generation()
				rules, _, _ := i.Want("t", nil)
				_, err := i.Append([]journal.Entry{{Message: &message.Message{}, Rules: rules}}, generation)
				if err == nil {
					k++
				} else if !errors.Is(err, journal.ErrStale) {
					t.Error(err)
					return
				}
			}
		})
	}
	begins := []uint64{1}
	for rule := uint32(2); rule <= 50; rule++ {
		begins = append(begins, i.Swap(routing(rule)))
	}
	writers.Wait()
	if len(p.rules) != 8000 {
		t.Fatalf("%d appended", len(p.rules))
	}
	for k, rules := range p.rules {
		n, exact := slices.BinarySearch(begins, uint64(k+1))
		for exact && n+1 < len(begins) && begins[n+1] == begins[n] {
			n++ // nothing was appended under that one
		}
		if !exact {
			n--
		}
		if want := uint32(n + 1); rules[0] != want {
			t.Fatalf("offset %d is of rule %d, want %d", k+1, rules[0], want)
		}
	}
}

func TestIntakeRecords(t *testing.T) {
	i := pipelines.NewIntake(&paper{next: 1}, pipelines.NewReceipts())
	i.Swap(pipelines.Routing{Want: wantBy, Record: []string{"x/#", "a/#"}, Default: message.AckStored})
	for _, c := range []struct{ topic, want string }{
		{"a/1", "[1 26] delivered false"},
		{"x/1", "[] stored true"},
		{"y/1", "[] received false"},
	} {
		rules, ack, record := i.Want(c.topic, nil)
		if got := fmt.Sprintf("%v %s %v", rules, ack.Level, record); got != c.want {
			t.Errorf("%s: %s, want %s", c.topic, got, c.want)
		}
	}
}

// From Append to the answer, over both.
func TestIntakeAwait(t *testing.T) {
	r := pipelines.NewReceipts()
	i := pipelines.NewIntake(&paper{next: 7}, r)
	i.Swap(pipelines.Routing{Want: wantBy, Feeds: []pipelines.Feed{
		{Lane: 1, Name: "one", Rules: []uint32{1, 26}, Required: []uint32{1}},
		{Lane: 2, Name: "two", Rules: []uint32{1, 2}, Required: []uint32{1}},
	}})
	entries, _ := entriesOf(i, "a")
	first, err := i.Append(entries, i.Generation())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	i.Await(first, entries[0].Rules, func(offset uint64, delivered bool) { got = append(got, fmt.Sprint(offset, delivered)) })
	r.Settle(first, 1, 1, true)
	r.Settle(first, 26, 1, true)
	if got != nil {
		t.Fatalf("answered %v before the second lane", got)
	}
	r.Settle(first, 1, 2, true)
	if diff := cmp.Diff([]string{"7 true"}, got); diff != "" {
		t.Error(diff)
	}
}

// A lane that has too much to confirm takes no more that it would have to
// confirm; it takes what nobody waits for.
func TestIntakeRefusesUnconfirmed(t *testing.T) {
	r := pipelines.NewReceipts()
	i := pipelines.NewIntake(&paper{next: 1}, r)
	i.Swap(pipelines.Routing{Want: wantBy, Feeds: []pipelines.Feed{
		{Lane: 1, Name: "one", Rules: []uint32{1, 2}, Required: []uint32{1}},
	}})
	const bound = 1 << 20
	rules := []uint32{1}
	for offset := range uint64(bound) {
		i.Await(offset+1, rules, nil)
	}
	entries, _ := entriesOf(i, "a")
	_, err := i.Append(entries, i.Generation())
	full, ok := errors.AsType[*journal.FullError](err)
	if !ok || full.Lane != "one" {
		t.Fatalf("Append = %v", err)
	}
	entries[0].NoWait = true
	if _, err := i.Append(entries, i.Generation()); err != nil {
		t.Errorf("QoS 0: %v", err)
	}
	for offset := range uint64(bound / 4) {
		r.Settle(offset+1, 1, 1, true)
	}
	<-full.Room
	entries[0].NoWait = false
	if _, err := i.Append(entries, i.Generation()); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func BenchmarkIntakeAppend(b *testing.B) {
	for _, burst := range []int{1, 100} {
		b.Run(fmt.Sprint(burst), func(b *testing.B) {
			i := pipelines.NewIntake(&blank{}, pipelines.NewReceipts())
			i.Swap(pipelines.Routing{Want: wantBy, Feeds: []pipelines.Feed{
				{Lane: 1, Name: "one", Share: newShare(1 << 62), Rules: []uint32{1, 26}},
				{Lane: 2, Name: "two", Share: newShare(1 << 62), Rules: []uint32{1}},
			}})
			one, _ := entriesOf(i, "a")
			entries := slices.Repeat(one, burst) // of one topic, as a connection's cached route has it
			b.ReportAllocs()
			for b.Loop() {
				if _, err := i.Append(entries, 1); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*burst), "ns/msg")
		})
	}
}

// blank is a journal that costs nothing.
type blank struct{ paper }

func (*blank) Append([]journal.Entry) (uint64, error) { return 1, nil }
