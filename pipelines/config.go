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
	Watchdog  time.Duration `koanf:"watchdog"`   // without a confirmation for so long the sink is opened anew; 0 = 1 minute
	Order     string        `koanf:"order"`      // template of the order key, which the rules compile; "" = {client}/{topic}
}

// MaxConfig bounds what waits for a sink.
type MaxConfig struct {
	Bytes   int64         `koanf:"bytes" unit:"bytes"` // of the journal; 0 = the sink's share
	Records int64         `koanf:"records"`            // messages of the journal; 0 = no bound
	Age     time.Duration `koanf:"age"`                // since a message was received; 0 = no bound
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
	defaultWatchdog = time.Minute
)

// The largest values that make sense: beyond them a lane would wait for its
// own bounds (C15) and never fill a batch.
const (
	maxRecords  = maxUnstored
	maxBytes    = 32 << 20
	maxLinger   = time.Minute
	maxInFlight = 1024
)

// What keep_latest may be told to hold: it looks for newer records of a topic
// among those in memory, so its bound stays well within what a lane holds (C15).
const (
	maxLatestRecords = maxOpen / 2
	maxLatestBytes   = maxHeldBytes / 2
)

// minWatchdog keeps a slow answer from being taken for a dead sink.
const minWatchdog = time.Second

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
	l = append(l, c.Max.validate(c.OnFull)...)
	l = append(l, c.validatePace()...)
	if c.Retry.MaxAge < 0 {
		l = append(l, problem.New("retry.max_age", "retry.max_age may not be negative").WithHint("leave it out to try for ever"))
	}
	return l
}

// validatePace checks what says how, and how fast, a lane gets on.
func (c DeliveryConfig) validatePace() problem.List {
	var l problem.List
	if _, ok := policyOf(c.OnFull); !ok {
		l = append(l, problem.New("on_full", "on_full is %q", c.OnFull).WithHint("one of block, drop_oldest, drop_newest, keep_latest"))
	}
	if c.DrainRate < 0 {
		l = append(l, problem.New("drain_rate", "drain_rate may not be negative").WithHint("leave it out for no limit"))
	}
	if c.Watchdog != 0 && c.Watchdog < minWatchdog {
		l = append(l, problem.New("watchdog", "watchdog is too short: a slow answer would count as none").WithHint("at least 1s"))
	}
	return l
}

// validate checks the bounds for a policy.
func (m MaxConfig) validate(onFull string) problem.List {
	var l problem.List
	latest := onFull == keepLatest.String()
	within := func(path string, got, most int64, text string) {
		switch {
		case got < 0:
			l = append(l, problem.New(path, "%s may not be negative", path).WithHint("leave it out for no bound of its own"))
		case latest && got > most:
			l = append(l, problem.New(path, "keep_latest holds what waits in memory, which has no room for %s", path).
				WithHint("at most %s, or on_full: drop_oldest", text))
		}
	}
	within("max.bytes", m.Bytes, maxLatestBytes, "32MiB")
	within("max.records", m.Records, maxLatestRecords, "32768")
	if m.Age < 0 {
		l = append(l, problem.New("max.age", "max.age may not be negative").WithHint("leave it out for no bound"))
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
	if c.Watchdog == 0 {
		c.Watchdog = defaultWatchdog
	}
	return c
}
