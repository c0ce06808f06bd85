package app

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/pipelines"
	"github.com/penstock/penstock/rules"
)

// A delivery is one sink and its lane, at work or not yet.
type delivery struct {
	config  config.SinkConfig
	secrets fingerprint // of the files the configuration names
	number  uint32      // the lane's in the journal's table
	sink    bridges.Sink
	lane    *pipelines.Lane

	stop context.CancelFunc
	done chan struct{} // closed when the lane's Run returned
	err  error         // of Run, after done
}

// same reports whether a configuration asks for just this delivery.
func (d *delivery) same(c *config.SinkConfig, secrets fingerprint) bool {
	return reflect.DeepEqual(d.config, *c) && d.secrets == secrets
}

// deliveries is the sinks at work, in configuration order.
type deliveries struct {
	mu   sync.Mutex
	list []*delivery // guarded by mu; a list is never changed once set
}

func (s *deliveries) all() []*delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list
}

func (s *deliveries) set(list []*delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = list
}

// find returns the delivery of a sink, nil when there is none.
func (s *deliveries) find(name string) *delivery {
	list := s.all()
	i := slices.IndexFunc(list, func(d *delivery) bool { return d.config.Name == name })
	if i < 0 {
		return nil
	}
	return list[i]
}

// newDelivery numbers the sink's lane and builds the sink.
func (a *App) newDelivery(c *config.SinkConfig) (*delivery, error) {
	d := &delivery{config: *c, secrets: secretsOf(c)}
	var err error
	if d.number, err = a.journal.Number("lane", c.Name); err != nil {
		return nil, fmt.Errorf("number the lane: %w", err)
	}
	d.sink, err = a.newSink(c)
	return d, err
}

// newLane takes up the lane's cursor where it was stored last.
func (a *App) newLane(d *delivery, set *rules.Set, sinks int) error {
	name := d.config.Name
	lane, err := pipelines.NewLane(pipelines.LaneOptions{
		Name: name, Number: d.number, Journal: pipelines.FromJournal(a.journal),
		Evaluators: a.rulesOf(set, name).Evaluators, Sink: d.sink, Delivery: d.config.Delivery, DeadLetters: a.letters, RuleName: a.ruleName,
		Receipts: a.receipts, Share: share(a.journal.Stats().MaxBytes, sinks),
		Log: a.log.With(slog.String("lane", name)),
	})
	if err != nil {
		return err
	}
	if _, paused := a.journal.Load(pausedKind, name); paused {
		lane.Pause()
	}
	d.lane = lane
	return nil
}

// rulesOf is what a lane evaluates with.
func (a *App) rulesOf(set *rules.Set, sink string) pipelines.Rules {
	return pipelines.Rules{Evaluators: func() pipelines.Evaluator { return set.Evaluator(sink) }, Name: a.ruleName}
}

// share is what one lane may have owed to it: all lanes and the sessions have
// equal parts of what is not the journal's reserve (C7).
func share(maxBytes int64, lanes int) int64 { return maxBytes / 10 * 9 / int64(lanes+1) }

// run starts a delivery; one that stops for good does not stop the others (I7).
func (a *App) run(ctx context.Context, d *delivery) {
	ctx, d.stop = context.WithCancel(ctx)
	d.done = make(chan struct{})
	go func() {
		defer close(d.done)
		if d.err = d.lane.Run(ctx); d.err != nil {
			a.log.Error("lane stopped", slog.String("lane", d.lane.Name()), slog.Any("err", d.err))
		}
	}()
}

// halt stops deliveries, all at a time, and waits until they have settled what
// was in flight and stored their cursors.
func halt(list []*delivery) {
	for _, d := range list {
		if d.stop != nil {
			d.stop()
		}
	}
	for _, d := range list {
		if d.done != nil {
			<-d.done
		}
	}
}

// stopped reports whether the lane ended by itself, and why.
func (d *delivery) stopped() (bool, error) {
	select {
	case <-d.done:
		return true, d.err
	default:
		return false, nil
	}
}
