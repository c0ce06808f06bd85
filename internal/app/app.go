// Package app builds Penstock out of its parts and runs them.
//
//	journal <- dead letters <- sinks and lanes <- broker        start, and New's order
//	broker  -> lanes and sinks -> dead letters -> journal       stop
//
// New does everything that can fail for a reason outside (a port taken, a
// folder not writable); Run blocks until it is told to stop.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
	"github.com/penstock/penstock/pipelines/deadletter"
	"github.com/penstock/penstock/rules"
)

// Options is what New needs.
type Options struct {
	Config config.Config
	Rules  *rules.Set // compiled from Config, not yet numbered
	Stdout io.Writer  // where `stdout` sinks write
	Log    *slog.Logger
}

// An EnvironmentError is one that no change of the configuration's text mends:
// a port is taken, a folder cannot be written, the journal is in use.
type EnvironmentError struct{ Err error }

func (e *EnvironmentError) Error() string { return e.Err.Error() }
func (e *EnvironmentError) Unwrap() error { return e.Err }

// An App is one Penstock.
type App struct {
	log     *slog.Logger
	journal *journal.Journal
	dead    *deadletter.Store
	sinks   []bridges.Sink
	lanes   []*pipelines.Lane
	feeds   []pipelines.Feed // of the lanes
	// receipts are what publishers wait for whose rule says delivered.
	receipts *pipelines.Receipts
	broker   *broker.Server
	closers  []closer // in the order they were opened
}

type closer struct {
	name  string
	close func() error
}

// New opens the journal and the dead letters, builds a lane for each sink and
// binds the listeners. Its errors are EnvironmentErrors.
func New(o Options) (*App, error) {
	a := &App{log: o.Log, receipts: pipelines.NewReceipts()}
	if err := a.open(o); err != nil {
		return nil, &EnvironmentError{errors.Join(err, a.close())}
	}
	return a, nil
}

func (a *App) open(o Options) error {
	if err := a.openJournal(o.Config.Journal); err != nil {
		return err
	}
	if err := a.openDeadLetters(&o.Config); err != nil {
		return err
	}
	if err := o.Rules.Number(a.journal.Number); err != nil {
		return fmt.Errorf("number the rules: %w", err)
	}
	for i := range o.Config.Sinks {
		if err := a.openLane(&o.Config.Sinks[i], o); err != nil {
			return fmt.Errorf("sink %s: %w", o.Config.Sinks[i].Name, err)
		}
	}
	return a.openBroker(o)
}

func (a *App) openJournal(c journal.Config) error {
	o := c.Options()
	o.Log = a.log
	var err error
	if a.journal, err = journal.Open(o); err != nil {
		return fmt.Errorf("open journal %s: %w", c.Dir, err)
	}
	a.closers = append(a.closers, closer{"journal", a.journal.Close})
	return nil
}

func (a *App) openDeadLetters(c *config.Config) error {
	o := c.DeadLetters.Options(c.Journal.Dir)
	o.Log = a.log
	var err error
	if a.dead, err = deadletter.Open(o); err != nil {
		return err
	}
	a.closers = append(a.closers, closer{"dead letters", a.dead.Close})
	return nil
}

// openLane numbers the sink's lane and puts the lane on the journal.
func (a *App) openLane(c *config.SinkConfig, o Options) error {
	number, err := a.journal.Number("lane", c.Name)
	if err != nil {
		return fmt.Errorf("number the lane: %w", err)
	}
	sink, err := newSink(c, o)
	if err != nil {
		return err
	}
	lane, err := pipelines.NewLane(pipelines.LaneOptions{
		Name: c.Name, Number: number, Journal: pipelines.FromJournal(a.journal),
		Evaluators: func() pipelines.Evaluator { return o.Rules.Evaluator(c.Name) },
		Sink:       sink, Delivery: c.Delivery, DeadLetters: a.dead, RuleName: o.Rules.Name,
		Receipts: a.receipts, Log: a.log.With(slog.String("lane", c.Name)),
	})
	if err != nil {
		return err
	}
	a.sinks, a.lanes = append(a.sinks, sink), append(a.lanes, lane)
	f := feed(number, c.Name, o.Rules)
	f.Share = lane.Backlog()
	a.feeds = append(a.feeds, f)
	return nil
}

