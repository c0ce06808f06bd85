package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/app"
)

func (c *command) tapCommand() *cobra.Command {
	var p place
	q := url.Values{}
	var topic, rule, sink string
	var limit int
	cmd := &cobra.Command{
		Use:   "tap",
		Short: "Live messages, by topic, rule or sink",
		Long: `Tap shows messages as they come in, or what rules make of them for a sink. It
slows nobody: at most 100 lines a second are shown, and how many were left out.`,
		Example: "  penstock tap --topic 'plant/+/+/telemetry'\n  penstock tap --rule hot-machines\n  penstock tap --sink plant-kafka --limit 5",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q.Set("topic", topic)
			q.Set("rule", rule)
			q.Set("sink", sink)
			q.Set("limit", strconv.Itoa(limit))
			return c.ask(cmd.Context(), &p, "tap", q, decoded(func(t *app.Tapped) error { return printTapped(c.stdout, t) }))
		},
	}
	p.flags(cmd)
	cmd.Flags().StringVar(&topic, "topic", "", "messages whose topic this filter matches (default all)")
	cmd.Flags().StringVar(&rule, "rule", "", "what this rule makes of them")
	cmd.Flags().StringVar(&sink, "sink", "", "what goes to this sink")
	cmd.Flags().IntVar(&limit, "limit", 0, "end after so many lines")
	return cmd
}

func printTapped(w io.Writer, t *app.Tapped) error {
	if t.LeftOut > 0 {
		_, err := fmt.Fprintf(w, "... %s left out\n", count(int(t.LeftOut), "line"))
		return err
	}
	if t.Rule == "" {
		_, err := fmt.Fprintf(w, "%s %s %s %s\n", clock(t.Time), cmp.Or(t.Client, "-"), t.Topic, t.Payload)
		return err
	}
	if t.Record == nil {
		_, err := fmt.Fprintf(w, "%s %s -> %s: topic %s failed: %s\n", clock(t.Time), t.Rule, t.Sink, t.Topic, t.Error)
		return err
	}
	_, err := fmt.Fprintf(w, "%s %s -> %s: topic %s key %s value %s\n", clock(t.Time), t.Rule, t.Sink, t.Record.Topic,
		text(t.Record.Key), text(t.Record.Value))
	return err
}

// text is an optional text, - when there is none.
func text(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
}
