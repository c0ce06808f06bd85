package app

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"time"

	"github.com/penstock/penstock/internal/inspect"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/pipelines"
)

// QuestionValues is a question as a running Penstock takes it.
func QuestionValues(q inspect.Question) url.Values {
	return url.Values{
		"id": {q.ID}, "client": {q.Client}, "topic": {q.Topic},
		"since": {timeText(q.From)}, "until": {timeText(q.To)}, "limit": {strconv.Itoa(q.Limit)},
	}
}

func (a *App) answerWhy(ctx context.Context, q url.Values, emit func(any) error) error {
	question := inspect.Question{ID: q.Get("id"), Client: q.Get("client"), Topic: q.Get("topic")}
	var err error
	if question.From, err = timeOf(q, "since"); err != nil {
		return err
	}
	if question.To, err = timeOf(q, "until"); err != nil {
		return err
	}
	if question.Limit, err = numberOf(q, "limit"); err != nil {
		return err
	}
	archive, err := a.archive(ctx)
	if err != nil {
		return err
	}
	s := inspect.Sources{Archive: archive, Rules: a.loaded.Load().Set, Letters: a.letters.List, Live: a.inquire}
	return inspect.Why(ctx, s, question, func(answer *inspect.Answer) error { return emit(answer) })
}

// storeTime is how long a command waits for a disk that may fail.
const storeTime = 2 * time.Second

// awaitStored hurries until an offset is stored.
func (a *App) awaitStored(ctx context.Context, offset uint64) error {
	if tick, err := a.journal.Tick(); err == nil { // what Save and Tick append waits for company otherwise
		offset = max(offset, tick)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, storeTime, errSlowDisk)
	defer cancel()
	for a.journal.Stored() < offset {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

var errSlowDisk = errors.New("the disk takes nothing")

// archive opens the journal as those see it who only read it. What is certain
// for them ends before the last block, so that one more is written first; a
// journal that is full, or whose disk fails, is read as far as it goes.
func (a *App) archive(ctx context.Context) (*journal.Archive, error) {
	if err := a.awaitStored(ctx, 0); err != nil && ctx.Err() != nil {
		return nil, err
	}
	return journal.OpenArchive(a.loaded.Load().Config.Journal.Dir, nil)
}

// inquire asks the lane of a sink about a message.
func (a *App) inquire(ctx context.Context, sink string, offset uint64) (fate *inspect.Fate, settled bool, err error) {
	d := a.deliveries.find(sink)
	if d == nil {
		return nil, false, nil
	}
	known, err := d.lane.Inquire(ctx, offset)
	switch {
	case err != nil:
		return nil, false, err
	case known.Dropped != "":
		return &inspect.Fate{Sink: sink, State: inspect.StateDropped, Reason: known.Dropped}, true, nil
	case known.State == pipelines.Settled:
		return nil, true, nil
	}
	s := d.lane.Status()
	f := &inspect.Fate{Sink: sink, State: inspect.StatePending, Reason: "the lane has not come to it yet"}
	if known.State == pipelines.Pending {
		f.Reason = "being evaluated"
	}
	for _, r := range known.Records {
		f.Reason = r.Place
		f.Attempts, f.Error = max(f.Attempts, r.Attempts), r.LastError
	}
	if s.State != pipelines.Running {
		f.Reason += "; the lane is " + string(s.State)
		if s.Reason != "" {
			f.Reason += ": " + s.Reason
		}
	}
	return f, false, nil
}
