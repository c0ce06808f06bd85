package journal_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
)

// seekable is a journal of messages at known times, also several at one time,
// with cursors and ticks between them.
func seekable(t *testing.T, o journal.Options) (j *journal.Journal, times []int64, offsets []uint64) {
	t.Helper()
	now := int64(1_000)
	o.Clock = func() time.Time { return time.UnixMilli(atomic.LoadInt64(&now)) }
	j = openWith(t, o)
	lane, err := j.Number("lane", "l")
	if err != nil {
		t.Fatal(err)
	}
	var last uint64
	for i := range 3000 {
		switch {
		case i%100 < 30:
		case i == 1500:
			atomic.AddInt64(&now, 10_000)
		default:
			atomic.AddInt64(&now, int64(i%3))
		}
		last = text(t, j, strings.Repeat("s", i%400))
		offsets, times = append(offsets, last), append(times, now)
		if i%50 == 0 {
			stored(t, j, last)
			atomic.AddInt64(&now, 1)
			if _, err := j.Tick(); err != nil {
				t.Fatal(err)
			}
			if last, err = j.StoreCursor(lane, journal.Cursor{Low: 1, Counters: make([]byte, 9000)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	stored(t, j, last)
	return j, times, offsets
}

func timeOf(ms int64) time.Time { return time.UnixMilli(ms) }

// firstAt is what Seek must answer.
func firstAt(times []int64, offsets []uint64, ms, none uint64) uint64 {
	for i, t := range times {
		if uint64(t) >= ms {
			return offsets[i]
		}
	}
	return none
}

// TestSeek: the first message at or after a time, in the journal that wrote
// it, in one opened again, and in the archive.
func TestSeek(t *testing.T) {
	for _, segment := range []int64{8 << 10, 64 << 10, 4 << 20} {
		t.Run(fmt.Sprint(segment), func(t *testing.T) {
			o := journal.Options{Dir: dir, FS: fault.NewMem(), MaxBytes: 64 << 20, SegmentBytes: segment}
			j, times, offsets := seekable(t, o)
			check := func(seek func(time.Time) uint64, none uint64) {
				t.Helper()
				r := rand.New(rand.NewPCG(3, 4))
				asked := []int64{0, 1_000, times[1500] - 1, times[1500], times[2999], times[2999] + 1, 1 << 40}
				for range 40 {
					asked = append(asked, times[r.IntN(len(times))]+r.Int64N(3)-1)
				}
				for _, ms := range asked {
					want := firstAt(times, offsets, uint64(ms), none)
					if got := seek(time.UnixMilli(ms)); got != want {
						t.Errorf("seek %d is %d, want %d", ms, got, want)
					}
				}
				if got, want := seek(time.UnixMilli(1_000).Add(time.Microsecond)), firstAt(times, offsets, 1_001, none); got != want {
					t.Errorf("seek a microsecond later is %d, want %d", got, want)
				}
			}
			check(j.Seek, j.Stored()+1)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			a := openArchive(t, o.FS)
			check(a.Seek, a.Stored()+1)
			o.Clock = nil
			j = openWith(t, o)
			check(j.Seek, j.Stored()+1)
		})
	}
}

// TestSeekReadsLittle: a few pieces, however long the journal is.
func TestSeekReadsLittle(t *testing.T) {
	mem := fault.NewMem()
	now := int64(0)
	o := journal.Options{
		Dir: dir, FS: mem, MaxBytes: 256 << 20, SegmentBytes: 2 << 20,
		Clock: func() time.Time { return time.UnixMilli(atomic.LoadInt64(&now)) },
	}
	j := openWith(t, o)
	const total = 40_000
	var last uint64
	for range total {
		last = text(t, j, strings.Repeat("s", 1000))
		atomic.AddInt64(&now, 1)
	}
	stored(t, j, last)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	o.Clock = nil
	j = openWith(t, o)
	size := j.Stats().Used
	var bytes atomic.Int64
	mem.Watch(func(op fault.Op) {
		if op.Kind == fault.Read {
			bytes.Add(int64(op.Size))
		}
	})
	if got := j.Seek(time.UnixMilli(total / 3)); got != total/3+1 {
		t.Fatalf("seek: %d", got)
	}
	if n := bytes.Load(); n > 8<<20 || n == 0 || size < 40<<20 {
		t.Fatalf("read %d of %d bytes", n, size)
	}
}

// TestSeekDamaged: around what cannot be read the answer is never too late.
func TestSeekDamaged(t *testing.T) {
	mem := fault.NewMem()
	o := journal.Options{Dir: dir, FS: mem, MaxBytes: 64 << 20, SegmentBytes: 64 << 10}
	j, times, offsets := seekable(t, o)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	o.Clock = nil
	for i, name := range files(t, mem, ".seg") {
		hurt := mem.Crash(0)
		for at := int64(i * 50); at < sizeOf(t, mem, name); at += 2000 {
			flip(t, hurt, name, at, 1)
		}
		a := openArchive(t, hurt)
		left := archived(t, a, 1)
		for k := 0; k < len(times); k += 97 {
			want := a.Stored() + 1
			for n, o := range offsets {
				if _, ok := left[o]; ok && times[n] >= times[k] {
					want = o
					break
				}
			}
			if got := a.Seek(time.UnixMilli(times[k])); got != want {
				t.Fatalf("seek %d is %d, want %d", times[k], got, want)
			}
		}
	}
}
