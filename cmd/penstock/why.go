package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/inspect"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/pipelines/deadletter"
	"github.com/penstock/penstock/rules"
)

func (c *command) whyCommand() *cobra.Command {
	var p place
	var dir string
	var q inspect.Question
	var since, until moment
	cmd := &cobra.Command{
		Use:   "why [ID]",
		Short: "What became of a message: rules, values, lanes, attempts, dead letters, drops",
		Long: `Why says which rules wanted a message, what each condition and output makes of it,
and for each lane whether it is still waiting, was delivered, is a dead letter, or
was dropped, and why. A message is named by its id, which travels as the header
penstock-id, or found by its client or topic and the time it came in. Delivered
messages are there for as long as journal: {keep: ...} says.`,
		Example: "  penstock why 5h2k7q0v9m1xa-3-1042\n  penstock why --client press-7 --since 10m\n  penstock why --dir data --config plant.yaml --topic 'plant/7/#'",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				q.ID = args[0]
			}
			q.From, q.To = since.Time, until.Time
			if err := q.Check(); err != nil {
				return &usageError{err}
			}
			found := 0
			show := func(a *inspect.Answer) error { found++; return printAnswer(c.stdout, a) }
			err := c.answers(cmd, &p, dir, q, show)
			if err == nil && found == 0 && !p.json {
				err = errors.New("no such message is in the journal")
			}
			return err
		},
	}
	p.flags(cmd)
	cmd.Flags().StringVar(&dir, "dir", "", "the journal's folder, to read it without a running Penstock")
	cmd.Flags().StringVar(&q.Client, "client", "", "messages of this client")
	cmd.Flags().StringVar(&q.Topic, "topic", "", "messages whose topic this filter matches")
	cmd.Flags().Var(&since, "since", "received at or after")
	cmd.Flags().Var(&until, "until", "received before")
	cmd.Flags().IntVar(&q.Limit, "limit", 10, "at most so many messages")
	return cmd
}

// answers asks the running Penstock, or the folder.
func (c *command) answers(cmd *cobra.Command, p *place, dir string, q inspect.Question, each func(*inspect.Answer) error) error {
	if dir == "" {
		return c.ask(cmd.Context(), p, "why", app.QuestionValues(q), decoded(each))
	}
	s, done, err := c.sources(dir, p.config)
	if err != nil {
		return err
	}
	if p.json {
		each = printJSON[inspect.Answer](c.stdout)
	}
	return errors.Join(inspect.Why(cmd.Context(), s, q, each), done())
}

// sources opens a folder to answer from it; the rules are those of the
// configuration, if one is named.
func (c *command) sources(dir string, paths []string) (s inspect.Sources, done func() error, err error) {
	a, err := c.archive(&folderFlag{dir: dir})
	if err != nil {
		return s, nil, err
	}
	s.Archive, done = a, func() error { return nil }
	if len(paths) > 0 {
		if s.Rules, err = c.rulesOf(a, paths); err != nil {
			return s, nil, err
		}
	}
	v, err := deadletter.OpenReadOnly(filepath.Join(dir, deadletter.FolderName), nil)
	switch {
	case err == nil:
		s.Letters, done = v.List, v.Close
	case !errors.Is(err, fs.ErrNotExist):
		return s, nil, err
	}
	return s, done, nil
}

// rulesOf compiles the configuration's rules with the numbers they have in a
// journal; rules it does not know have none there.
func (c *command) rulesOf(a *journal.Archive, paths []string) (*rules.Set, error) {
	loaded, err := c.load(paths)
	if err != nil {
		return nil, err
	}
	return loaded.Set, loaded.Set.Number(inspect.Numbers(a))
}

func printAnswer(w io.Writer, a *inspect.Answer) error {
	m := a.Message
	fmt.Fprintf(w, "message %s\n  received %s from client %q, topic %q, QoS %d\n", a.ID, clock(m.Received), m.Client, m.Topic, m.QoS)
	if len(a.Rules) == 0 {
		fmt.Fprintln(w, "  no rule wanted it; it is recorded only")
	}
	for i := range a.Rules {
		r := &a.Rules[i]
		if err := printExplained(w, m.Topic, r); err != nil {
			return err
		}
		for k := range r.Lanes {
			fmt.Fprintf(w, "    lane %s: %s\n", r.Lanes[k].Sink, fateText(&r.Lanes[k]))
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

func printExplained(w io.Writer, topic string, r *inspect.RuleAnswer) error {
	if r.Explained.Result == rules.ResultGone {
		_, err := fmt.Fprintf(w, "  rule %s: it is not there any more, and what it said is not known\n", r.Rule)
		return err
	}
	if r.Past {
		fmt.Fprintf(w, "  as rule %s was when it came in:\n", r.Rule)
	}
	return rules.Explanation{Topic: topic, Rules: []rules.RuleExplained{r.Explained}}.WriteText(indented{w})
}

// indented writes with two spaces before each line.
type indented struct{ w io.Writer }

func (i indented) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	text := strings.TrimSuffix(string(b), "\n")
	_, err := fmt.Fprintf(i.w, "  %s\n", strings.ReplaceAll(text, "\n", "\n  "))
	return len(b), err
}

func fateText(f *inspect.Fate) string {
	parts := []string{f.State}
	if f.Reason != "" {
		parts = append(parts, f.Reason)
	}
	if f.Attempts > 0 {
		parts = append(parts, count(f.Attempts, "attempt"))
	}
	if f.Error != "" {
		parts = append(parts, "last error: "+f.Error)
	}
	if !f.Settled.IsZero() {
		parts = append(parts, "settled about "+clock(f.Settled))
	}
	for _, n := range f.Letters {
		parts = append(parts, "penstock dlq show "+strconv.FormatUint(n, 10))
	}
	return strings.Join(parts, "; ")
}

// printJSON returns what prints each value as a line of JSON.
func printJSON[T any](w io.Writer) func(*T) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return func(v *T) error { return e.Encode(v) }
}
