package journal_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// TestNumbers: a name keeps its number, no two share one, also when many ask
// at once, across restarts and segments (C16).
func TestNumbers(t *testing.T) {
	fs := fault.NewMem()
	j := open(t, fs)
	want := map[string]uint32{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			name := fmt.Sprint(i % 20)
			n, err := j.Number("rule", name)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if old := want[name]; old != 0 && old != n {
				t.Errorf("%s is %d and %d", name, old, n)
			}
			want[name] = n
		})
	}
	all.Wait()
	for range 3 {
		used := map[uint32]string{}
		for name, n := range want {
			if used[n] != "" || n == 0 {
				t.Fatalf("%s and %s are %d", name, used[n], n)
			}
			used[n] = name
		}
		if d := cmp.Diff(want, j.Names("rule")); d != "" {
			t.Fatal(d)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = open(t, fs)
		name := fmt.Sprint("new ", len(want))
		n, err := j.Number("rule", name)
		if err != nil {
			t.Fatal(err)
		}
		want[name] = n
	}
	if lane, _ := j.Number("lane", "1"); lane == want["1"] {
		t.Fatal("kinds share numbers")
	}
}

func TestCursor(t *testing.T) {
	fs := fault.NewMem()
	j := open(t, fs)
	if _, ok := j.Cursor(1); ok {
		t.Fatal("a cursor from nowhere")
	}
	lane, _ := j.Number("lane", "k")
	var last uint64
	for range 20 {
		last = text(t, j, "x")
	}
	stored(t, j, last)
	want := journal.Cursor{Low: 5, Settled: []journal.Range{{First: 7, Last: 7}, {First: 9, Last: 15}}, Counters: []byte{0, 1}}
	o, err := j.StoreCursor(lane, want)
	if err != nil {
		t.Fatal(err)
	}
	stored(t, j, o)
	for name, bad := range map[string]journal.Cursor{
		"low above stored":   {Low: o + 2},
		"range below low":    {Low: 5, Settled: []journal.Range{{First: 4, Last: 6}}},
		"range upside down":  {Low: 5, Settled: []journal.Range{{First: 8, Last: 6}}},
		"ranges overlap":     {Low: 5, Settled: []journal.Range{{First: 6, Last: 8}, {First: 8, Last: 9}}},
		"range above stored": {Low: 5, Settled: []journal.Range{{First: 6, Last: o + 1}}},
	} {
		if _, err := j.StoreCursor(lane, bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	got, ok := open(t, fs).Cursor(lane)
	if d := cmp.Diff(want, got); d != "" || !ok {
		t.Fatal(d)
	}
}

// TestReceivedNeverDecreases: along the log, through a clock that steps back
// and a restart with one that is behind (C21).
func TestReceivedNeverDecreases(t *testing.T) {
	fs := fault.NewMem()
	now := time.UnixMilli(1_000_000)
	o := journal.Options{Dir: dir, FS: fs, MaxBytes: 1 << 20, SegmentBytes: 16 << 10, Clock: func() time.Time { return now }}
	j := openWith(t, o)
	for _, step := range []int{5, -100, 1, 200} {
		now = now.Add(time.Duration(step) * time.Millisecond)
		stored(t, j, text(t, j, "x"))
	}
	for range 2 {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		now = now.Add(-time.Hour)
		j = openWith(t, o)
		stored(t, j, text(t, j, "x"))
	}
	r := j.NewReader(1)
	defer r.Close()
	var got []int64
	var m message.Message
	for {
		f, ok, err := r.TryNext()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if err := f.Message(&m); err != nil {
			t.Fatal(err)
		}
		got = append(got, m.Received-1_000_000)
	}
	if d := cmp.Diff([]int64{5, 5, 5, 106, 106, 106}, got); d != "" {
		t.Fatal(d)
	}
}

// TestIDs: two journals, and two runs of one, never give the same id.
func TestIDs(t *testing.T) {
	fs := fault.NewMem()
	seen := map[message.ID]bool{}
	ids := map[uint64]bool{}
	for range 3 {
		j := open(t, fs)
		ids[j.ID()] = true
		m := textMessage("x")
		if _, err := j.Append([]journal.Entry{{Message: m}}); err != nil {
			t.Fatal(err)
		}
		if seen[m.ID] {
			t.Fatalf("%v twice", m.ID)
		}
		seen[m.ID] = true
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	other := open(t, fault.NewMem())
	if ids[other.ID()] || len(ids) != 1 || ids[0] {
		t.Fatal(ids, other.ID())
	}
}

func TestSyncModes(t *testing.T) {
	for _, s := range []journal.Sync{journal.SyncOff, journal.Sync(5 * time.Millisecond)} {
		t.Run(s.String(), func(t *testing.T) {
			fs := fault.NewMem()
			o := journal.Options{Dir: dir, FS: fs, MaxBytes: 1 << 20, SegmentBytes: 16 << 10, Sync: s}
			j := openWith(t, o)
			want := map[uint64]string{}
			var last uint64
			for i := range 200 {
				p := fmt.Sprintf("%d %0300d", i, i)
				last = text(t, j, p)
				want[last] = p
			}
			stored(t, j, last)
			if d := cmp.Diff(want, read(t, j, 1)); d != "" {
				t.Fatal(d)
			}
			lane, _ := j.Number("lane", "x")
			if _, err := j.StoreCursor(lane, journal.Cursor{Low: 1}); err != nil {
				t.Fatal(err)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j = openWith(t, o)
			if d := cmp.Diff(want, read(t, j, 1)); d != "" {
				t.Fatal(d)
			}
			if _, ok := j.Cursor(lane); !ok {
				t.Fatal("the cursor is gone")
			}
		})
	}
}

func TestConfig(t *testing.T) {
	for text, want := range map[string]journal.Sync{
		"": journal.SyncGroup, "group": journal.SyncGroup, "off": journal.SyncOff,
		"100ms": journal.Sync(100 * time.Millisecond), "1h": journal.Sync(time.Hour),
	} {
		got, err := journal.ParseSync(text)
		if err != nil || got != want {
			t.Errorf("%q: %v %v", text, got, err)
		}
		if back, err := journal.ParseSync(got.String()); err != nil || back != got {
			t.Errorf("%q: %s does not come back: %v", text, got, err)
		}
	}
	for _, text := range []string{"never", "0ms", "2h", "100", "-1s", "1d", "99999999999999h", "1.5s", "grop"} {
		problems := journal.Config{Sync: text, MaxBytes: 1, Compression: "zst"}.Validate()
		if len(problems) != 3 || problems[2].Path != "compression" || problems[2].Hint == "" || problems[0].Path != "max_bytes" || problems[1].Path != "sync" {
			t.Errorf("%q: %v", text, problems)
		}
	}
	good := journal.Config{Dir: "d", Sync: "1s", MaxBytes: journal.MinBytes, Compression: "zstd"}
	if p := good.Validate(); len(p) != 0 {
		t.Error(p)
	}
	if o := good.Options(); o.Dir != "d" || o.MaxBytes != journal.MinBytes || o.Sync != journal.Sync(time.Second) || o.Compression != journal.CompressionZstd {
		t.Errorf("%+v", o)
	}
}
