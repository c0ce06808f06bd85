package pipelines_test

import (
	"strings"
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
			Max: pipelines.MaxConfig{Bytes: 1 << 40, Records: 1 << 40, Age: time.Hour}, OnFull: "drop_newest",
			DrainRate: 1, Watchdog: time.Second, Order: "{client}",
		}, nil},
		{"negative bounds", pipelines.DeliveryConfig{
			Max: pipelines.MaxConfig{Bytes: -1, Records: -1, Age: -1}, DrainRate: -1, Watchdog: -1,
		}, []string{"max.bytes", "max.records", "max.age", "drain_rate", "watchdog"}},
		{"unknown policy", pipelines.DeliveryConfig{OnFull: "drop", Watchdog: time.Second - 1}, []string{"on_full", "watchdog"}},
		{"most that keep_latest holds", pipelines.DeliveryConfig{
			OnFull: "keep_latest", Max: pipelines.MaxConfig{Bytes: 32 << 20, Records: 32768},
		}, nil},
		{"more than keep_latest holds", pipelines.DeliveryConfig{
			OnFull: "keep_latest", Max: pipelines.MaxConfig{Bytes: 32<<20 + 1, Records: 32769},
		}, []string{"max.bytes", "max.records"}},
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
				if p.Message == "" || p.Hint == "" && strings.HasPrefix(p.Path, "max.") {
					t.Errorf("%s has no message", p.Path)
				}
			}
			want(t, "paths", paths, c.want)
		})
	}
}