// feed says which rules feed a lane, and for which of them somebody may wait.
func feed(lane uint32, sink string, set *rules.Set) pipelines.Feed {
	f := pipelines.Feed{Lane: lane, Name: sink}
	for _, r := range set.Lanes()[sink] {
		f.Rules = append(f.Rules, r.Number)
		if r.Delivered && r.Required {
			f.Required = append(f.Required, r.Number)
		}
	}
	return f
}

// routing is what the intake is told.
func (a *App) routing(o Options) pipelines.Routing {
	r := pipelines.Routing{
		Want: o.Rules.Want, Feeds: a.feeds,
		Record: o.Config.Journal.Record, Default: message.AckStored,
	}
	if o.Config.Journal.Options().Sync.Weak() { // C9
		r.Default = message.AckReceived
	}
	return r
}

func (a *App) openBroker(o Options) error {
	intake := pipelines.NewIntake(a.journal, a.receipts)
	intake.Swap(a.routing(o))
	var err error
	a.broker, err = broker.New(broker.Options{
		Listeners: o.Config.Listeners, Auth: o.Config.Auth, Intake: intake, Logger: a.log,
	})
	return err
}

// Accounts returns what became of every message, one account for each sink in
// configuration order.
func (a *App) Accounts() []pipelines.Account {
	accounts := make([]pipelines.Account, len(a.lanes))
	for i, l := range a.lanes {
		accounts[i] = l.Account()
	}
	return accounts
}

// Addrs returns the addresses the listeners really got, in configuration order.
func (a *App) Addrs() []net.Addr { return a.broker.Addrs() }

// Run serves until ctx ends, then stops: no new clients, what is in flight is
// settled for at most 5 s, cursors are stored. A value on hangups reopens the
// file sinks. It returns nil after an orderly stop.
func (a *App) Run(ctx context.Context, hangups <-chan os.Signal) error {
	lanesCtx, stopLanes := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLanes()
	var lanes sync.WaitGroup
	for _, l := range a.lanes {
		lanes.Go(func() { a.runLane(lanesCtx, l) })
	}
	done := make(chan struct{})
	var side sync.WaitGroup
	side.Go(func() { a.reopenOn(hangups, done) })
	a.announce()
	err := a.broker.Serve(ctx)
	close(done)
	side.Wait()
	notify(a.log, "STOPPING=1")
	stopLanes()
	lanes.Wait()
	a.logAccounts()
	return errors.Join(err, a.close())
}

// runLane runs one lane; one that stops for good does not stop the others (I7).
func (a *App) runLane(ctx context.Context, l *pipelines.Lane) {
	if err := l.Run(ctx); err != nil {
		a.log.Error("lane stopped", slog.String("lane", l.Name()), slog.Any("err", err))
	}
}

func (a *App) announce() {
	for _, addr := range a.broker.Addrs() {
		a.log.Info("listening", slog.String("listener", addr.String()))
	}
	a.log.Info("ready")
	notify(a.log, "READY=1")
}

// reopenOn reopens the file sinks at each hang-up until done closes.
func (a *App) reopenOn(hangups <-chan os.Signal, done <-chan struct{}) {
	for {
		select {
		case <-hangups:
			a.reopen()
		case <-done:
			return
		}
	}
}

func (a *App) reopen() {
	for i, s := range a.sinks {
		r, ok := s.(bridges.Reopener)
		if !ok {
			continue
		}
		if err := r.Reopen(); err != nil {
			a.log.Error("reopen sink", slog.String("sink", a.lanes[i].Name()), slog.Any("err", err))
			continue
		}
		a.log.Info("sink reopened", slog.String("sink", a.lanes[i].Name()))
	}
}

// close closes what open opened, last first, and says what failed.
func (a *App) close() error {
	var errs []error
	for _, c := range slices.Backward(a.closers) {
		if err := c.close(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", c.name, err))
		}
	}
	a.closers = nil
	return errors.Join(errs...)
}
