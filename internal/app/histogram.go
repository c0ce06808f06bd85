package app

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// histogramBuckets is from 1 us in steps of 2: the last bound is 67 s.
const histogramBuckets = 27

// A histogram counts durations. Observe is cheap enough for every commit and
// every batch of acknowledgements.
type histogram struct {
	counts [histogramBuckets + 1]atomic.Uint64 // the last one: above all bounds
	sum    atomic.Int64                        // ns
}

// Observe counts n durations of d.
func (h *histogram) Observe(d time.Duration, n int) {
	us := uint64(max(0, d-1)) / uint64(time.Microsecond) // the bound itself belongs to its bucket
	h.counts[min(bits.Len64(us), histogramBuckets)].Add(uint64(n))
	h.sum.Add(int64(d) * int64(n))
}

// metric returns the histogram as Prometheus has it, in seconds.
func (h *histogram) metric(d *prometheus.Desc) prometheus.Metric {
	buckets := make(map[float64]uint64, histogramBuckets)
	var count uint64
	for i := range h.counts {
		count += h.counts[i].Load()
		if i < histogramBuckets {
			buckets[math.Ldexp(1e-6, i)] = count
		}
	}
	return prometheus.MustNewConstHistogram(d, count, time.Duration(h.sum.Load()).Seconds(), buckets)
}
