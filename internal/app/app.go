// Package app builds Penstock out of its parts and runs them.
//
//	journal <- dead letters <- sinks and lanes <- intake <- broker        start, and New's order
//	broker  -> lanes and sinks -> dead letters -> journal                 stop
//
// New does everything that can fail for a reason outside (a port taken, a
// folder not writable); Run blocks until it is told to stop. Meanwhile Reload
// changes what can be changed while Penstock runs, and the admin server
// answers questions.
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
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/inspect"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/pipelines"
	"github.com/penstock/penstock/pipelines/deadletter"
	"github.com/penstock/penstock/rules"
)

// Options is what New needs.
type Options struct {
	Loaded *config.Loaded // its rules not yet numbered
	// Load reads the configuration anew for a reload; nil: it cannot be
	// reloaded.
	Load    func() (*config.Loaded, error)
	Stdout  io.Writer // where `stdout` sinks write
	Log     *slog.Logger
	Version string
}

// An EnvironmentError is one that no change of the configuration's text mends:
// a port is taken, a folder cannot be written, the journal is in use.
type EnvironmentError struct{ Err error }

func (e *EnvironmentError) Error() string { return e.Err.Error() }
func (e *EnvironmentError) Unwrap() error { return e.Err }

// An App is one Penstock.
type App struct {
	o       Options
	log     *slog.Logger
	started time.Time

	journal  *journal.Journal
	letters  *deadletter.Store
	receipts *pipelines.Receipts
	intake   *pipelines.Intake
	broker   *broker.Server
	admin    *admin.Server
	closers  []closer // in the order they were opened

	loaded     atomic.Pointer[config.Loaded] // the configuration in force
	deliveries deliveries
	reloading  sync.Mutex      // one reload at a time
	lanesCtx   context.Context //nolint:containedctx // of the lanes that a reload starts; set by Run before any reload
	syncs      histogram
	acks       histogram
}

type closer struct {
	name  string
	close func() error
}

// New opens the journal and the dead letters, builds a lane for each sink,
// binds the listeners and takes the admin socket. Its errors are
// EnvironmentErrors.
func New(o Options) (*App, error) {
	a := &App{o: o, log: o.Log, started: time.Now()}
	if err := a.open(); err != nil {
		return nil, &EnvironmentError{errors.Join(err, a.close())}
	}
	return a, nil
}

func (a *App) open() error {
	a.loaded.Store(a.o.Loaded)
	c := &a.o.Loaded.Config
	if err := a.openJournal(c); err != nil {
		return err
	}
	set := a.o.Loaded.Set
	if err := set.Number(a.journal.Number); err != nil {
		return fmt.Errorf("number the rules: %w", err)
	}
	var list []*delivery
	for i := range c.Sinks {
		d, err := a.newDelivery(&c.Sinks[i])
		if err == nil {
			err = a.newLane(d, set, len(c.Sinks))
		}
		if err != nil {
			return fmt.Errorf("sink %s: %w", c.Sinks[i].Name, err)
		}
		list = append(list, d)
	}
	a.deliveries.set(list)
	if err := a.define(set, a.journal.Next()); err != nil {
		return err
	}
	a.intake = pipelines.NewIntake(a.journal, a.receipts)
	a.intake.Swap(a.routing(a.o.Loaded, list))
	if err := a.openBroker(c); err != nil {
		return err
	}
	return a.openAdmin(c)
}

func (a *App) openJournal(c *config.Config) error {
	o := c.Journal.Options()
	o.Log, o.OnSync = a.log, func(d time.Duration) { a.syncs.Observe(d, 1) }
	var err error
	if a.journal, err = journal.Open(o); err != nil {
		return fmt.Errorf("open journal %s: %w", o.Dir, err)
	}
	a.closers = append(a.closers, closer{"journal", a.journal.Close})
	a.receipts = pipelines.NewReceipts()
	l := c.DeadLetters.Options(o.Dir)
	l.Log = a.log
	if a.letters, err = deadletter.Open(l); err != nil {
		return fmt.Errorf("open dead letters %s: %w", l.Dir, err)
	}
	a.closers = append(a.closers, closer{"dead letters", a.letters.Close})
	return nil
}

func (a *App) openBroker(c *config.Config) error {
	var err error
	a.broker, err = broker.New(broker.Options{
		Listeners: c.Listeners, Auth: c.Auth, Intake: a.intake, Logger: a.log,
		MaxPacket: int(c.Limits.MaxPacket), ReceiveMaximum: c.Limits.ReceiveMaximum,
		AckDelay: a.acks.Observe,
	})
	return err
}

