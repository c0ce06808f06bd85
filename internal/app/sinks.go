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
func (a *App) newSink(c *config.SinkConfig) (bridges.Sink, error) {
	log := a.log.With(slog.String("sink", c.Name))
	switch {
	case c.Kafka != nil:
		return kafka.New(*c.Kafka, kafka.Options{Log: log})
	case c.File != nil:
		return file.New(*c.File, file.Options{Log: log})
	case c.Stdout != nil:
		return file.NewStdout(*c.Stdout, a.o.Stdout), nil
	}
	return nil, errors.New("BUG: a sink without a kind passed the check")
}
