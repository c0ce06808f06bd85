package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/app"
)

func (c *command) runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run [FILE|FOLDER...]",
		Short: "Run the broker, the rules and the lanes",
		Long: `Run starts Penstock in the foreground. Without a file it is an MQTT broker on
127.0.0.1:1883 with its journal in ./data.

SIGTERM or Ctrl-C: stop accepting, settle what is in flight for at most 5 s,
exit 0; a second signal stops at once. SIGHUP: as penstock reload, and file sinks
are opened again, for log rotation.
Exit code 1: failed while running. 2: the configuration is wrong. 3: a port is
taken, a folder is not writable, or the journal belongs to another process.`,
		Example: "  penstock run\n  penstock run plant.yaml\n  penstock run base.yaml conf.d/",
		RunE:    func(cmd *cobra.Command, args []string) error { return c.serve(cmd.Context(), args) },
	}
}

func (c *command) serve(ctx context.Context, paths []string) error {
	loaded, err := c.load(paths)
	if err != nil {
		return err
	}
	a, err := app.New(app.Options{
		Loaded:  loaded,
		Load:    func() (*config.Loaded, error) { return c.load(paths) },
		Stdout:  c.stdout,
		Log:     newLogger(c.stderr, loaded.Config.Log),
		Version: version(),
	})
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE) // a stdout sink whose reader went away gets the error instead
	ctx, stop := untilSignal(ctx)
	defer stop()
	hangups := make(chan os.Signal, 1) // 1: one pending reopen is as good as many
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	return a.Run(ctx, hangups)
}

// newLogger returns what logs as the configuration says.
func newLogger(w io.Writer, c config.LogConfig) *slog.Logger {
	o := slog.HandlerOptions{}
	if c.Level != "" {
		var level slog.Level
		_ = level.UnmarshalText([]byte(c.Level)) // it was checked
		o.Level = level
	}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, &o))
	}
	return slog.New(slog.NewTextHandler(w, &o))
}

// untilSignal returns a context that ends at the first SIGTERM or interrupt;
// from then on a second one ends the process as if nobody listened.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
