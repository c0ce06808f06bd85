package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/problem"
	"github.com/penstock/penstock/pipelines"
)

// Reload reads the configuration anew, builds all that changed, and only then
// swaps rules, sinks, users and certificates. On any complaint nothing has
// changed. Lanes whose sink is the same are not touched but for their rules.
// The error is a problem.List when the configuration is what is wrong.
func (a *App) Reload(ctx context.Context) (changed string, err error) {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if a.o.Load == nil {
		return "", errors.New("there is no configuration file to read again")
	}
	loaded, err := a.o.Load()
	if err != nil {
		return "", err
	}
	if list := restartOnly(a.loaded.Load(), loaded); len(list) > 0 {
		return "", list
	}
	p, err := a.plan(loaded)
	if err != nil {
		return "", err
	}
	if err := a.carryOut(ctx, p); err != nil {
		return "", err
	}
	a.log.Info("configuration reloaded", slog.String("reason", p.summary()))
	a.tellRemoved()
	return p.summary(), nil
}

// restartOnly complains about what a reload cannot change.
func restartOnly(old, now *config.Loaded) problem.List {
	var list problem.List
	differ := func(path string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			list = append(list, now.Place(problem.New(path, "%s cannot change while Penstock runs", path).
				WithHint("restart Penstock to change it; the old configuration stays")))
		}
	}
	differ("journal", old.Config.Journal, now.Config.Journal)
	differ("admin", old.Config.Admin, now.Config.Admin)
	differ("log", old.Config.Log, now.Config.Log)
	differ("limits", old.Config.Limits, now.Config.Limits)
	differ("dead_letters", old.Config.DeadLetters, now.Config.DeadLetters)
	differ("listeners", binds(old), binds(now))
	return list
}

// binds is what of the listeners a reload cannot change: their sockets.
func binds(l *config.Loaded) (list []string) {
	for i := range l.Config.Listeners {
		list = append(list, l.Config.Listeners[i].Bind)
	}
	return list
}

// A plan is a reload that was built and not carried out yet.
type plan struct {
	loaded *config.Loaded
	doors  *broker.Change
	now    []*delivery // all there are to be, in configuration order
	kept   []*delivery // of these: whose sink is the same
	fresh  []*delivery // of these: built anew
	gone   []*delivery // to be stopped: changed ones and removed ones
}

func (p *plan) summary() string {
	return fmt.Sprintf("%d sinks kept, %d started, %d stopped, %d rules", len(p.kept), len(p.fresh), len(p.gone), len(p.loaded.Config.Rules))
}

// plan builds everything. Numbers it gives out stay given out, which harms
// nobody (C16).
func (a *App) plan(loaded *config.Loaded) (*plan, error) {
	if err := loaded.Set.Number(a.journal.Number); err != nil {
		return nil, fmt.Errorf("number the rules: %w", err)
	}
	p := &plan{loaded: loaded}
	var err error
	if p.doors, err = a.broker.Prepare(loaded.Config.Auth, loaded.Config.Listeners); err != nil {
		return nil, err
	}
	old := a.deliveries.all()
	for i := range loaded.Config.Sinks {
		c := &loaded.Config.Sinks[i]
		d, err := a.keepOrBuild(p, old, c)
		if err != nil {
			return nil, fmt.Errorf("sink %s: %w", c.Name, err)
		}
		p.now = append(p.now, d)
	}
	for _, d := range old {
		if !slices.Contains(p.kept, d) {
			p.gone = append(p.gone, d)
		}
	}
	return p, nil
}

// keepOrBuild keeps what serves a sink already; a lane that ended by itself is
// built anew.
func (a *App) keepOrBuild(p *plan, old []*delivery, c *config.SinkConfig) (*delivery, error) {
	for _, d := range old {
		if over, _ := d.stopped(); !over && d.same(c, secretsOf(c)) {
			p.kept = append(p.kept, d)
			return d, nil
		}
	}
	d, err := a.newDelivery(c)
	p.fresh = append(p.fresh, d)
	return d, err
}

// carryOut makes the plan true. A lane built anew takes up the cursor that its
// predecessor stored last, so that nothing is passed over. The other lanes
// know the new rules before the intake hands out their numbers; after an error
// there, the old rules and the old sinks go on.
func (a *App) carryOut(ctx context.Context, p *plan) error {
	halt(p.gone)
	for _, d := range p.fresh {
		if err := a.newLane(d, p.loaded.Set, len(p.now)); err != nil {
			return errors.Join(fmt.Errorf("sink %s: %w", d.config.Name, err), a.revive(p.gone))
		}
	}
	var updates []pipelines.Update
	for _, d := range p.kept {
		updates = append(updates, pipelines.Update{Lane: d.lane, Rules: a.rulesOf(p.loaded.Set, d.config.Name)})
	}
	before := a.loaded.Swap(p.loaded) // before anybody names a new rule
	var from uint64
	err := pipelines.SwapRules(ctx, updates, func() uint64 {
		from = a.intake.Swap(a.routing(p.loaded, p.now))
		return from
	})
	if err != nil {
		a.loaded.Store(before)
		return errors.Join(err, a.revive(p.gone))
	}
	p.doors.Apply()
	a.deliveries.set(p.now)
	for _, d := range p.fresh {
		a.run(a.lanesCtx, d) //nolint:contextcheck // lanes outlive the reload that starts them
	}
	if err := a.define(p.loaded.Set, from); err != nil { // the new rules are in force: a replay compares with less
		a.log.Warn("what the rules said is not noted", slog.Any("err", err))
	}
	return nil
}

// revive starts lanes again that were stopped for a reload that failed.
func (a *App) revive(gone []*delivery) error {
	var errs []error
	loaded := a.loaded.Load()
	list := slices.Clone(a.deliveries.all())
	for _, old := range gone {
		d, err := a.newDelivery(&old.config)
		if err == nil {
			err = a.newLane(d, loaded.Set, len(list))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("sink %s: %w", old.config.Name, err))
			continue
		}
		list[slices.Index(list, old)] = d
		a.run(a.lanesCtx, d)
	}
	a.deliveries.set(list)
	a.intake.Swap(a.routing(loaded, list)) // their backlogs are new
	return errors.Join(errs...)
}

// hangUp is what SIGHUP asks for: the configuration anew, and files anew for
// log rotation.
func (a *App) hangUp(ctx context.Context) {
	if _, err := a.Reload(ctx); err != nil {
		a.log.Error("configuration not reloaded, the old one stays", slog.Any("err", err))
	}
	a.reopen()
}

func (a *App) reopen() {
	for _, d := range a.deliveries.all() {
		r, ok := d.sink.(bridges.Reopener)
		if !ok {
			continue
		}
		if err := r.Reopen(); err != nil {
			a.log.Error("reopen sink", slog.String("sink", d.config.Name), slog.Any("err", err))
			continue
		}
		a.log.Info("sink reopened", slog.String("sink", d.config.Name))
	}
}
