package deadletter_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines/deadletter"
)

const dir = "/data/dead-letters"

func want[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// open opens the store on fs, in a small default size.
func open(t testing.TB, fs fault.FS, change ...func(*deadletter.Options)) *deadletter.Store {
	t.Helper()
	o := deadletter.Options{Dir: dir, FS: fs}
	for _, c := range change {
		c(&o)
	}
	s, err := deadletter.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// letter returns a letter of a kind whose text is its payload.
func letter(kind deadletter.Kind, n int, text string) deadletter.Letter {
	id := message.ID{Journal: 1, Epoch: 1, Offset: uint64(n)}
	return deadletter.Letter{
		Kind: kind, Rule: "hot", RuleNumber: 3, Output: 1, Sink: "plant", ID: id.String() + ".3.1",
		Time: time.UnixMilli(1767225600000 + int64(n)).UTC(), Reason: "rejected", Error: "too large", Attempts: 1,
		History: []deadletter.Attempt{{Time: time.UnixMilli(int64(n)).UTC(), Error: "too large"}},
		Record:  &deadletter.Record{Received: time.UnixMilli(int64(n)).UTC(), Client: "c", Topic: "t", Payload: &text},
	}
}

func refused(n int) deadletter.Letter {
	return letter(deadletter.Refused, n, fmt.Sprint("refused ", n))
}

func ruleError(n int) deadletter.Letter {
	return letter(deadletter.RuleError, n, fmt.Sprint("error ", n))
}

func add(t testing.TB, s *deadletter.Store, letters ...deadletter.Letter) []deadletter.Letter {
	t.Helper()
	for _, l := range letters {
		one := []deadletter.Letter{l}
		if n, err := s.Append(one); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	return letters
}

// list returns the payloads of the letters a filter chooses.
func list(t testing.TB, s interface {
	Get(seq uint64) (deadletter.Letter, bool, error)
	Stats() deadletter.Stats
}, f deadletter.Filter,
) []string {
	t.Helper()
	seq := func(yield func(deadletter.Letter, error) bool) {}
	switch s := s.(type) {
	case *deadletter.Store:
		seq = s.List(f)
	case *deadletter.View:
		seq = s.List(f)
	}
	var texts []string
	for l, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, *l.Record.Payload)
	}
	return texts
}

func TestLettersAreKept(t *testing.T) {
	mem := fault.NewMem()
	s := open(t, mem)
	add(t, s, refused(1), ruleError(2), refused(3), ruleError(4), letter(deadletter.RuleRemoved, 5, "removed 5"))
	check := func(s *deadletter.Store) {
		t.Helper()
		want(t, "all", list(t, s, deadletter.Filter{}), []string{"refused 1", "error 2", "refused 3", "error 4", "removed 5"})
		l, ok, err := s.Get(3)
		expect := refused(3)
		expect.Seq = 3
		want(t, "found", []any{ok, err}, []any{true, nil})
		want(t, "letter", l, expect)
		l, ok, err = s.Find(expect.ID)
		want(t, "found by id", []any{l.Seq, ok, err}, []any{uint64(3), true, nil})
		_, ok, err = s.Get(6)
		want(t, "not there", []any{ok, err}, []any{false, nil})
		st := s.Stats()
		want(t, "letters", []int{st.Refused.Letters, st.RuleErrors.Letters}, []int{3, 2})
		want(t, "oldest", []int64{st.Refused.Oldest.UnixMilli(), st.RuleErrors.Oldest.UnixMilli()}, []int64{1767225600001, 1767225600002})
		want(t, "next", st.Next, uint64(6))
		want(t, "groups", len(st.Groups), 3)
	}
	check(s)
	s.Close()
	s = open(t, mem)
	check(s)
	add(t, s, refused(6))
	want(t, "after", list(t, s, deadletter.Filter{First: 5}), []string{"removed 5", "refused 6"})
	s.Close()
	if _, err := s.Append([]deadletter.Letter{refused(7)}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
}

func TestFilter(t *testing.T) {
	s := open(t, fault.NewMem())
	defer s.Close()
	a, b, c := refused(1), ruleError(2), refused(3)
	b.Rule, b.Sink, b.Error = "cold", "other", "not a number"
	c.Reason, c.Error = "max_age", "busy"
	add(t, s, a, b, c)
	for _, x := range []struct {
		name   string
		filter deadletter.Filter
		want   []string
	}{
		{"rule", deadletter.Filter{Rule: "cold"}, []string{"error 2"}},
		{"sink", deadletter.Filter{Sink: "plant"}, []string{"refused 1", "refused 3"}},
		{"kind", deadletter.Filter{Kinds: []deadletter.Kind{deadletter.RuleError}}, []string{"error 2"}},
		{"error", deadletter.Filter{Error: "number"}, []string{"error 2"}},
		{"reason", deadletter.Filter{Error: "max_age"}, []string{"refused 3"}},
		{"since", deadletter.Filter{Since: b.Time}, []string{"error 2", "refused 3"}},
		{"until", deadletter.Filter{Until: b.Time}, []string{"refused 1"}},
		{"numbers", deadletter.Filter{First: 2, Last: 2}, []string{"error 2"}},
		{"limit", deadletter.Filter{Limit: 2}, []string{"refused 1", "error 2"}},
		{"nothing", deadletter.Filter{Rule: "cold", Sink: "plant"}, nil},
	} {
		want(t, x.name, list(t, s, x.filter), x.want)
	}
}

// Lines can be read with other tools, and hold what the package comment says.
func TestLinesAreJSON(t *testing.T) {
	folder := t.TempDir()
	s := must[*deadletter.Store](t)(deadletter.Open(deadletter.Options{Dir: filepath.Join(folder, "dead-letters")}))
	add(t, s, letter(deadletter.Refused, 1, "hello <world>"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b := must[[]byte](t)(os.ReadFile(filepath.Join(folder, "dead-letters", "refused-00000000000000000001-1.jsonl")))
	var l map[string]any
	if err := json.Unmarshal(b, &l); err != nil || l["kind"] != "refused" || l["seq"] != 1.0 {
		t.Errorf("%s: %v", b, err)
	}
	if !strings.Contains(string(b), `"payload":"hello <world>"`) {
		t.Errorf("escaped: %s", b)
	}
}

func TestRemoveAndUpdate(t *testing.T) {
	mem := fault.NewMem()
	s := open(t, mem)
	for n := range 10 {
		add(t, s, refused(n+1), ruleError(n+101))
	}
	n, err := s.Remove([]uint64{1, 3, 5, 2, 5, 99})
	want(t, "removed", []any{n, err}, []any{4, nil})
	l, _, _ := s.Get(7)
	l.Reason, l.Error, l.Attempts = "max_age", "busy", 9
	l.History = deadletter.AddAttempt(l.History, time.UnixMilli(77), errors.New("busy"))
	gone, _, _ := s.Get(9)
	gone.Seq = 1
	if err := s.Update([]deadletter.Letter{l, gone}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, ok, err := s.Get(7)
		want(t, "found", []any{ok, err}, []any{true, nil})
		want(t, "updated", got, l)
		want(t, "left", list(t, s, deadletter.Filter{Last: 9}), []string{"error 102", "error 103", "refused 4", "error 104", "refused 5"})
		s.Close()
		s = open(t, mem)
	}
	// Most of it goes: what is left is written anew, updates included.
	var seqs []uint64
	for l := range s.List(deadletter.Filter{}) {
		if l.Seq != 7 && l.Seq != 8 {
			seqs = append(seqs, l.Seq)
		}
	}
	before := s.Stats().Refused.Bytes
	if n, err := s.Remove(seqs); n != len(seqs) || err != nil {
		t.Fatal(n, err)
	}
	after := s.Stats()
	if after.Refused.Bytes > before/5 {
		t.Errorf("%d bytes before, %d after", before, after.Refused.Bytes)
	}
	got, _, err := s.Get(7)
	want(t, "err", err, nil)
	want(t, "updated", got, l)
	want(t, "left", list(t, s, deadletter.Filter{}), []string{"refused 4", "error 104"})
	s.Close()
	s = open(t, mem)
	want(t, "left", list(t, s, deadletter.Filter{}), []string{"refused 4", "error 104"})
	if n, err := s.Purge(t.Context(), deadletter.Filter{}); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	s.Close()
	// Numbers are never used twice, though nothing is left.
	s = open(t, mem)
	want(t, "nothing left", list(t, s, deadletter.Filter{}), nil)
	want(t, "bytes", []int64{s.Stats().Refused.Bytes, s.Stats().RuleErrors.Bytes}, []int64{0, 0})
	want(t, "number", s.Next(), uint64(21))
	add(t, s, refused(55))
	_, ok, err := s.Get(21)
	want(t, "number 21", []any{ok, err}, []any{true, nil})
	s.Close()
}

// C20: what a sink refused waits for room; rule errors give way, counted.
func TestPartsHaveBounds(t *testing.T) {
	mem := fault.NewMem()
	small := func(o *deadletter.Options) { o.MaxBytes, o.RuleErrors = 40<<10, 20<<10 }
	s := open(t, mem, small)
	var n int
	for n = 1; ; n++ {
		if _, err := s.Append([]deadletter.Letter{refused(n)}); err != nil {
			if !errors.Is(err, deadletter.ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	st := s.Stats()
	if st.Refused.Bytes > 20<<10 || st.Refused.Bytes < 19<<10 || st.Refused.Letters != n-1 {
		t.Errorf("full with %+v, %d letters", st.Refused, n-1)
	}
	// Rule errors go on, and the oldest give way.
	const errs = 500
	for i := range errs {
		add(t, s, ruleError(1000+i))
	}
	st = s.Stats()
	if st.RuleErrors.Bytes > 20<<10 || st.RuleErrors.Bytes < 16<<10 {
		t.Errorf("rule errors take %d bytes", st.RuleErrors.Bytes)
	}
	want(t, "counted", int(st.GivenWay)+st.RuleErrors.Letters, errs)
	left := list(t, s, deadletter.Filter{Kinds: []deadletter.Kind{deadletter.RuleError}})
	want(t, "newest", left[len(left)-1], fmt.Sprint("error ", 1000+errs-1))
	want(t, "oldest left", left[0], fmt.Sprint("error ", 1000+st.GivenWay))
	// One removed letter is room for one, though its file is hardly touched.
	if _, err := s.Remove([]uint64{5}); err != nil {
		t.Fatal(err)
	}
	add(t, s, refused(9000))
	// In one append, as many as there is room for.
	if _, err := s.Remove([]uint64{6, 7}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Append([]deadletter.Letter{refused(9001), refused(9002), refused(9003), refused(9004)})
	if got < 1 || got > 2 || !errors.Is(err, deadletter.ErrFull) {
		t.Errorf("append = %d, %v", got, err)
	}
	s.Close()
	s = open(t, mem, small)
	after := s.Stats()
	want(t, "given way, again", after.GivenWay, st.GivenWay)
	want(t, "left, again", list(t, s, deadletter.Filter{Kinds: []deadletter.Kind{deadletter.RuleError}}), left)
	huge := letter(deadletter.RuleError, 1, strings.Repeat("x", 30<<10))
	if _, err := s.Append([]deadletter.Letter{huge}); !errors.Is(err, deadletter.ErrTooLarge) {
		t.Errorf("append of a huge letter: %v", err)
	}
	s.Close()
}

// A lane that crashed before its cursor covered a letter writes it again.
func TestLettersAreNotDoubledByACrashOfTheirLane(t *testing.T) {
	mem := fault.NewMem()
	s := open(t, mem)
	add(t, s, refused(1), ruleError(2), refused(3))
	s.Close()
	s = open(t, mem)
	defer s.Close()
	again := []deadletter.Letter{refused(3), refused(1), refused(4)}
	n, err := s.Append(again)
	want(t, "append", []any{n, err}, []any{3, nil})
	want(t, "numbers", []uint64{again[0].Seq, again[1].Seq, again[2].Seq}, []uint64{3, 1, 4})
	want(t, "letters", list(t, s, deadletter.Filter{}), []string{"refused 1", "error 2", "refused 3", "refused 4"})
	// One that was removed since is a letter of its own.
	if _, err := s.Remove([]uint64{1}); err != nil {
		t.Fatal(err)
	}
	add(t, s, refused(1))
	want(t, "letters", list(t, s, deadletter.Filter{}), []string{"error 2", "refused 3", "refused 4", "refused 1"})
}

// A view works beside the store, takes no lock, and sees what was there.
func TestView(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "dead-letters")
	s := must[*deadletter.Store](t)(deadletter.Open(deadletter.Options{Dir: folder}))
	defer s.Close()
	for n := range 20 {
		add(t, s, refused(n+1), ruleError(n+101))
	}
	if _, err := s.Remove([]uint64{1, 2}); err != nil {
		t.Fatal(err)
	}
	v := must[*deadletter.View](t)(deadletter.OpenReadOnly(folder, nil))
	seen := list(t, s, deadletter.Filter{})
	// What happens now is not its concern, though files go.
	if _, err := s.Purge(t.Context(), deadletter.Filter{First: 10}); err != nil {
		t.Fatal(err)
	}
	want(t, "seen", list(t, v, deadletter.Filter{}), seen)
	want(t, "letters", v.Stats().Refused.Letters, 19)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = must[*deadletter.View](t)(deadletter.OpenReadOnly(folder, nil))
	want(t, "seen now", list(t, v, deadletter.Filter{}), list(t, s, deadletter.Filter{}))
	v.Close()
	if _, err := deadletter.OpenReadOnly(folder+"-none", nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open of nothing: %v", err)
	}
	if _, err := deadletter.Open(deadletter.Options{Dir: folder}); !errors.Is(err, fault.ErrLocked) {
		t.Errorf("two stores on one folder: %v", err)
	}
}

func TestLetterTurnsBackIntoItsMessage(t *testing.T) {
	m := message.Message{
		ID: message.ID{Journal: 1, Epoch: 2, Offset: 3}, Received: 1767225600123, Client: "c", User: "u", Topic: "t",
		QoS: 2, Retain: true, Source: "hq", Hops: 2, Payload: []byte{0xff, 0},
		Properties: message.Properties{
			HasPayloadFormat: true, HasMessageExpiry: true, MessageExpiry: 9, ContentType: "t", ResponseTopic: "r",
			CorrelationData: []byte{1}, UserProperties: []message.UserProperty{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}},
		},
	}
	for _, payload := range [][]byte{{0xff, 0}, []byte("text")} {
		m.Payload = payload
		s := open(t, fault.NewMem())
		l := refused(1)
		l.ID, l.Record = m.ID.String()+".3.1.run", deadletter.NewRecord(&m)
		add(t, s, l)
		l, _, _ = s.Get(1)
		got, err := l.Message()
		want(t, "err", err, nil)
		want(t, "message", got, m)
		s.Close()
	}
	if _, err := (&deadletter.Letter{}).Message(); !errors.Is(err, deadletter.ErrNoRecord) {
		t.Errorf("no record: %v", err)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	var h []deadletter.Attempt
	for n := range 30 {
		h = deadletter.AddAttempt(h, time.UnixMilli(int64(n)), fmt.Errorf("error %d %s", n, strings.Repeat("x", 5000)))
	}
	want(t, "attempts", len(h), 10)
	want(t, "first and last", []int64{h[0].Time.UnixMilli(), h[1].Time.UnixMilli(), h[9].Time.UnixMilli()}, []int64{0, 21, 29})
	if len(h[0].Error) > 1100 {
		t.Errorf("an error of %d bytes", len(h[0].Error))
	}
}
