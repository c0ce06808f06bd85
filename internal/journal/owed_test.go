package journal_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
)

// small makes journals of many small segments.
func small(fs fault.FS) journal.Options {
	return journal.Options{Dir: dir, FS: fs, MaxBytes: 8 << 20, SegmentBytes: 16 << 10}
}

// awaitRoom stores the cursor again and again until so few segments are left.
func awaitRoom(t testing.TB, j *journal.Journal, lane uint32, c journal.Cursor, most int) {
	t.Helper()
	for j.Stats().Segments > most {
		if t.Context().Err() != nil {
			t.Fatal("segments stay")
		}
		settle(t, j, lane, c)
	}
}

// wanted appends one message that the rules want and waits until it is stored.
func wanted(t testing.TB, j *journal.Journal, payload string, rules ...uint32) uint64 {
	t.Helper()
	o, err := j.Append([]journal.Entry{{Message: textMessage(payload), Rules: rules}})
	if err != nil {
		t.Fatal(err)
	}
	stored(t, j, o)
	return o
}

// settle stores a lane's cursor and waits until it counts.
func settle(t testing.TB, j *journal.Journal, lane uint32, c journal.Cursor) {
	t.Helper()
	o, err := j.StoreCursor(lane, c)
	if err != nil {
		t.Fatal(err)
	}
	stored(t, j, o)
}

