package pipelines

import "time"

// DeliveryConfig is the key `delivery` of a sink. Zero values are the defaults.
type DeliveryConfig struct {
	Batch    BatchConfig `koanf:"batch"`
	InFlight int         `koanf:"in_flight"` // writes in flight at a time; 0 = 4
	Retry    RetryConfig `koanf:"retry"`
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
