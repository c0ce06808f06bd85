package app_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/penstock/penstock/internal/app"
)

// Each duration is in the bucket whose bound is the first that is not below it.
func TestHistogramBuckets(t *testing.T) {
	for _, c := range []struct {
		d     time.Duration
		bound float64 // seconds; 0: above all
	}{
		{0, 1e-6},
		{time.Microsecond, 1e-6},
		{time.Microsecond + 1, 2e-6},
		{2 * time.Microsecond, 2e-6},
		{time.Millisecond, 1.024e-3},
		{1024 * time.Microsecond, 1.024e-3},
		{67 * time.Second, 67.108864},
		{68 * time.Second, 0},
		{time.Hour, 0},
	} {
		var h app.Histogram
		h.Observe(c.d, 3)
		var m dto.Metric
		if err := app.MetricOf(&h, prometheus.NewDesc("x", "x", nil, nil)).Write(&m); err != nil {
			t.Fatal(err)
		}
		first := 0.0
		for _, b := range m.Histogram.Bucket {
			if b.GetCumulativeCount() > 0 {
				first = b.GetUpperBound()
				break
			}
		}
		if first < c.bound*0.999 || first > c.bound*1.001 || m.Histogram.GetSampleCount() != 3 || m.Histogram.GetSampleSum() != 3*c.d.Seconds() {
			t.Errorf("%v: bucket %v, count %d, sum %v, want bucket %v", c.d, first, m.Histogram.GetSampleCount(), m.Histogram.GetSampleSum(), c.bound)
		}
	}
}

func TestHistogramAllocatesNothing(t *testing.T) {
	var h app.Histogram
	if n := testing.AllocsPerRun(100, func() { h.Observe(time.Millisecond, 1) }); n > 0 {
		t.Errorf("Observe allocates %v times", n)
	}
}
