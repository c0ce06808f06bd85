package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/problem"
)

// Exit codes of every subcommand.
const (
	exitOK          = 0
	exitRuntime     = 1 // something failed while running, or a rule test did
	exitConfig      = 2 // the configuration or the command line is wrong
	exitEnvironment = 3 // a port is taken, a folder not writable, a journal in use
)

// A command is the process as its subcommands see it.
type command struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
}

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// testsFailed says that rule tests failed; they have been printed.
var errTestsFailed = errors.New("rule tests failed")

// run executes the command line and returns the exit code.
func (c *command) run(ctx context.Context, args []string) int {
	root := c.root() //nolint:contextcheck // cobra hands ctx to the subcommand itself
	root.SetArgs(args)
	root.SetIn(c.stdin)
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	return c.report(cmd, err)
}

// report prints the error as its kind deserves and returns the exit code.
func (c *command) report(cmd *cobra.Command, err error) int {
	if errors.Is(err, errTestsFailed) {
		return exitRuntime
	}
	var (
		problems    problem.List
		usage       *usageError
		environment *app.EnvironmentError
	)
	switch {
	case errors.As(err, &problems):
		fmt.Fprintf(c.stderr, "%v\n%s\n", problems, count(len(problems), "problem"))
		return exitConfig
	case errors.As(err, &usage):
		fmt.Fprintf(c.stderr, "penstock: %v\nTry: %s --help\n", err, cmd.CommandPath())
		return exitConfig
	case misused(err):
		fmt.Fprintf(c.stderr, "penstock: %v\nTry: %s --help\n", err, cmd.CommandPath())
		return exitConfig
	case app.IsConfigAnswer(err):
		fmt.Fprintln(c.stderr, err)
		return exitConfig
	case errors.As(err, &environment):
		fmt.Fprintf(c.stderr, "penstock: %v\n", err)
		return exitEnvironment
	}
	fmt.Fprintf(c.stderr, "penstock: %v\n", err)
	return exitRuntime
}

// misused reports whether an error is one of cobra's about the command line,
// which have no type.
func misused(err error) bool {
	return slices.ContainsFunc([]string{"unknown command", "required flag", "if any flags in the group", "at least one of the flags"},
		func(start string) bool { return strings.HasPrefix(err.Error(), start) })
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

const about = `Penstock takes device traffic over MQTT, matches and transforms it with rules,
and delivers it to Kafka or files. An acknowledgement means that the message is
stored on disk.

  penstock demo                      watch a simulated factory flow, nothing to set up
  penstock run                       an MQTT broker on 127.0.0.1:1883, journal in ./data
  penstock check plant.yaml          every mistake in a configuration, with its place
  penstock test plant.yaml           the rule tests written in the configuration
  penstock run plant.yaml            the real thing

A configuration is one or more YAML files, or folders of them.`

// root builds the command tree.
func (c *command) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "penstock",
		Short:         "Bridge MQTT devices to Kafka, losing nothing that was acknowledged",
		Long:          about,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(c.runCommand(), c.checkCommand(), c.testCommand(), c.traceCommand(), c.demoCommand(),
		c.statusCommand(), c.whyCommand(), c.tapCommand(), c.replayCommand(), c.dlqCommand(), c.journalCommand(),
		c.laneCommand(), c.reloadCommand(), c.passwdCommand(), c.versionCommand())
	for _, sub := range root.Commands() {
		sub.Args = usageArgs(sub.Args)
	}
	return root
}

// usageArgs makes a wrong number of arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		if err := check(cmd, args); err != nil {
			return &usageError{err}
		}
		return nil
	}
}
