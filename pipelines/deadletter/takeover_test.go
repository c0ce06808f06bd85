package deadletter_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/pipelines/deadletter"
)

const legacyPath = "/data/dead-letters.jsonl"

// An oldLetter is a line as Penstock's first version wrote it.
type oldLetter struct {
	ID       string             `json:"id"`
	Rule     string             `json:"rule"`
	Output   uint32             `json:"output"`
	Sink     string             `json:"sink"`
	Reason   string             `json:"reason"`
	Attempts int                `json:"attempts"`
	First    time.Time          `json:"first"`
	Last     time.Time          `json:"last"`
	Record   *deadletter.Record `json:"record"`
}

func oldFile(t *testing.T, mem *fault.Mem, n int, end string) {
	t.Helper()
	var b bytes.Buffer
	for i := range n {
		l := refused(i + 1)
		old := oldLetter{
			ID: l.ID, Rule: "hot", Output: 1, Sink: "plant", Reason: "type: not a number: at 3",
			First: l.Time, Last: l.Time, Record: l.Record,
		}
		if i%2 == 0 {
			old.Reason, old.Attempts = "rejected: too large", 4
		}
		if err := json.NewEncoder(&b).Encode(old); err != nil {
			t.Fatal(err)
		}
	}
	b.WriteString(end)
	if err := mem.MkdirAll("/data", 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := mem.OpenFile(legacyPath, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b.Bytes(), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := mem.SyncDir("/data"); err != nil {
		t.Fatal(err)
	}
}

func withLegacy(o *deadletter.Options) { o.Legacy = legacyPath }

// takenOver are the payloads of n old letters, sorted.
func takenOver(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprint("refused ", i+1))
	}
	slices.Sort(all)
	return all
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

func TestTakeover(t *testing.T) {
	mem := fault.NewMem()
	oldFile(t, mem, 20, "{\"id\":\"damaged\n{\"id\":\"torn")
	var log bytes.Buffer
	s := open(t, mem, withLegacy, func(o *deadletter.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	want(t, "letters", sorted(list(t, s, deadletter.Filter{})), takenOver(20))
	st := s.Stats()
	want(t, "parts", []int{st.Refused.Letters, st.RuleErrors.Letters, int(st.Damaged)}, []int{10, 10, 1})
	l, ok, err := s.Find(refused(1).ID)
	expect := deadletter.Letter{
		Seq: l.Seq, Kind: deadletter.Refused, Rule: "hot", RuleNumber: 3, Output: 1, Sink: "plant", ID: l.ID,
		Time: l.Time, Reason: "rejected", Error: "too large", Attempts: 4,
		History: []deadletter.Attempt{{Time: l.Time, Error: "too large"}}, Record: refused(1).Record,
	}
	want(t, "refused", []any{l, ok, err}, []any{expect, true, nil})
	l, _, _ = s.Find(refused(2).ID)
	want(t, "rule error", []any{l.Kind, l.Reason, l.Error, l.Attempts}, []any{deadletter.RuleError, "type", "not a number: at 3", 0})
	if _, err := mem.Stat(legacyPath); err == nil {
		t.Error("the old file is still there")
	}
	if !strings.Contains(log.String(), "taken over") || !strings.Contains(log.String(), "count=20") {
		t.Error(log.String())
	}
	s.Close()
	s = open(t, mem, withLegacy)
	want(t, "letters", len(list(t, s, deadletter.Filter{})), 20)
	s.Close()
}

// The power fails after each file operation of a takeover, beside letters that
// are there already: all letters are there once after the next start.
func TestTakeoverSurvivesCrashes(t *testing.T) {
	for _, before := range []int{0, 3} {
		mem := fault.NewMem()
		s := open(t, mem)
		for n := range before {
			add(t, s, letter(deadletter.Refused, 100+n, fmt.Sprint("today ", n)))
		}
		s.Close()
		oldFile(t, mem, 9, "")
		all := takenOver(9)
		for n := range before {
			all = append(all, fmt.Sprint("today ", n))
		}
		points := 0
		mem.Watch(func(op fault.Op) {
			points++
			for seed := range uint64(4) {
				c := mem.Crash(seed)
				s := open(t, c, withLegacy)
				want(t, fmt.Sprint("after ", op), sorted(list(t, s, deadletter.Filter{})), sorted(slices.Clone(all)))
				next := s.Next()
				add(t, s, refused(1000))
				s.Close()
				s = open(t, c, withLegacy)
				want(t, fmt.Sprint("later, after ", op), len(list(t, s, deadletter.Filter{})), len(all)+1)
				want(t, "next", s.Next(), next+1)
				s.Close()
			}
		})
		s = open(t, mem, withLegacy)
		mem.Watch(nil)
		s.Close()
		if points < 15 || t.Failed() {
			t.Fatalf("%d crash points", points)
		}
	}
}

// Where there is no room the old file stays for the next start, and what is
// added meanwhile is not taken for it.
func TestTakeoverWithoutRoom(t *testing.T) {
	mem := fault.NewMem()
	oldFile(t, mem, 9, "")
	inject := fault.Inject(mem)
	f := inject.Add(&fault.Fault{
		When: func(op fault.Op) bool { return op.Kind == fault.Write && strings.Contains(op.Name, "rule-errors-") },
		Err:  os.ErrPermission,
	})
	s := open(t, inject, withLegacy)
	if f.Fired() == 0 {
		t.Fatal("nothing failed")
	}
	want(t, "letters", list(t, s, deadletter.Filter{}), nil)
	add(t, s, refused(500))
	s.Close()
	inject.Heal()
	s = open(t, inject, withLegacy)
	defer s.Close()
	want(t, "letters", sorted(list(t, s, deadletter.Filter{})), sorted(append(takenOver(9), "refused 500")))
}
