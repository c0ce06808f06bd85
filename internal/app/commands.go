package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"time"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/problem"
)

// commands is what a running Penstock answers and does.
func (a *App) commands() map[string]admin.Command {
	return map[string]admin.Command{
		"status":         {Run: a.answerStatus},
		"why":            {Run: a.answerWhy},
		"tap":            {Run: a.answerTap},
		"dlq/ls":         {Run: a.answerLetters},
		"dlq/redrive":    {Run: a.redrive, Changes: true},
		"dlq/purge":      {Run: a.purge, Changes: true},
		"replay/dry":     {Run: a.answerReplay},
		"replay":         {Run: a.replay, Changes: true},
		"reload":         {Run: a.answerReload, Changes: true},
		"lane/pause":     {Run: a.pauser(true), Changes: true},
		"lane/resume":    {Run: a.pauser(false), Changes: true},
		"journal/forget": {Run: a.forget, Changes: true},
	}
}

func (a *App) answerStatus(_ context.Context, _ url.Values, emit func(any) error) error {
	return emit(a.Status())
}

// A configError is complaints about the configuration, which the command that
// asked for a reload prints as `penstock check` does.
type configError struct{ problem.List }

// Kind is what callers tell it by.
func (configError) Kind() string { return KindConfig }

// KindConfig is the kind of an answer that says the configuration is wrong.
const KindConfig = "config"

// IsConfigAnswer reports whether an error is a running Penstock's answer that
// its configuration is wrong.
func IsConfigAnswer(err error) bool {
	answer, ok := errors.AsType[*admin.AnswerError](err)
	return ok && answer.Kind() == KindConfig
}

func (a *App) answerReload(ctx context.Context, _ url.Values, emit func(any) error) error {
	changed, err := a.Reload(ctx)
	if list, ok := errors.AsType[problem.List](err); ok {
		return configError{list}
	}
	if err != nil {
		return err
	}
	return emit(changed)
}

// pausedKind is the kind of named state that says a lane is paused.
const pausedKind = "paused"

// pauser pauses or resumes the lane of a sink, for this run and those to come.
func (a *App) pauser(pause bool) func(context.Context, url.Values, func(any) error) error {
	return func(ctx context.Context, q url.Values, _ func(any) error) error {
		a.reloading.Lock() // a lane built meanwhile would not know
		defer a.reloading.Unlock()
		d, err := a.delivery(q.Get("sink"))
		if err != nil {
			return err
		}
		if pause {
			d.lane.Pause()
		} else {
			d.lane.Resume()
		}
		return a.notePaused(ctx, d.config.Name, pause)
	}
}

// notePaused returns when it is stored whether a lane is paused.
func (a *App) notePaused(ctx context.Context, name string, paused bool) error {
	var body []byte
	if paused {
		body = []byte{1}
	}
	offset, err := a.journal.Save(pausedKind, name, 0, body)
	if err == nil {
		err = a.awaitStored(ctx, offset)
	}
	if err != nil {
		return fmt.Errorf("note for the next start whether lane %s is paused: %w", name, err)
	}
	return nil
}

// delivery returns what serves a sink.
func (a *App) delivery(name string) (*delivery, error) {
	if d := a.deliveries.find(name); d != nil {
		return d, nil
	}
	var names []string
	for _, d := range a.deliveries.all() {
		names = append(names, d.config.Name)
	}
	hint := problem.DidYouMean(name, names)
	if hint != "" {
		hint = "; " + hint
	}
	return nil, fmt.Errorf("no sink is named %q%s", name, hint)
}

// forget drops what a sink that was removed is owed (C16).
func (a *App) forget(ctx context.Context, q url.Values, emit func(any) error) error {
	a.reloading.Lock() // it could bring the sink back meanwhile
	defer a.reloading.Unlock()
	name := q.Get("sink")
	if a.deliveries.find(name) != nil {
		return fmt.Errorf("sink %s is configured; remove it first", name)
	}
	number, ok := a.journal.Names("lane")[name]
	if _, has := a.journal.Cursor(number); !ok || !has {
		return fmt.Errorf("nothing is owed to a sink named %q", name)
	}
	n, err := a.journal.Forget(number)
	if err != nil {
		return err
	}
	if err := a.notePaused(ctx, name, false); err != nil { // who comes back under the name is new
		return err
	}
	a.log.Info("removed sink forgotten", slog.String("sink", name), slog.Int64("count", n))
	return emit(n)
}

// timeOf reads a time of a query, zero when there is none.
func timeOf(q url.Values, key string) (time.Time, error) {
	text := q.Get(key)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, fmt.Errorf("%s: %q is no time such as 2026-11-22T06:00:00Z", key, text)
	}
	return t, nil
}

// timeText is a time as timeOf reads it.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// numberOf reads a count of a query, 0 when there is none.
func numberOf(q url.Values, key string) (int, error) {
	text := q.Get(key)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s: %q is no count", key, text)
	}
	return n, nil
}
