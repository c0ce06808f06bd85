package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/pipelines/deadletter"
)

func (c *command) dlqCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Dead letters: list, look at, send again, remove",
		Long: `A dead letter is what a sink refused for good, what a rule could not do, or what a
removed rule still owed, kept with its cause. Ls and show work with --dir on the
folder alone; redrive and purge ask the running Penstock.`,
		Args: cobra.NoArgs, RunE: help,
	}
	cmd.AddCommand(c.dlqLs(), c.dlqShow(), c.dlqRedrive(), c.dlqPurge())
	return cmd
}

// A letterChoice is the flags that choose letters.
type letterChoice struct {
	rule, sink, kind, err string
	since, before         moment
	limit                 int
}

func (l *letterChoice) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&l.rule, "rule", "", "only of this rule")
	f.StringVar(&l.sink, "sink", "", "only for this sink")
	f.StringVar(&l.kind, "kind", "", "only rule_error, refused or rule_removed")
	f.StringVar(&l.err, "error", "", "only with this text in the reason or the error")
	f.Var(&l.since, "since", "only those that became letters at or after")
	f.Var(&l.before, "before", "only those that became letters before")
	f.IntVar(&l.limit, "limit", 0, "at most so many")
}

// query is the choice as the running Penstock takes it.
func (l *letterChoice) query(seq string) url.Values {
	return url.Values{
		"rule": {l.rule}, "sink": {l.sink}, "kind": {l.kind}, "error": {l.err}, "seq": {seq},
		"since": {l.since.String()}, "before": {l.before.String()}, "limit": {strconv.Itoa(l.limit)},
	}
}

// offline returns the letters of a folder.
func (c *command) offline(dir string, q url.Values, each func(json.RawMessage) error) error {
	filter, err := app.LetterFilter(q)
	if err != nil {
		return &usageError{err}
	}
	v, err := deadletter.OpenReadOnly(filepath.Join(dir, deadletter.FolderName), nil)
	if err != nil {
		return &app.EnvironmentError{Err: fmt.Errorf("read dead letters: %w", err)}
	}
	return errors.Join(pieces(v.List(filter), each), v.Close())
}

