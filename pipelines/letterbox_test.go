package pipelines_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
)

// Full dead letters block the lane whose record was refused, and no other one:
// those go on, also with rule errors (C20, I7).
func TestFullDeadLettersBlockOneLane(t *testing.T) {
	refuses := &shardedSink{shard: oneShard}
	refuses.answer = func(_ context.Context, batch []message.Record) error {
		if batch[0].Value[0] == 'x' {
			return &bridges.Reject{Err: errors.New("no")}
		}
		return nil
	}
	run(t, refuses, func(r *rig) {
		r.openDead(8 << 10)
		r.start()
		well := &fakeSink{}
		other, err := pipelines.NewLane(pipelines.LaneOptions{
			Name: "well", Number: 8, Journal: r.journal, Evaluators: r.evaluators, Sink: well,
			DeadLetters: r.dead, RuleName: ruleName, State: r.journal, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- other.Run(ctx) }()
		for i := range 3 {
			r.journal.publish("a", fmt.Sprint("x", i, strings.Repeat("y", 3<<10)), 1)
			pass(time.Second)
		}
		for i := range 20 {
			r.journal.publish("a", fmt.Sprint("error ", i), 1)
			r.journal.publish("a", fmt.Sprint("v", i), 1)
			pass(time.Second)
		}
		blocked := r.total()
		want(t, "blocked", []uint64{blocked.In, blocked.DeadLettered, blocked.Pending}, []uint64{3, 2, 1})
		account := other.Account()
		pipelines.AssertBalanced(t, account)
		free := account.Total()
		want(t, "free", []uint64{free.In, free.Delivered, free.DeadLettered, free.Pending}, []uint64{43, 23, 20, 0})
		if r.dead.Stats().GivenWay == 0 {
			t.Error("no rule error gave way")
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		r.stop()
		pipelines.AssertBalanced(t, r.lane.Account())
	})
}

// What a lane wrote to the dead letters before it crashed, and writes again
// since its cursor does not cover it, is there once.
func TestLettersOfACrashAreThereOnce(t *testing.T) {
	sink := &fakeSink{answer: func(context.Context, []message.Record) error {
		return &bridges.Reject{Err: errors.New("no")}
	}}
	run(t, sink, func(r *rig) {
		r.start()
		r.journal.publish("a", "x", 1)
		r.journal.publish("a", "error", 1)
		r.journal.hold(true) // no cursor is stored any more
		pass(time.Second)
		r.journal.hold(false)
		r.stop()
		before := len(letters(t, r.path))
		r.journal.mu.Lock()
		clear(r.journal.cursors)
		r.journal.mu.Unlock()
		if _, err := r.journal.StoreCursor(7, journal.Cursor{Low: 1}); err != nil {
			t.Fatal(err)
		}
		r.start()
		pass(time.Second)
		r.stop()
		want(t, "letters", []int{before, len(letters(t, r.path))}, []int{2, 2})
	})
}