func laneOf(t testing.TB, j *journal.Journal, name string) uint32 {
	t.Helper()
	n, err := j.Number("lane", name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRulesSayWhatIsOwed: a dead lane far behind does not pin what it never
// wanted (C6), also after a restart; what it wants stays.
func TestRulesSayWhatIsOwed(t *testing.T) {
	mem := fault.NewMem()
	j := openWith(t, small(mem))
	dead, live := laneOf(t, j, "dead"), laneOf(t, j, "live")
	settle(t, j, dead, journal.Cursor{Low: 1, Rules: []uint32{7}})
	settle(t, j, live, journal.Cursor{Low: 1, Rules: []uint32{8, 9}})
	payload := strings.Repeat("o", 400)
	early := wanted(t, j, payload, 9, 7)
	var last uint64
	for range 300 {
		last = wanted(t, j, payload, 8)
	}
	late := wanted(t, j, payload, 7)
	for range 100 {
		last = wanted(t, j, payload, 9, 8)
	}
	check := func(j *journal.Journal) {
		t.Helper()
		awaitSegments(t, j, 3) // of about twelve: the two with what is owed, and the one being written
		got := read(t, j, 1)
		if got[early] != payload || got[late] != payload {
			t.Fatal("what is owed is gone")
		}
		if n, bytes := j.Owed(dead); n != 2 || bytes < 800 || bytes > 1200 {
			t.Fatalf("owed %d messages, %d bytes", n, bytes)
		}
	}
	settle(t, j, live, journal.Cursor{Low: last + 1, Rules: []uint32{8, 9}})
	check(j)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = openWith(t, small(mem))
	check(j)
	settle(t, j, dead, journal.Cursor{Low: early, Settled: []journal.Range{{First: early + 1, Last: late + 1}}, Rules: []uint32{7}})
	awaitSegments(t, j, 2)
	settle(t, j, dead, journal.Cursor{Low: late + 1, Rules: []uint32{7}})
	awaitSegments(t, j, 1)
}

// TestOwed: the count is exact, wherever the cursor is, from memory and from
// footers, before and after a restart.
func TestOwed(t *testing.T) {
	mem := fault.NewMem()
	j := openWith(t, small(mem))
	lane := laneOf(t, j, "k")
	settle(t, j, lane, journal.Cursor{Low: 1, Rules: []uint32{7, 8}})
	type one struct {
		offset uint64
		owed   bool
		size   int64
	}
	var all []one
	for i := range 300 {
		rules := [][]uint32{{7}, {9}, {8, 7}, {}, {9, 8}}[i%5]
		e := journal.Entry{Message: textMessage(strings.Repeat("o", 3*i)), Rules: rules}
		o, err := j.Append([]journal.Entry{e})
		if err != nil {
			t.Fatal(err)
		}
		stored(t, j, o)
		all = append(all, one{o, i%5 != 1 && i%5 != 3, int64(e.Size()+7) &^ 7})
	}
	for _, c := range []journal.Cursor{
		{Low: 1},
		{Low: all[0].offset + 3},
		{Low: all[10].offset, Settled: []journal.Range{{First: all[15].offset, Last: all[200].offset}, {First: all[220].offset, Last: all[220].offset}}},
		{Low: all[211].offset},
		{Low: all[299].offset},
		{Low: all[299].offset + 1},
	} {
		for range 2 {
			c.Rules = []uint32{7, 8}
			settle(t, j, lane, c)
			var messages, bytes int64
			for _, m := range all {
				if m.owed && !settles(c, m.offset) {
					messages++
					bytes += m.size
				}
			}
			if n, b := j.Owed(lane); n != messages || b != bytes {
				t.Errorf("low %d: owed %d messages, %d bytes, want %d, %d", c.Low, n, b, messages, bytes)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j = openWith(t, small(mem))
		}
	}
	if n, b := j.Owed(77); n != 0 || b != 0 {
		t.Error(n, b)
	}
}

// TestOlderCursor: a cursor that names no rules is owed everything from its
// low offset on, one that names none of them nothing.
func TestOlderCursor(t *testing.T) {
	mem := fault.NewMem()
	j := openWith(t, small(mem))
	old, idle := laneOf(t, j, "old"), laneOf(t, j, "idle")
	settle(t, j, old, journal.Cursor{Low: 1})
	settle(t, j, idle, journal.Cursor{Low: 1, Rules: []uint32{}})
	o := wanted(t, j, "x", 7)
	for range 2 {
		if n, _ := j.Owed(old); n != 1 {
			t.Errorf("owed %d", n)
		}
		if n, _ := j.Owed(idle); n != 0 {
			t.Errorf("owed %d", n)
		}
		want := map[uint32]journal.Cursor{old: {Low: 1}, idle: {Low: 1, Rules: []uint32{}}}
		if d := cmp.Diff(want, j.Cursors()); d != "" {
			t.Error(d)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = openWith(t, small(mem))
	}
	settle(t, j, old, journal.Cursor{Low: o + 1})
	if n, _ := j.Owed(old); n != 0 {
		t.Errorf("owed %d", n)
	}
}

// TestForget: a lane's cursor goes with what it was owed, and stays away (C16).
func TestForget(t *testing.T) {
	mem := fault.NewMem()
	j := openWith(t, small(mem))
	gone, live := laneOf(t, j, "gone"), laneOf(t, j, "live")
	settle(t, j, gone, journal.Cursor{Low: 1, Rules: []uint32{7}})
	settle(t, j, live, journal.Cursor{Low: 1, Rules: []uint32{8}})
	for range 100 {
		wanted(t, j, strings.Repeat("o", 400), 7)
	}
	if n, err := j.Forget(gone); n != 100 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := j.Forget(gone); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	awaitSegments(t, j, 1)
	for range 2 {
		if _, ok := j.Cursor(gone); ok || len(j.Cursors()) != 1 {
			t.Fatal("the cursor is there")
		}
		if n := j.Names("lane")["gone"]; n != gone {
			t.Fatalf("the lane is %d, was %d", n, gone)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = openWith(t, small(mem))
	}
}

// TestNobodysEntries: what no rule wants is owed to nobody (C9).
func TestNobodysEntries(t *testing.T) {
	j := openWith(t, small(fault.NewMem()))
	settle(t, j, laneOf(t, j, "k"), journal.Cursor{Low: 1, Rules: []uint32{7}})
	for range 200 {
		wanted(t, j, strings.Repeat("o", 400))
	}
	awaitSegments(t, j, 1)
}

// TestDropped: what a lane gave up is in its cursor's entry, and not in the
// state.
func TestDropped(t *testing.T) {
	mem := fault.NewMem()
	j := openWith(t, small(mem))
	lane := laneOf(t, j, "k")
	o := wanted(t, j, "x", 7)
	want := journal.Cursor{Low: o + 1, Rules: []uint32{7}, Dropped: []journal.Drop{
		{Reason: "drop_oldest", Ranges: []journal.Range{{First: 1, Last: 1}, {First: o, Last: o}}},
		{Reason: "max_age", Ranges: []journal.Range{{First: 1, Last: 1}}},
	}}
	settle(t, j, lane, want)
	if c, _ := j.Cursor(lane); c.Dropped != nil {
		t.Error(c)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	name := files(t, mem, ".seg")[0]
	var got []journal.Cursor
	_, err := journal.ScanAll(content(t, mem, name), 1, journal.SegmentID(base(name)), func(f []byte) {
		if c, ok := journal.CursorOf(f); ok {
			got = append(got, c)
		}
	})
	if d := cmp.Diff([]journal.Cursor{want}, got); d != "" || err != nil {
		t.Error(d, err)
	}
}
