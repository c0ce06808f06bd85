package main

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/inspect"
	"github.com/penstock/penstock/internal/journal"
)

// errDamaged says that a journal is damaged; the places have been printed.
var errDamaged = errors.New("the journal is damaged")

func (c *command) journalCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "journal",
		Short: "Look into the journal",
		Long: `Ls, cat and verify only read, take no lock, and work beside a running Penstock up
to its last stored block.`,
		Args: cobra.NoArgs, RunE: help,
	}
	cmd.AddCommand(c.journalLs(), c.journalCat(), c.journalVerify(), c.journalForget())
	return cmd
}

// A folderFlag says which journal's folder a command reads.
type folderFlag struct {
	dir    string
	config []string
	json   bool
}

func (f *folderFlag) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "dir", "", "the journal's folder (default that of the configuration)")
	cmd.Flags().StringArrayVarP(&f.config, "config", "c", nil, "the configuration (file or folder, may be repeated)")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON, one value a line")
}

// archive opens the journal to read it.
func (c *command) archive(f *folderFlag) (*journal.Archive, error) {
	dir, err := c.folder(f.dir, f.config)
	if err != nil {
		return nil, err
	}
	a, err := journal.OpenArchive(dir, nil)
	if err != nil {
		return nil, &app.EnvironmentError{Err: fmt.Errorf("read journal %s: %w", dir, err)}
	}
	return a, nil
}

func (c *command) journalLs() *cobra.Command {
	var f folderFlag
	cmd := &cobra.Command{
		Use: "ls", Short: "The segments: files, offsets, times, damage", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a, err := c.archive(&f)
			if err != nil {
				return err
			}
			if f.json {
				return inspect.Segments(a, printJSON[inspect.Segment](c.stdout))
			}
			t := newTable(c.stdout, "FILE", "STATE", "SIZE", "OFFSETS", "ENTRIES", "MESSAGES", "FROM", "TO", "DAMAGED")
			err = inspect.Segments(a, func(s *inspect.Segment) error {
				t.row(s.File, s.State, bytesText(s.Bytes), fmt.Sprintf("%d-%d", s.First, s.Last), strconv.FormatInt(s.Entries, 10),
					strconv.FormatInt(s.Messages, 10), clock(s.From), clock(s.To), strconv.Itoa(s.Damaged))
				return nil
			})
			return errors.Join(err, t.end())
		},
	}
	f.flags(cmd)
	return cmd
}

// clock is a time in a table.
func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

func (c *command) journalCat() *cobra.Command {
	var f folderFlag
	var o inspect.CatOptions
	cmd := &cobra.Command{
		Use: "cat", Short: "The entries, one JSON value a line", Args: cobra.NoArgs,
		Long: `Cat prints the entries of the journal in order: messages with the rules that want
them, cursors of lanes, names that got numbers.`,
		Example: "  penstock journal cat --dir data --from 1000 --limit 10\n  penstock journal cat --dir data --topic 'plant/7/#'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := c.archive(&f)
			if err != nil {
				return err
			}
			return inspect.Cat(cmd.Context(), a, o, printJSON[inspect.Entry](c.stdout))
		},
	}
	f.flags(cmd)
	_ = cmd.Flags().MarkHidden("json") // it is always JSON
	cmd.Flags().Uint64Var(&o.From, "from", 1, "the first offset")
	cmd.Flags().IntVar(&o.Limit, "limit", 0, "at most so many entries")
	cmd.Flags().StringVar(&o.Topic, "topic", "", "only messages whose topic this filter matches")
	cmd.Flags().StringVar(&o.Client, "client", "", "only messages of this client")
	cmd.Flags().BoolVar(&o.Messages, "messages", false, "only messages")
	return cmd
}

func (c *command) journalVerify() *cobra.Command {
	var f folderFlag
	cmd := &cobra.Command{
		Use: "verify", Short: "Read everything and say what is damaged", Args: cobra.NoArgs,
		Long: `Verify reads every byte that is certain, and changes nothing. Exit code 0: sound.
1: damaged, each place is printed. 3: it cannot be read.`,
		RunE: func(*cobra.Command, []string) error { return c.verify(&f) },
	}
	f.flags(cmd)
	return cmd
}

func (c *command) verify(f *folderFlag) error {
	a, err := c.archive(f)
	if err != nil {
		return err
	}
	n := 0
	show := printJSON[inspect.Damage](c.stdout)
	if !f.json {
		show = func(d *inspect.Damage) error {
			_, err := fmt.Fprintf(c.stdout, "%s: bytes %d-%d, offsets %d-%d: %s\n", d.File, d.From, d.To, d.First, d.Last, d.Reason)
			return err
		}
	}
	err = inspect.Verify(a, func(d *inspect.Damage) error { n++; return show(d) })
	switch {
	case err != nil:
		return err
	case n > 0:
		return fmt.Errorf("%w: %s", errDamaged, count(n, "place"))
	case !f.json:
		fmt.Fprintf(c.stdout, "sound up to offset %d\n", a.Stored())
	}
	return nil
}

func (c *command) journalForget() *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use: "forget SINK", Short: "Drop what a sink that was removed from the configuration is still owed", Args: usageArgs(cobra.ExactArgs(1)),
		Long: `Forget drops the cursor and the backlog of a sink that is not configured any
more, and says how many messages that were. It asks the running Penstock.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.change(cmd.Context(), &p, "journal/forget", url.Values{"sink": args}, decoded(func(n *int64) error {
				_, err := fmt.Fprintf(c.stdout, "forgot %s, which was owed %s\n", args[0], count(int(*n), "message"))
				return err
			}))
		},
	}
	p.flags(cmd)
	return cmd
}
