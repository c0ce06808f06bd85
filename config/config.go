// Package config loads the configuration: it reads the files, places every
// complaint at file, line and column, and hands out one Config whose rules are
// compiled.
package config

import (
	"github.com/penstock/penstock/bridges/file"
	"github.com/penstock/penstock/bridges/kafka"
	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/broker/auth"
	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/pipelines"
	"github.com/penstock/penstock/pipelines/deadletter"
	"github.com/penstock/penstock/rules"
)

// Config is everything a user writes.
type Config struct {
	Listeners []broker.ListenerConfig `koanf:"listeners"`
	Auth      auth.Config             `koanf:"auth"`
	Admin     admin.Config            `koanf:"admin"`
	Log       LogConfig               `koanf:"log"`
	Journal   journal.Config          `koanf:"journal"`
	Limits    broker.LimitsConfig     `koanf:"limits"`

	DeadLetters deadletter.Config `koanf:"dead_letters"`

	Sinks []SinkConfig   `koanf:"sinks"`
	Rules []rules.Config `koanf:"rules"`
}

// LogConfig is the top-level key `log`.
type LogConfig struct {
	Level  string `koanf:"level"`  // debug, info (default), warn, error
	Format string `koanf:"format"` // text (default), json
}

// SinkConfig is one entry of `sinks`: a name, exactly one kind, and how to
// deliver.
type SinkConfig struct {
	Name     string                   `koanf:"name"`
	Kafka    *kafka.Config            `koanf:"kafka"`
	File     *file.Config             `koanf:"file"`
	Stdout   *file.StdoutConfig       `koanf:"stdout"`
	Delivery pipelines.DeliveryConfig `koanf:"delivery"`
}
