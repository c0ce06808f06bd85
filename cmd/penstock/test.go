package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (c *command) testCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "test FILE|FOLDER...",
		Short: "Run the rule tests written in a configuration",
		Long: `Test runs every test written under a rule's key "tests": what is given goes
through all rules, and what leaves is compared with what is expected.
Exit code 0: all passed. 1: some failed. 2: the configuration is wrong.`,
		Example: "  penstock test plant.yaml",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return c.testRules(args) },
	}
}

func (c *command) testRules(paths []string) error {
	loaded, err := c.load(paths)
	if err != nil {
		return err
	}
	failed := 0
	results := loaded.Test()
	for _, r := range results {
		if !r.OK() {
			failed++
			fmt.Fprintf(c.stdout, "FAIL %v\n", r)
		}
	}
	fmt.Fprintf(c.stdout, "%d passed, %d failed\n", len(results)-failed, failed)
	if failed > 0 {
		return errTestsFailed
	}
	return nil
}