// pieces hands letters on as a running Penstock would.
func pieces(letters iter.Seq2[deadletter.Letter, error], each func(json.RawMessage) error) error {
	for l, err := range letters {
		if err != nil {
			return err
		}
		text, err := json.Marshal(&l)
		if err != nil {
			return err
		}
		if err := each(append(text, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// letters asks the running Penstock, or the folder.
func (c *command) letters(cmd *cobra.Command, p *place, dir string, q url.Values, each func(*deadletter.Letter) error) error {
	if dir != "" {
		return c.offline(dir, q, p.or(c.stdout, decoded(each)))
	}
	if _, err := app.LetterFilter(q); err != nil {
		return &usageError{err}
	}
	return c.ask(cmd.Context(), p, "dlq/ls", q, decoded(each))
}

func (c *command) dlqLs() *cobra.Command {
	var p place
	var l letterChoice
	var dir string
	cmd := &cobra.Command{
		Use: "ls", Short: "List dead letters", Args: cobra.NoArgs,
		Example: "  penstock dlq ls --sink plant-kafka --since 24h\n  penstock dlq ls --dir data --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			t := newTable(c.stdout, "NUMBER", "TIME", "KIND", "RULE", "SINK", "TOPIC", "ATTEMPTS", "REASON")
			n := 0
			err := c.letters(cmd, &p, dir, l.query(""), func(l *deadletter.Letter) error {
				n++
				topic := "-"
				if l.Record != nil {
					topic = l.Record.Topic
				}
				t.row(strconv.FormatUint(l.Seq, 10), clock(l.Time), string(l.Kind), l.Rule, l.Sink, topic, strconv.Itoa(l.Attempts), why(l))
				return nil
			})
			switch {
			case err != nil || p.json:
				return err
			case n == 0:
				_, err = fmt.Fprintln(c.stdout, "no dead letters")
				return err
			}
			return t.end()
		},
	}
	p.flags(cmd)
	l.flags(cmd)
	cmd.Flags().StringVar(&dir, "dir", "", "the journal's folder, to read it without a running Penstock")
	return cmd
}

// why is the cause of a letter in one line.
func why(l *deadletter.Letter) string {
	if l.Error == "" {
		return l.Reason
	}
	return l.Reason + ": " + l.Error
}

func (c *command) dlqShow() *cobra.Command {
	var p place
	var dir string
	cmd := &cobra.Command{
		Use: "show NUMBER", Short: "All of one dead letter", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			found := false
			err := c.letters(cmd, &p, dir, url.Values{"seq": args}, func(l *deadletter.Letter) error {
				found = true
				text, err := json.MarshalIndent(l, "", "  ")
				if err == nil {
					_, err = fmt.Fprintf(c.stdout, "%s\n", text)
				}
				return err
			})
			if err == nil && !found && !p.json {
				err = fmt.Errorf("there is no dead letter %s", args[0])
			}
			return err
		},
	}
	p.flags(cmd)
	cmd.Flags().StringVar(&dir, "dir", "", "the journal's folder, to read it without a running Penstock")
	return cmd
}

func (c *command) dlqRedrive() *cobra.Command {
	var p place
	var l letterChoice
	cmd := &cobra.Command{
		Use: "redrive [NUMBER...]", Short: "Send dead letters again, through the rules as they are now",
		Long: `Redrive takes the original message of each letter through the rule as it is now,
under its old id, and hands what comes out to the sink. A letter goes when the
sink has confirmed; one that fails again stays, with one more attempt. It waits
while the sink is unavailable; Ctrl-C ends it, and loses nothing. Redriven records
come after those that were delivered since. Exit code 1: some failed again.`,
		Example: "  penstock dlq redrive 17\n  penstock dlq redrive --rule hot-machines --since 2h\n  penstock dlq redrive --all",
		RunE:    c.chosen(&p, &l, "dlq/redrive", decoded(c.printRedriven)),
	}
	p.flags(cmd)
	l.flags(cmd)
	cmd.Flags().Bool("all", false, "all dead letters")
	return cmd
}

// printRedriven prints what became of redriven letters.
func (c *command) printRedriven(n *deadletter.Counts) error {
	_, err := fmt.Fprintf(c.stdout, "%s: %d delivered, %d not wanted by the rule any more, %d refused again, %d failed in the rule again, %d not taken yet\n",
		count(n.Chosen, "letter"), n.Delivered, n.Filtered, n.Refused, n.Failed, n.Waiting)
	if err != nil {
		return err
	}
	if n.Refused+n.Failed+n.Unread > 0 {
		return errors.New("some letters failed again; penstock dlq ls shows why")
	}
	return nil
}

// chosen is what commands do that change letters: all of them only if that is
// said.
func (c *command) chosen(p *place, l *letterChoice, name string, show func(json.RawMessage) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		all, err := cmd.Flags().GetBool("all")
		if err != nil {
			return err
		}
		some := len(args) > 0 || *l != letterChoice{}
		if some == all {
			return &usageError{errors.New("name letters by number, choose some with flags, or say --all")}
		}
		if len(args) == 0 {
			args = []string{""}
		}
		for _, seq := range args {
			if _, err := app.LetterFilter(l.query(seq)); err != nil {
				return &usageError{err}
			}
		}
		for _, seq := range args {
			if err := c.change(cmd.Context(), p, name, l.query(seq), show); err != nil {
				return err
			}
		}
		return nil
	}
}

func (c *command) dlqPurge() *cobra.Command {
	var p place
	var l letterChoice
	cmd := &cobra.Command{
		Use: "purge [NUMBER...]", Short: "Remove dead letters for good",
		Example: "  penstock dlq purge 17 18\n  penstock dlq purge --kind rule_error --before 7d\n  penstock dlq purge --all",
		RunE: c.chosen(&p, &l, "dlq/purge", decoded(func(n *int) error {
			_, err := fmt.Fprintf(c.stdout, "%s removed\n", count(*n, "letter"))
			return err
		})),
	}
	p.flags(cmd)
	l.flags(cmd)
	cmd.Flags().Bool("all", false, "all dead letters")
	return cmd
}
