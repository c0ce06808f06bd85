package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/inspect"
	"github.com/penstock/penstock/rules"
)

func (c *command) replayCommand() *cobra.Command {
	var p place
	var dir string
	var r app.ReplayRequest
	var from, to moment
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Take a stretch of the journal through the rules as they are now",
		Long: `Replay reads the messages received in a stretch of time, takes those that a rule
wants through it as it is now, and hands what comes out to the sinks, with the
replay's name at the end of each id. It needs messages that are still there:
journal: {keep: 24h} keeps delivered ones, journal: {record: [...]} those no rule
wants yet. --dry-run sends nothing, and shows how what the rules make of each
message now differs from what they made of it then.`,
		Example: "  penstock replay --from 2h --rule hot-machines --dry-run\n  penstock replay --from 2026-11-22T06:00:00Z --to 2026-11-22T07:00:00Z --sink plant-kafka",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r.From, r.To = from.Time, to.Time
			if dir != "" {
				return c.replayOffline(cmd, &p, dir, r)
			}
			each := c.printReplay
			if r.DryRun {
				return c.ask(cmd.Context(), &p, "replay/dry", r.Values(), each)
			}
			return c.change(cmd.Context(), &p, "replay", r.Values(), each)
		},
	}
	p.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&dir, "dir", "", "the journal's folder, to read it without a running Penstock; with --dry-run and --config")
	f.Var(&from, "from", "received at or after")
	f.Var(&to, "to", "received before (default: to the end)")
	f.StringVar(&r.Rule, "rule", "", "through this rule only")
	f.StringVar(&r.Sink, "sink", "", "for this sink only")
	f.BoolVar(&r.DryRun, "dry-run", false, "send nothing, show the difference")
	f.BoolVar(&r.All, "all", false, "also show messages that come out the same, or not at all")
	_ = cmd.MarkFlagRequired("from")
	cmd.MarkFlagsOneRequired("rule", "sink")
	return cmd
}

func (c *command) replayOffline(cmd *cobra.Command, p *place, dir string, r app.ReplayRequest) error {
	if !r.DryRun || len(p.config) == 0 {
		return &usageError{errors.New("--dir reads a folder only: say --dry-run, and --config for the rules")}
	}
	s, done, err := c.sources(dir, p.config)
	if err != nil {
		return err
	}
	show := p.or(c.stdout, c.printReplay)
	emit := func(v any) error {
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return show(append(text, '\n'))
	}
	sum, err := inspect.Replay(cmd.Context(), s.Archive, s.Rules, r.Options(), func(l *inspect.Replayed) error { return emit(l) })
	if err == nil {
		err = emit(app.ReplayEnd{Summary: sum})
	}
	return errors.Join(err, done())
}

// printReplay prints a line of a replay, or its end.
func (c *command) printReplay(piece json.RawMessage) error {
	var l struct {
		inspect.Replayed
		app.ReplayEnd
	}
	if err := json.Unmarshal(piece, &l); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if l.ID == "" {
		return c.printReplayEnd(&l.Summary)
	}
	fmt.Fprintf(c.stdout, "%s %s %s -> %s: %s", l.ID, l.Topic, l.Rule, l.Sink, l.Result)
	if l.Reason != "" {
		fmt.Fprintf(c.stdout, " (%s)", l.Reason)
	}
	if l.Then != "" {
		fmt.Fprintf(c.stdout, ", %s", l.Then)
	}
	fmt.Fprintln(c.stdout)
	return rules.WriteDifferences(indented{c.stdout}, l.Diff)
}

func (c *command) printReplayEnd(s *inspect.ReplaySummary) error {
	_, err := fmt.Fprintf(c.stdout, "%s read: %d records, %d filtered, %d rule errors", count(s.Messages, "message"), s.Records, s.Filtered, s.Errors)
	if s.Run == "" {
		fmt.Fprintf(c.stdout, "; against then: %d same, %d changed, %d new, %d gone\n", s.Same, s.Changed, s.New, s.Gone)
		return err
	}
	fmt.Fprintf(c.stdout, "; %d delivered, %d refused; ids end with .%s\n", s.Delivered, s.Refused, s.Run)
	if s.Refused > 0 {
		return errors.New("some records were refused")
	}
	return err
}
