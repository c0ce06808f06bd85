package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/app"
)

func (c *command) statusCommand() *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use:   "status",
		Short: "How the running Penstock is: journal, broker, lanes, rules, dead letters",
		Long: `Status asks the running Penstock how it is. The figures of a rule add up, always:
in = filtered + errors + passed (messages), and
records = delivered + dead letters + dropped + pending (what its outputs made).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.ask(cmd.Context(), &p, "status", nil, decoded(func(s *app.Status) error { return printStatus(c.stdout, s, time.Now()) }))
		},
	}
	p.flags(cmd)
	return cmd
}

func printStatus(w io.Writer, s *app.Status, now time.Time) error {
	ready := "ready"
	if !s.Ready {
		ready = "NOT READY"
	}
	fmt.Fprintf(w, "penstock %s, up %s, %s\n", s.Version, ago(s.Started, now), ready)
	for _, b := range s.Broken {
		fmt.Fprintf(w, "  broken: %s\n", b)
	}
	printJournal(w, &s.Journal, now)
	b := &s.Broker
	fmt.Fprintf(w, "broker   %d connections, %d sessions, %d subscriptions; in %d/%d/%d, out %d/%d/%d (QoS 0/1/2), journaled %d%s\n",
		b.Connections, b.Sessions, b.Subscriptions, b.MessagesIn[0], b.MessagesIn[1], b.MessagesIn[2],
		b.MessagesOut[0], b.MessagesOut[1], b.MessagesOut[2], b.Journaled, reasons(", dropped ", b.Dropped))
	d := &s.DeadLetters
	fmt.Fprintf(w, "letters  %d dead letters, %s of %s\n", d.Letters, bytesText(d.Bytes), bytesText(d.MaxBytes))
	for i := range s.Removed {
		r := &s.Removed[i]
		fmt.Fprintf(w, "removed  sink %s is not configured any more and is owed %s, %s; configure it again, or: penstock journal forget %s\n",
			r.Name, count(int(r.Messages), "message"), bytesText(r.Bytes), r.Name)
	}
	return printLanes(w, s.Lanes, now)
}

func printJournal(w io.Writer, j *app.JournalStatus, now time.Time) {
	fmt.Fprintf(w, "journal  %s: %s of %s in %d segments, stored up to %d", j.Dir, bytesText(j.Bytes), bytesText(j.MaxBytes), j.Segments, j.Stored)
	if j.Damaged > 0 {
		fmt.Fprintf(w, ", %d damaged regions set aside", j.Damaged)
	}
	if j.Full {
		fmt.Fprintf(w, ", FULL for %s", ago(j.FullSince, now))
	}
	if j.Failing {
		fmt.Fprintf(w, ", DISK FAILS: %s", j.LastError)
	}
	fmt.Fprintln(w)
}

func printLanes(w io.Writer, lanes []app.LaneStatus, now time.Time) error {
	if len(lanes) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := newTable(w, "LANE", "STATE", "BACKLOG", "BYTES", "OLDEST", "IN FLIGHT", "LAST CONFIRMED", "REASON")
	for i := range lanes {
		l := &lanes[i]
		t.row(l.Name, l.State, strconv.FormatInt(l.BacklogMessages, 10), bytesText(l.BacklogBytes), ago(l.Oldest, now),
			strconv.Itoa(l.InFlight), ago(l.LastConfirmed, now), cmp.Or(l.Reason, "-"))
	}
	if err := t.end(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = newTable(w, "LANE", "RULE", "IN", "FILTERED", "ERRORS", "PASSED", "RECORDS", "DELIVERED", "DEAD LETTERS", "DROPPED", "PENDING")
	for i := range lanes {
		for k := range lanes[i].Rules {
			printRule(t, lanes[i].Name, &lanes[i].Rules[k])
		}
	}
	return t.end()
}

func printRule(t *table, lane string, r *app.RuleStatus) {
	n := func(v uint64) string { return strconv.FormatUint(v, 10) }
	t.row(lane, r.Rule, n(r.In), n(r.Filtered), n(r.Errors), n(r.Passed), n(r.Records), n(r.Delivered), n(r.DeadLettered),
		cmp.Or(reasons("", r.Dropped), "0"), n(r.Pending))
}

// reasons is counts by reason as text, "" when there are none.
func reasons(before string, counts map[string]uint64) string {
	var list []string
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, fmt.Sprintf("%d %s", counts[reason], reason))
	}
	if len(list) == 0 {
		return ""
	}
	return before + strings.Join(list, ", ")
}

// ago is the time since t, "-" when t is zero.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := now.Sub(t)
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}

// bytesText is a size for people.
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