func (a *App) openAdmin(c *config.Config) error {
	var err error
	a.admin, err = admin.Listen(admin.Options{
		Socket: c.Admin.SocketPath(c.Journal.Dir), Bind: c.Admin.Bind, Token: c.Admin.Token, Log: a.log,
		Health: a.health, Commands: a.commands(),
		Metrics: newGatherer(&collector{status: a.Status, sync: &a.syncs, ack: &a.acks, now: time.Now}),
	})
	if err == nil {
		a.closers = append(a.closers, closer{"admin server", a.admin.Close})
	}
	return err
}

// routing is what the intake must know of rules and lanes.
func (a *App) routing(loaded *config.Loaded, list []*delivery) pipelines.Routing {
	c := &loaded.Config.Journal
	r := pipelines.Routing{Want: loaded.Set.Want, Record: c.Record, Default: config.DefaultAck(c)}
	lanes := loaded.Set.Lanes()
	for _, d := range list {
		f := pipelines.Feed{Lane: d.number, Name: d.config.Name, Share: d.lane.Backlog()}
		for _, rule := range lanes[d.config.Name] {
			f.Rules = append(f.Rules, rule.Number)
			if rule.Delivered && rule.Required {
				f.Required = append(f.Required, rule.Number)
			}
		}
		r.Feeds = append(r.Feeds, f)
	}
	return r
}

// ruleName names a rule, also one that is not there any more.
func (a *App) ruleName(number uint32) string {
	if name := a.loaded.Load().Set.Name(number); name != "" {
		return name
	}
	for name, n := range a.journal.Names("rule") {
		if n == number {
			return name
		}
	}
	return fmt.Sprintf("number %d", number)
}

// Accounts returns what became of every message, one account for each sink in
// configuration order.
func (a *App) Accounts() []pipelines.Account {
	list := a.deliveries.all()
	accounts := make([]pipelines.Account, len(list))
	for i, d := range list {
		accounts[i] = d.lane.Account()
	}
	return accounts
}

// Addrs returns the addresses the listeners really got, in configuration order.
func (a *App) Addrs() []net.Addr { return a.broker.Addrs() }

// AdminAddr returns the address of the admin server, nil without one.
func (a *App) AdminAddr() net.Addr { return a.admin.Addr() }

// Run serves until ctx ends, then stops: no new clients, what is in flight is
// settled for at most 5 s, cursors are stored. A value on hangups reloads the
// configuration and reopens the file sinks. It returns nil after an orderly
// stop.
func (a *App) Run(ctx context.Context, hangups <-chan os.Signal) error {
	lanesCtx, stopLanes := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLanes()
	a.lanesCtx = lanesCtx
	for _, d := range a.deliveries.all() {
		a.run(lanesCtx, d)
	}
	sideCtx, stopSide := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSide()
	var side sync.WaitGroup
	side.Go(func() { a.admin.Serve(sideCtx) })
	side.Go(func() { a.listen(sideCtx, hangups) })
	side.Go(func() { a.forward(sideCtx) })
	a.announce()
	err := a.broker.Serve(ctx)
	stopSide()
	side.Wait()
	notify(a.log, "STOPPING=1")
	halt(a.deliveries.all())
	a.logAccounts()
	return errors.Join(err, a.close())
}

func (a *App) announce() {
	for _, addr := range a.broker.Addrs() {
		a.log.Info("listening", slog.String("listener", addr.String()))
	}
	if addr := a.admin.Addr(); addr != nil {
		a.log.Info("admin server listening", slog.String("listener", addr.String()))
	}
	a.tellRemoved()
	a.log.Info("ready")
	notify(a.log, "READY=1")
}

// listen does what hang-ups ask for until ctx ends.
func (a *App) listen(ctx context.Context, hangups <-chan os.Signal) {
	for {
		select {
		case <-hangups:
			notify(a.log, "RELOADING=1")
			a.hangUp(ctx)
			notify(a.log, "READY=1")
		case <-ctx.Done():
			return
		}
	}
}

// define notes what the rules say from an offset on, for replays to compare
// with.
func (a *App) define(set *rules.Set, from uint64) error {
	var list []inspect.Definition
	for _, number := range set.Numbers() {
		list = append(list, inspect.Definition{Rule: number, From: from, Body: set.Definition(number)})
	}
	return inspect.Define(a.loaded.Load().Config.Journal.Dir, list)
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
