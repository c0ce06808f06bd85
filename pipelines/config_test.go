package pipelines_test

import (
	"testing"
	"time"

	"github.com/penstock/penstock/pipelines"
)

func TestDeliveryValidate(t *testing.T) {
	cases := []struct {
		name   string
		config pipelines.DeliveryConfig
		want   []string
	}{
		{"defaults", pipelines.DeliveryConfig{}, nil},
		{"all set", pipelines.DeliveryConfig{
			Batch:    pipelines.BatchConfig{Records: 16384, Bytes: 32 << 20, Linger: time.Minute},
			InFlight: 1024, Retry: pipelines.RetryConfig{MaxAge: time.Hour},
		}, nil},
		{"negative", pipelines.DeliveryConfig{
			Batch:    pipelines.BatchConfig{Records: -1, Bytes: -1, Linger: -1},
			InFlight: -1, Retry: pipelines.RetryConfig{MaxAge: -1},
		}, []string{"batch.records", "batch.bytes", "batch.linger", "in_flight", "retry.max_age"}},
		{"too large", pipelines.DeliveryConfig{
			Batch:    pipelines.BatchConfig{Records: 16385, Bytes: 32<<20 + 1, Linger: time.Minute + 1},
			InFlight: 1025,
		}, []string{"batch.records", "batch.bytes", "batch.linger", "in_flight"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var paths []string
			for _, p := range c.config.Validate() {
				paths = append(paths, p.Path)
				if p.Message == "" {
					t.Errorf("%s has no message", p.Path)
				}
			}
			want(t, "paths", paths, c.want)
		})
	}
}
