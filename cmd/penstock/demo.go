package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/factory"
)

// demoConfig is what the demo runs: the same file would work with `penstock run`.
const demoConfig = `listeners:
  - bind: 127.0.0.1:0
sinks:
  - name: telemetry
    file: {path: telemetry.jsonl}
  - name: alarms
    file: {path: alarms.jsonl, format: envelope}
rules:
  - name: running-machines
    from: plant/{line}/{machine}/telemetry
    where: payload.state == "run"
    to:
      - sink: telemetry
        value: '{line: line, machine: machine, temp: round(payload.temp, 1), at: received}'
  - name: too-hot
    from: plant/{line}/{machine}/telemetry
    where: payload.temp > 95
    to: [{sink: alarms}]
`

// demo is the running demo: one Penstock and a factory in front of it.
type demo struct {
	command  *command
	devices  int
	rate     float64
	duration time.Duration
	dir      string
	app      *app.App
	factory  *factory.Factory
}

func (c *command) demoCommand() *cobra.Command {
	d := demo{command: c}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch a simulated factory flow through Penstock, nothing to set up",
		Long: `Demo runs in one process: the broker, a simulated factory whose devices publish
at QoS 1 and 2 over real TCP connections, two rules, and two file sinks in a
temporary folder. It prints what flows each second. Ctrl-C ends it with an exact
account of every message.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	cmd.Flags().IntVar(&d.devices, "devices", 300, "how many devices")
	cmd.Flags().Float64Var(&d.rate, "rate", 5, "messages a second of each device")
	cmd.Flags().DurationVar(&d.duration, "duration", 0, "end by itself after this time (0: at Ctrl-C)")
	return cmd
}

func (d *demo) run(ctx context.Context) error {
	if d.devices < 1 || d.rate <= 0 {
		return &usageError{fmt.Errorf("--devices and --rate must be positive")}
	}
	dir, err := os.MkdirTemp("", "penstock-demo-")
	if err != nil {
		return &app.EnvironmentError{Err: err}
	}
	defer os.RemoveAll(dir)
	d.dir = dir
	if err := d.build(); err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	if d.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.duration)
		defer cancel()
	}
	return d.flow(ctx)
}

// build writes the configuration and makes Penstock of it.
func (d *demo) build() error {
	path := filepath.Join(d.dir, "penstock.yaml")
	if err := os.WriteFile(path, []byte(demoConfig), 0o600); err != nil {
		return &app.EnvironmentError{Err: err}
	}
	loaded, err := d.command.load([]string{path})
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(d.command.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	d.app, err = app.New(app.Options{Loaded: loaded, Stdout: d.command.stdout, Log: log, Version: version()})
	return err
}

// flow runs everything until ctx ends, then stops the devices first, so that
// the account is complete when Penstock stops.
func (d *demo) flow(ctx context.Context) error {
	appCtx, stopApp := context.WithCancel(context.WithoutCancel(ctx))
	defer stopApp()
	served := make(chan error, 1) // 1: the result of the one Run
	go func() { served <- d.app.Run(appCtx, nil) }()
	fmt.Fprintf(d.command.stdout, "This is the configuration:\n\n%s\n%d devices publish to %v, %g messages a second each. Ctrl-C ends.\n\n",
		demoConfig, d.devices, d.app.Addrs()[0], d.rate)
	d.factory = factory.Start(appCtx, factory.Plan{Addr: d.app.Addrs()[0].String(), Devices: d.devices, Rate: d.rate})
	err := d.watch(ctx, served)
	if err == nil {
		err = d.factory.Stop() // the last acknowledgements are in
		d.settle(appCtx)
		stopApp()
		err = errors.Join(err, <-served)
	}
	d.account()
	return err
}

// watch prints a line each second until ctx ends or Penstock fails.
func (d *demo) watch(ctx context.Context, served <-chan error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := d.figures()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-served:
			return fmt.Errorf("penstock ended: %w", err)
		case <-tick.C:
			now := d.figures()
			fmt.Fprintf(d.command.stdout, "sent %6d/s   acknowledged %6d/s   telemetry %6d/s   alarms %5d/s   pending %d\n",
				now.sent-last.sent, now.acked-last.acked, now.delivered[0]-last.delivered[0], now.delivered[1]-last.delivered[1], now.pending)
			last = now
		}
	}
}

type figures struct {
	sent, acked int64
	delivered   [2]uint64 // telemetry, alarms
	pending     uint64
}

func (d *demo) figures() figures {
	f := figures{}
	if d.factory != nil {
		f.sent, f.acked = d.factory.Counters.Sent.Load(), d.factory.Counters.Acked.Load()
	}
	for i, a := range d.app.Accounts() {
		total := a.Total()
		f.delivered[i] = total.Delivered
		f.pending += total.Pending
	}
	return f
}

// settle waits until the lanes have taken every acknowledged message and
// delivered it, at most 5 s.
func (d *demo) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !d.settled() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// settled: each lane has one rule, and each rule wants every message.
func (d *demo) settled() bool {
	for _, a := range d.app.Accounts() {
		if t := a.Total(); t.Pending > 0 || t.In < uint64(d.factory.Counters.Acked.Load()) {
			return false
		}
	}
	return true
}

// account prints what became of every message.
func (d *demo) account() {
	c := &d.factory.Counters
	fmt.Fprintf(d.command.stdout, "\nThe devices sent %d messages; %d were acknowledged, %d refused.\n", c.Sent.Load(), c.Acked.Load(), c.Refused.Load())
	for _, a := range d.app.Accounts() {
		t, name := a.Total(), a.Lane
		fmt.Fprintf(d.command.stdout, "%-10s in %d = filtered %d + rule errors %d + passed %d;  records %d = delivered %d + dead-lettered %d + dropped %d + pending %d;  lines in %s.jsonl: %d\n",
			name+":", t.In, t.Filtered, t.Errors, t.Passed, t.Records, t.Delivered, t.DeadLettered, t.DroppedSum(), t.Pending, name, countLines(filepath.Join(d.dir, name+".jsonl")))
	}
}

// countLines counts the lines of a file; 0 when it cannot be read.
func countLines(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	return bytes.Count(text, []byte{'\n'})
}
