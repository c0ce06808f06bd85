package app

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/penstock/penstock/pipelines"
)

// Status returns how Penstock is now.
func (a *App) Status() Status {
	s := Status{
		Version: a.o.Version, Started: a.started.UTC(), Journal: a.journalStatus(), Broker: a.brokerStatus(),
		Removed: a.removed(), DeadLetters: a.letterStatus(),
	}
	for _, d := range a.deliveries.all() {
		s.Lanes = append(s.Lanes, laneStatus(d))
	}
	s.Ready, s.Broken = s.ready(), s.broken()
	return s
}

func (a *App) journalStatus() JournalStatus {
	j := a.journal.Stats()
	s := JournalStatus{
		Dir: a.loaded.Load().Config.Journal.Dir, Bytes: j.Bytes, MaxBytes: j.MaxBytes, Segments: j.Segments, Stored: j.Stored,
		Damaged: j.Damaged, Full: j.Full, FullSince: utc(j.FullSince), Failing: j.Failing,
	}
	if j.LastError != nil {
		s.LastError = j.LastError.Error()
	}
	return s
}

func (a *App) brokerStatus() BrokerStatus {
	b := a.broker.Stats()
	s := BrokerStatus{
		Connections: b.Connections, Sessions: b.Sessions, Subscriptions: b.Subscriptions, Retained: b.Retained,
		MessagesIn: b.MessagesIn, MessagesOut: b.MessagesOut, Journaled: b.Journaled, Dropped: b.Dropped,
	}
	for _, addr := range a.broker.Addrs() {
		s.Listeners = append(s.Listeners, addr.String())
	}
	return s
}

func laneStatus(d *delivery) LaneStatus {
	l := d.lane.Status()
	s := LaneStatus{
		Name: l.Name, State: string(l.State), Reason: l.Reason, Since: utc(l.Since),
		BacklogMessages: l.Messages, BacklogBytes: l.Bytes, Full: !l.Full.IsZero(), Oldest: utc(l.Oldest), InFlight: l.InFlight,
		Breaker: l.Breaker, LastConfirmed: utc(l.LastConfirmed), LastError: l.LastError,
	}
	if s.State == string(pipelines.Unavailable) && l.LastError != "" {
		s.Reason += ": " + l.LastError
	}
	account := d.lane.Account()
	for i := range account.Rules {
		s.Rules = append(s.Rules, ruleStatus(&account.Rules[i]))
	}
	return s
}

func ruleStatus(r *pipelines.RuleAccount) RuleStatus {
	return RuleStatus{
		Rule: r.Name, In: r.In, Filtered: r.Filtered, Missing: r.FilteredMissing, Errors: r.Errors, Passed: r.Passed,
		Records: r.Records, Delivered: r.Delivered, DeadLettered: r.DeadLettered, Dropped: r.Dropped, Pending: r.Pending,
	}
}

func (a *App) letterStatus() DeadLetterStatus {
	l := a.letters.Stats()
	return DeadLetterStatus{
		Letters: int64(l.Refused.Letters + l.RuleErrors.Letters), Bytes: l.Refused.Bytes + l.RuleErrors.Bytes,
		MaxBytes: l.Refused.MaxBytes + l.RuleErrors.MaxBytes, RuleErrors: int64(l.RuleErrors.Letters), GaveWay: l.GivenWay,
	}
}

// removed returns the sinks that are not configured any more and are owed
// messages: their cursors and backlogs stay until somebody decides (C16).
func (a *App) removed() (list []RemovedSink) {
	cursors := a.journal.Cursors()
	lanes := a.journal.Names("lane")
	for _, name := range slices.Sorted(maps.Keys(lanes)) {
		number := lanes[name]
		if _, has := cursors[number]; !has || a.deliveries.find(name) != nil {
			continue
		}
		if messages, bytes := a.journal.Owed(number); messages > 0 {
			list = append(list, RemovedSink{name, messages, bytes})
		}
	}
	return list
}

// tellRemoved says at the start and after a reload which removed sinks are owed messages.
func (a *App) tellRemoved() {
	for _, r := range a.removed() {
		a.log.Warn("a sink that is not configured any more is owed messages; configure it again, or: penstock journal forget",
			slog.String("sink", r.Name), slog.Int64("count", r.Messages))
	}
}

// utc is a time as Penstock writes it; zero stays zero.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}
