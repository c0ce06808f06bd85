package app

import (
	"errors"
	"log/slog"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/bridges/file"
	"github.com/penstock/penstock/bridges/kafka"
	"github.com/penstock/penstock/config"
)

// newSink builds the connector that a sink's configuration names.
func newSink(c *config.SinkConfig, o Options) (bridges.Sink, error) {
	log := o.Log.With(slog.String("sink", c.Name))
	switch {
	case c.Kafka != nil:
		return kafka.New(*c.Kafka, kafka.Options{Log: log})
	case c.File != nil:
		return file.New(*c.File, file.Options{Log: log})
	case c.Stdout != nil:
		return file.NewStdout(*c.Stdout, o.Stdout), nil
	}
	return nil, errors.New("BUG: a sink without a kind passed the check")
}
