package main

import (
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"
)

func (c *command) reloadCommand() *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the running Penstock take its configuration anew",
		Long: `Reload has the running Penstock read its configuration files again: rules,
sinks, users and certificates. All of it is built first; on any complaint the
old configuration stays. Lanes whose sink did not change are not touched.
Listeners, the journal and the admin server change at a restart only.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.change(cmd.Context(), &p, "reload", nil, decoded(func(s *string) error {
				_, err := fmt.Fprintln(c.stdout, *s)
				return err
			}))
		},
	}
	p.flags(cmd)
	return cmd
}

func (c *command) laneCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "lane", Short: "Pause and resume a lane", Args: cobra.NoArgs, RunE: help}
	for verb, what := range map[string]string{
		"pause":  "Stop delivering to a sink; what its rules want is stored meanwhile, also across restarts",
		"resume": "Deliver to a paused sink again",
	} {
		cmd.AddCommand(c.laneVerb(verb, what))
	}
	return cmd
}

func (c *command) laneVerb(verb, what string) *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use:   verb + " SINK",
		Short: what,
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.change(cmd.Context(), &p, "lane/"+verb, url.Values{"sink": args}, func(json.RawMessage) error { return nil })
		},
	}
	p.flags(cmd)
	return cmd
}

// help is what a command that only has subcommands does.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }
