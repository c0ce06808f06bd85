package pipelines

import (
	"time"

	"github.com/penstock/penstock/internal/problem"
)

// DeliveryConfig is the key `delivery` of a sink. Zero values are the defaults.
type DeliveryConfig struct {
	Batch    BatchConfig `koanf:"batch"`
	InFlight int         `koanf:"in_flight"` // writes in flight at a time; 0 = 4
	Retry    RetryConfig `koanf:"retry"`
	Max      MaxConfig   `koanf:"max"`
	// OnFull says what happens when Max is reached: block (default),
	// drop_oldest, drop_newest or keep_latest.
	OnFull    string        `koanf:"on_full"`
	DrainRate int           `koanf:"drain_rate"` // records a second while the lane is behind; 0 = no bound
	Watchdog  time.Duration `koanf:"watchdog"`   // without a confirmation for so long the sink is opened anew
	Order     string        `koanf:"order"`      // template of the order key, which the rules compile; "" = {client}/{topic}
}

// MaxConfig bounds what waits for a sink.
type MaxConfig struct {
	Bytes   int64         `koanf:"bytes" unit:"bytes"` // 0 = the sink's share of the journal
	Records int64         `koanf:"records"`            // 0 = no bound
	Age     time.Duration `koanf:"age"`                // 0 = no bound
}

// BatchConfig bounds one Write.
type BatchConfig struct {
	Records int           `koanf:"records"`            // 0 = 1000
	Bytes   int64         `koanf:"bytes" unit:"bytes"` // 0 = 1 MiB
	Linger  time.Duration `koanf:"linger"`             // 0 = 5 ms
}

// RetryConfig bounds how long a record is tried.
type RetryConfig struct {
	// MaxAge dead-letters a record tried for longer, time in which the sink
	// was unavailable not counted; 0 = for ever.
	MaxAge time.Duration `koanf:"max_age"`
}

// The defaults of DeliveryConfig.
const (
	defaultRecords  = 1000
	defaultBytes    = 1 << 20
	defaultLinger   = 5 * time.Millisecond
	defaultInFlight = 4
)

// The largest values that make sense: beyond them a lane would wait for its
// own bounds (C15) and never fill a batch.
const (
	maxRecords  = maxUnstored
	maxBytes    = 32 << 20
	maxLinger   = time.Minute
	maxInFlight = 1024
)

// Validate returns what is wrong with the configuration, with paths below
// `delivery`.
func (c DeliveryConfig) Validate() problem.List {
	var l problem.List
	within := func(path string, got, most int64, text string) {
		switch {
		case got < 0:
			l = append(l, problem.New(path, "%s may not be negative", path))
		case got > most:
			l = append(l, problem.New(path, "%s is more than a lane can use", path).WithHint("at most %s", text))
		}
	}
	within("batch.records", int64(c.Batch.Records), maxRecords, "16384")
	within("batch.bytes", c.Batch.Bytes, maxBytes, "32MiB")
	within("batch.linger", int64(c.Batch.Linger), int64(maxLinger), "1m")
	within("in_flight", int64(c.InFlight), maxInFlight, "1024")
	if c.Retry.MaxAge < 0 {
		l = append(l, problem.New("retry.max_age", "retry.max_age may not be negative").WithHint("leave it out to try for ever"))
	}
	return l
}

// withDefaults returns c with every zero value replaced.
func (c DeliveryConfig) withDefaults() DeliveryConfig {
	if c.Batch.Records == 0 {
		c.Batch.Records = defaultRecords
	}
	if c.Batch.Bytes == 0 {
		c.Batch.Bytes = defaultBytes
	}
	if c.Batch.Linger == 0 {
		c.Batch.Linger = defaultLinger
	}
	if c.InFlight == 0 {
		c.InFlight = defaultInFlight
	}
	return c
}
