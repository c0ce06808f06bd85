package journal_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
)

// BenchmarkLatency is what one waiting writer adds to a bare write and
// fdatasync of as many bytes into zeros. Both take turns, so that both meet
// the same disk, and the medians count: a stall of the machine is nobody's.
func BenchmarkLatency(b *testing.B) {
	dir := b.TempDir()
	j := openWith(b, journal.Options{Dir: filepath.Join(dir, "j")})
	awaitSpare(b, j)
	w := newWatermark(j)
	e := []journal.Entry{{Message: benchMessage(), Rules: []uint32{1}}}
	before := j.Stats()
	through := func() {
		first, err := j.Append(e)
		if err != nil {
			b.Fatal(err)
		}
		w.wait(first)
	}
	through()
	r := newRaw(b, dir, int(j.Stats().Used-before.Used), b.N)
	own, bare := make([]time.Duration, 0, b.N), make([]time.Duration, 0, b.N)
	const turn = 16
	b.ResetTimer()
	for n := 0; n < b.N; n += turn {
		for range min(turn, b.N-n) {
			own = append(own, took(through))
		}
		for range min(turn, b.N-n) {
			bare = append(bare, took(func() { r.write(b) }))
		}
	}
	b.StopTimer()
	slices.Sort(own)
	slices.Sort(bare)
	at := func(d []time.Duration, part int) float64 { return float64(d[len(d)*part/100].Nanoseconds()) / 1000 }
	b.ReportMetric(at(own, 50), "us/append")
	b.ReportMetric(at(bare, 50), "us/fdatasync")
	b.ReportMetric(at(own, 50)/at(bare, 50), "ratio")
	b.ReportMetric(at(own, 95)/at(bare, 95), "ratio-p95")
}

func took(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// raw writes blocks of one size, one after the other, into a file of zeros.
type raw struct {
	f     fault.File
	block []byte
	at    int64
}

func newRaw(b *testing.B, dir string, size, count int) *raw {
	b.Helper()
	f, err := fault.OS{}.OpenFile(filepath.Join(dir, "raw"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	zeros := make([]byte, 1<<20)
	for at := 0; at < size*count+1; at += len(zeros) {
		if _, err := f.WriteAt(zeros, int64(at)); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	return &raw{f: f, block: make([]byte, size)}
}

func (r *raw) write(b *testing.B) {
	if _, err := r.f.WriteAt(r.block, r.at); err != nil {
		b.Fatal(err)
	}
	r.at += int64(len(r.block))
	if err := r.f.Datasync(); err != nil {
		b.Fatal(err)
	}
}
