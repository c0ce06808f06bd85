package journal_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
)

// save stores a named state and waits until it counts.
func save(t testing.TB, j *journal.Journal, kind, key string, needs uint64, body []byte) {
	t.Helper()
	o, err := j.Save(kind, key, needs, body)
	if err != nil {
		t.Fatal(err)
	}
	stored(t, j, o)
}

// TestSave: the newest body of a name is found, through restarts and segments,
// until it is removed.
func TestSave(t *testing.T) {
	mem := fault.NewMem()
	j := openWith(t, small(mem))
	save(t, j, "checkpoint", "a", 0, []byte("old"))
	save(t, j, "checkpoint", "a", 0, []byte("new"))
	save(t, j, "checkpoint", "empty", 0, []byte{})
	save(t, j, "checkpoint", "gone", 0, []byte("x"))
	save(t, j, "intent", "a", 0, []byte("other"))
	save(t, j, "checkpoint", "gone", 0, nil)
	save(t, j, "checkpoint", "never", 0, nil)
	for range 3 {
		got := map[string]string{}
		for _, kind := range []string{"checkpoint", "intent", "none"} {
			for _, key := range j.Keys(kind) {
				body, ok := j.Load(kind, key)
				if !ok || body == nil {
					t.Errorf("%s %s is not there", kind, key)
				}
				got[kind+" "+key] = string(body)
			}
		}
		if d := cmp.Diff(map[string]string{"checkpoint a": "new", "checkpoint empty": "", "intent a": "other"}, got); d != "" {
			t.Error(d)
		}
		if _, ok := j.Load("checkpoint", "gone"); ok {
			t.Error("a removed state is there")
		}
		for range 50 {
			wanted(t, j, strings.Repeat("s", 500))
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = openWith(t, small(mem))
	}
	if _, err := j.Save("k", "k", 0, bytes.Repeat([]byte("x"), 256<<10)); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("save: %v", err)
	}
}

// TestSavedNeeds: messages from the offset on that a saved state needs stay,
// whoever has settled them, until the state moves on (C21).
func TestSavedNeeds(t *testing.T) {
	mem := fault.NewMem()
	j := openWith(t, small(mem))
	lane := laneOf(t, j, "k")
	settle(t, j, lane, journal.Cursor{Low: 1, Rules: []uint32{7}})
	var first, last uint64
	for i := range 200 {
		last = wanted(t, j, strings.Repeat("s", 500), 7)
		if i == 100 {
			first = last
			save(t, j, "checkpoint", "a", first, []byte("x"))
		}
	}
	done := journal.Cursor{Low: last + 1, Rules: []uint32{7}}
	awaitRoom(t, j, lane, done, j.Stats().Segments/2+1)
	for range 2 {
		if got := read(t, j, first); len(got) < 100 {
			t.Fatalf("%d messages are left", len(got))
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = openWith(t, small(mem))
	}
	save(t, j, "checkpoint", "a", last+1, []byte("y"))
	awaitRoom(t, j, lane, done, 2)
}
