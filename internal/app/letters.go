package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines/deadletter"
)

// LetterFilter reads which letters a query chooses.
func LetterFilter(q url.Values) (f deadletter.Filter, err error) {
	f.Rule, f.Sink, f.Error = q.Get("rule"), q.Get("sink"), q.Get("error")
	if f.Since, err = timeOf(q, "since"); err != nil {
		return f, err
	}
	if f.Until, err = timeOf(q, "before"); err != nil {
		return f, err
	}
	if f.Limit, err = numberOf(q, "limit"); err != nil {
		return f, err
	}
	switch kind := deadletter.Kind(q.Get("kind")); kind {
	case "":
	case deadletter.RuleError, deadletter.Refused, deadletter.RuleRemoved:
		f.Kinds = []deadletter.Kind{kind}
	default:
		return f, fmt.Errorf("kind is rule_error, refused or rule_removed, not %q", kind)
	}
	if text := q.Get("seq"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || n == 0 {
			return f, fmt.Errorf("%q is not the number of a dead letter", text)
		}
		f.First, f.Last = n, n
	}
	return f, nil
}

func (a *App) answerLetters(ctx context.Context, q url.Values, emit func(any) error) error {
	f, err := LetterFilter(q)
	if err != nil {
		return err
	}
	for l, err := range a.letters.List(f) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = emit(&l)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// redrive sends letters again, through their rules as they are now.
func (a *App) redrive(ctx context.Context, q url.Values, emit func(any) error) error {
	f, err := LetterFilter(q)
	if err != nil {
		return err
	}
	counts, err := deadletter.Redrive(ctx, a.letters, f, a.evaluate, a.inject)
	if err != nil {
		return err
	}
	a.log.Info("dead letters redriven", slog.Int("count", counts.Chosen))
	return emit(counts)
}

// evaluate runs a letter's rule as it is now on the letter's message; the rule
// is known by its name, so that one which was removed and is back counts.
func (a *App) evaluate(l deadletter.Letter) ([]message.Record, error) {
	set := a.loaded.Load().Set
	number, ok := set.Find(l.Rule)
	if !ok {
		return nil, fmt.Errorf("there is no rule named %q any more", l.Rule)
	}
	m, err := l.Message()
	if err != nil {
		return nil, err
	}
	var out message.Outcome
	set.Evaluator(l.Sink).Evaluate(number, &m, &out)
	if len(out.Errors) > 0 {
		return nil, out.Errors[0].Err
	}
	records := out.Records[:0]
	for _, r := range out.Records {
		if l.Output == 0 || r.Output == l.Output {
			records = append(records, r)
		}
	}
	return records, nil
}

// inject writes records through the lane of a sink.
func (a *App) inject(ctx context.Context, sink string, records []message.Record) ([]deadletter.Outcome, error) {
	d, err := a.delivery(sink)
	if err != nil {
		return nil, err
	}
	return d.lane.Inject(ctx, records)
}

func (a *App) purge(ctx context.Context, q url.Values, emit func(any) error) error {
	f, err := LetterFilter(q)
	if err != nil {
		return err
	}
	n, err := a.letters.Purge(ctx, f)
	if err != nil {
		return err
	}
	a.log.Info("dead letters purged", slog.Int("count", n))
	return emit(n)
}

// forward hands new letters on, to where the configuration says, until ctx ends.
func (a *App) forward(ctx context.Context) {
	to := a.o.Loaded.Config.DeadLetters.Forward
	if to == nil {
		return
	}
	o := deadletter.ForwarderOptions{Store: a.letters, Topic: to.Topic, Send: a.publishLetters, Log: a.log}
	if to.Sink != "" {
		o.Topic = deadletter.ForwardSource
		o.Send = func(ctx context.Context, records []message.Record) ([]deadletter.Outcome, error) {
			return a.inject(ctx, to.Sink, records)
		}
	}
	f, err := deadletter.NewForwarder(o)
	if err == nil {
		err = f.Run(ctx)
	}
	if err != nil {
		a.log.Error("forwarding of dead letters stopped", slog.Any("err", err))
	}
}

// publishLetters publishes forwarded letters to connected subscribers.
func (a *App) publishLetters(_ context.Context, records []message.Record) ([]deadletter.Outcome, error) {
	outcomes := make([]deadletter.Outcome, len(records))
	for i := range records {
		r := &records[i]
		m := message.Message{Topic: r.Topic, Payload: r.Value, QoS: 1, Received: r.Received, Source: deadletter.ForwardSource}
		outcomes[i] = deadletter.Outcome{Fate: deadletter.Delivered, Attempts: 1}
		if err := a.broker.Publish(&m); err != nil {
			outcomes[i] = deadletter.Outcome{Fate: deadletter.Rejected, Reason: "topic", Err: err, Attempts: 1}
		}
	}
	return outcomes, nil
}
