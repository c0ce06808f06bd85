package app

import (
	"context"
	"log/slog"
	"net/url"
	"strconv"
	"time"

	"github.com/penstock/penstock/internal/inspect"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines/deadletter"
)

// A ReplayRequest asks for a replay.
type ReplayRequest struct {
	From, To   time.Time
	Rule, Sink string
	DryRun     bool // nothing is sent
	All        bool // also what comes out the same
}

// Values is the request as a running Penstock takes it.
func (r ReplayRequest) Values() url.Values {
	return url.Values{
		"from": {timeText(r.From)}, "to": {timeText(r.To)}, "rule": {r.Rule}, "sink": {r.Sink}, "all": {strconv.FormatBool(r.All)},
	}
}

// Options is the request as a dry run.
func (r ReplayRequest) Options() inspect.ReplayOptions {
	return inspect.ReplayOptions{From: r.From, To: r.To, Rule: r.Rule, Sink: r.Sink, All: r.All}
}

// A ReplayEnd is the last piece of the answer to a replay.
type ReplayEnd struct {
	Summary inspect.ReplaySummary `json:"summary"`
}

func replayOptions(q url.Values) (o inspect.ReplayOptions, err error) {
	o = ReplayRequest{Rule: q.Get("rule"), Sink: q.Get("sink"), All: q.Get("all") == "true"}.Options()
	if o.From, err = timeOf(q, "from"); err != nil {
		return o, err
	}
	o.To, err = timeOf(q, "to")
	return o, err
}

func (a *App) answerReplay(ctx context.Context, q url.Values, emit func(any) error) error {
	o, err := replayOptions(q)
	if err != nil {
		return err
	}
	return a.runReplay(ctx, o, emit)
}

// replay hands what it makes to the sinks, under the name of this run (C17).
func (a *App) replay(ctx context.Context, q url.Values, emit func(any) error) error {
	o, err := replayOptions(q)
	if err != nil {
		return err
	}
	o.Run = "r" + strconv.FormatInt(time.Now().UnixMilli(), 36)
	o.Send = a.sendReplay
	a.log.Info("replay begins", slog.String("rule", o.Rule), slog.String("sink", o.Sink), slog.String("reason", o.Run))
	return a.runReplay(ctx, o, emit)
}

func (a *App) runReplay(ctx context.Context, o inspect.ReplayOptions, emit func(any) error) error {
	archive, err := a.archive(ctx)
	if err != nil {
		return err
	}
	sum, err := inspect.Replay(ctx, archive, a.loaded.Load().Set, o, func(l *inspect.Replayed) error { return emit(l) })
	if err != nil {
		return err
	}
	return emit(ReplayEnd{sum})
}

// sendReplay hands records to a sink and says why those failed that did.
func (a *App) sendReplay(ctx context.Context, sink string, records []message.Record) ([]string, error) {
	outcomes, err := a.inject(ctx, sink, records)
	reasons := make([]string, len(outcomes))
	for i := range outcomes {
		if o := &outcomes[i]; o.Fate != deadletter.Delivered {
			reasons[i] = o.Reason
			if o.Err != nil {
				reasons[i] += ": " + o.Err.Error()
			}
		}
	}
	return reasons, err
}
