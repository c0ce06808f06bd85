package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/problem"
)

func (c *command) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE|FOLDER...",
		Short: "Check a configuration without starting anything",
		Long: `Check reads the configuration, compiles every rule and prints every mistake with
its file, line and column. It starts nothing and connects to nothing.
Exit code 0: fine. 2: mistakes. 3: a file cannot be read.`,
		Example: "  penstock check plant.yaml\n  penstock check base.yaml conf.d/",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			loaded, err := c.load(args)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.stdout, "ok: %s, %s, %s\n", count(len(loaded.Config.Listeners), "listener"),
				count(len(loaded.Config.Sinks), "sink"), count(len(loaded.Config.Rules), "rule"))
			return err
		},
	}
}

// load loads the configuration and prints its warnings.
func (c *command) load(paths []string) (*config.Loaded, error) {
	loaded, err := config.Load(paths, c.environ)
	var problems problem.List
	switch {
	case errors.As(err, &problems):
		return nil, err
	case err != nil: // a file that cannot be read
		return nil, &app.EnvironmentError{Err: err}
	}
	for _, w := range loaded.Warnings {
		fmt.Fprintf(c.stderr, "warning: %v\n", w)
	}
	return loaded, nil
}
