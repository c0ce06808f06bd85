package journal_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
)

func base(name string) string { return filepath.Base(name) }

// content is what a file holds.
func content(t testing.TB, fs fault.FS, name string) []byte {
	t.Helper()
	f, err := fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, sizeOf(t, fs, name))
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFooterSaysWhatIsThere: of every sealed segment the footer says what
// reading it finds: messages, times, rules, frames with state.
func TestFooterSaysWhatIsThere(t *testing.T) {
	mem := fault.NewMem()
	now := time.UnixMilli(5000)
	o := small(mem)
	o.Clock = func() time.Time { return now }
	j := openWith(t, o)
	lane := laneOf(t, j, "k")
	for i := range 200 {
		now = now.Add(time.Second)
		e := journal.Entry{Message: textMessage(strings.Repeat("f", 500)), Rules: [][]uint32{{1}, {2, 1}, nil}[i%3]}
		switch i % 10 {
		case 0:
			e = journal.Entry{Change: []byte("change")}
		case 3:
			e.Deliveries = []journal.Delivery{{Session: 1, Position: uint64(i)}}
		case 5:
			e.RetainedSet = true
		}
		offset, err := j.Append([]journal.Entry{e})
		if err != nil {
			t.Fatal(err)
		}
		stored(t, j, offset)
		settle(t, j, lane, journal.Cursor{Low: 1})
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	segments := files(t, mem, ".seg")
	if len(segments) < 5 {
		t.Fatalf("%d segments", len(segments))
	}
	for _, name := range segments {
		b := content(t, mem, name)
		said := journal.FooterOf(b, base(name))
		if found := journal.FactsOf(b, base(name)); said != found || !strings.Contains(said, "count:") {
			t.Errorf("%s: %s", base(name), cmp.Diff(found, said))
		}
	}
}

// TestOpenReadsFooters: opening reads the newest segment and the ends of the
// others, also when a crash left the newest without a footer.
func TestOpenReadsFooters(t *testing.T) {
	mem := fault.NewMem()
	j := openWith(t, small(mem))
	settle(t, j, laneOf(t, j, "k"), journal.Cursor{Low: 1})
	for range 100 {
		wanted(t, j, strings.Repeat("f", 500), 1)
	}
	for range 3 {
		back := mem.Crash(0) // and every life ends like that
		var mu sync.Mutex
		readBytes := map[string]int{}
		back.Watch(func(op fault.Op) {
			mu.Lock()
			defer mu.Unlock()
			if op.Kind == fault.Read {
				readBytes[op.Name] += op.Size
			}
		})
		segments := files(t, back, ".seg")
		j := openWith(t, small(back))
		mu.Lock()
		// One is read: the head of the newest segment is found, its entries are
		// walked through twice.
		for _, name := range segments[:len(segments)-1] {
			if n := readBytes[name]; n == 0 || n > 1000 {
				t.Errorf("%d bytes of %s were read", n, base(name))
			}
		}
		mu.Unlock()
		if n := len(read(t, j, 1)); n != 100 {
			t.Fatalf("%d messages", n)
		}
		mem = back.Crash(0)
	}
}

// TestFooterDamaged: a segment whose footer is hurt is read instead, and
// nothing else changes.
func TestFooterDamaged(t *testing.T) {
	fs, want := written(t)
	name := files(t, fs, ".seg")[1]
	size := sizeOf(t, fs, name)
	for at := size - 200; at < size; at++ {
		hurt := fs.Crash(0)
		flip(t, hurt, name, at, int(at)%8)
		j := openWith(t, journal.Options{Dir: dir, FS: hurt, MaxBytes: 1 << 20, SegmentBytes: 8 << 10})
		if d := cmp.Diff(want, read(t, j, 1)); d != "" {
			t.Fatalf("flip at %d: %s", at, d)
		}
		if got := j.Stats(); got.Damaged > 1 {
			t.Fatalf("flip at %d: %+v", at, got)
		}
		_ = j.Close()
	}
}

// TestFooterOfManyRules: there is a bound to what a footer lists, and what is
// beyond it stays owed.
func TestFooterOfManyRules(t *testing.T) {
	mem := fault.NewMem()
	o := journal.Options{Dir: dir, FS: mem, MaxBytes: 8 << 20, SegmentBytes: 1 << 20}
	j := openWith(t, o)
	lane := laneOf(t, j, "k")
	var last uint64
	entries := make([]journal.Entry, 3000)
	for i := range entries {
		entries[i] = journal.Entry{Message: textMessage("x"), Rules: []uint32{uint32(i + 10)}}
	}
	first, err := j.Append(entries)
	if err != nil {
		t.Fatal(err)
	}
	last = first + uint64(len(entries)) - 1
	stored(t, j, last)
	settle(t, j, lane, journal.Cursor{Low: first, Rules: []uint32{3009}})
	for range 3 {
		if n, _ := j.Owed(lane); n != 1 {
			t.Fatalf("owed %d", n)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = openWith(t, o)
	}
	if got := read(t, j, last); len(got) != 1 {
		t.Fatal("what is owed is gone")
	}
}

// FuzzFooter decodes any bytes as a footer; what is accepted encodes to
// something that decodes to the same.
func FuzzFooter(f *testing.F) {
	fs, _ := written(f)
	name := files(f, fs, ".seg")[0]
	b := content(f, fs, name)
	_, _ = journal.ScanAll(b, 1, journal.SegmentID(base(name)), func(frame []byte) {
		if frame[20] == 5 {
			f.Add(bytes.Clone(frame[24:]))
		}
	})
	f.Fuzz(func(t *testing.T, body []byte) {
		once, err := journal.Footer(body)
		if err != nil {
			return
		}
		twice, err := journal.Footer(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%v\n%x\n%x", err, once, twice)
		}
	})
}

// BenchmarkOpen opens a journal of so many sealed segments.
func BenchmarkOpen(b *testing.B) {
	for _, segments := range []int{10, 1000} {
		b.Run(fmt.Sprintf("segments=%d", segments), func(b *testing.B) {
			o := journal.Options{Dir: b.TempDir(), SegmentBytes: 64 << 10, Sync: journal.SyncOff}
			j := openWith(b, o)
			for j.Stats().Segments < segments {
				fillBench(b, j, 200)
			}
			for b.Loop() {
				if err := j.Close(); err != nil {
					b.Fatal(err)
				}
				j = openWith(b, o)
			}
		})
	}
}

// BenchmarkFacts is what the footer costs the committer for each entry.
func BenchmarkFacts(b *testing.B) {
	e := journal.Entry{Message: benchMessage(), Rules: []uint32{1}}
	add := journal.FactsAdder(&e)
	b.ReportAllocs()
	for b.Loop() {
		add()
	}
}
