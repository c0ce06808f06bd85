package journal_test

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// BenchmarkCatchUp is what a reader that catches up from disk, as fast as it
// can, costs those who append, against the same reader when it keeps up. Both
// take turns in one run; intake is 64 writers that wait for bursts of 16.
func BenchmarkCatchUp(b *testing.B) {
	j := openWith(b, journal.Options{Dir: filepath.Join(b.TempDir(), "j")})
	awaitSpare(b, j)
	fillBench(b, j, 500_000)
	w := newWatermark(j)
	var rates [2]rate
	var caught rate
	b.ResetTimer()
	for range b.N {
		follower := j.NewReader(j.Stored() + 1)
		rates[0].add(intake(b, j, w, func(stop *atomic.Bool) { follow(b, follower, stop) }))
		follower.Close()
		rates[1].add(intake(b, j, w, func(stop *atomic.Bool) {
			start := time.Now()
			caught.add(catchUp(b, j, stop), time.Since(start))
		}))
	}
	b.ReportMetric(rates[0].perSecond(), "appends/s-keeping-up")
	b.ReportMetric(rates[1].perSecond(), "appends/s-catching-up")
	b.ReportMetric(100*(1-rates[1].perSecond()/rates[0].perSecond()), "%-cost")
	b.ReportMetric(caught.perSecond(), "caught-up/s")
}

// rate is how many in how long.
type rate struct {
	n int
	d time.Duration
}

func (r *rate) add(n int, d time.Duration) { r.n, r.d = r.n+n, r.d+d }

func (r *rate) perSecond() float64 { return float64(r.n) / r.d.Seconds() }

const phase = 300 * time.Millisecond

// intake appends for a while beside a reader and returns how many entries were
// stored in how long.
func intake(b *testing.B, j *journal.Journal, w *watermark, read func(stop *atomic.Bool)) (int, time.Duration) {
	b.Helper()
	var stop atomic.Bool
	var all sync.WaitGroup
	all.Go(func() { read(&stop) })
	before, start := j.Stored(), time.Now()
	for n := range 64 {
		all.Go(func() {
			for !stop.Load() {
				left := atomic.Int64{}
				left.Store(burst)
				appendBursts(b, j, w, n, &left)
			}
		})
	}
	<-time.After(phase)
	count, took := int(j.Stored()-before), time.Since(start)
	stop.Store(true)
	all.Wait()
	return count, took
}

// follow reads and decodes what is stored as it comes.
func follow(b *testing.B, r *journal.Reader, stop *atomic.Bool) {
	var m message.Message
	for !stop.Load() {
		f, ok, err := r.TryNext()
		if err != nil {
			b.Error(err)
			return
		}
		if !ok {
			<-r.Ready()
			continue
		}
		_ = f.Message(&m)
	}
}

// catchUp reads and decodes the backlog from its beginning, again and again.
func catchUp(b *testing.B, j *journal.Journal, stop *atomic.Bool) (n int) {
	var m message.Message
	for !stop.Load() {
		r := j.NewReader(1)
		for i := 0; i < 400_000 && !stop.Load(); i++ {
			f, ok, err := r.TryNext()
			if err != nil || !ok {
				b.Error(ok, err)
				return n
			}
			_ = f.Message(&m)
			n++
		}
		r.Close()
	}
	return n
}
