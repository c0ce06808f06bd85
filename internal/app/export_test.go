package app

import "github.com/prometheus/client_golang/prometheus"

// Histogram is the histogram of metrics, for its tests.
type Histogram = histogram

// MetricOf returns what Prometheus gets of a histogram.
func MetricOf(h *Histogram, d *prometheus.Desc) prometheus.Metric { return h.metric(d) }
