package pipelines

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
)

// Rules are what a lane evaluates with.
type Rules struct {
	Evaluators func() Evaluator           // as in LaneOptions
	Name       func(number uint32) string // as LaneOptions.RuleName
}

// An Update is a lane and the rules that it gets.
type Update struct {
	Lane  *Lane
	Rules Rules
}

// SwapRules changes the rules of lanes that run, and of the intake, so that
// each message is evaluated by the rules that its header names in their
// present form, for those lanes that the rules fed when it was accepted (C16).
//
// Every lane announces its new rules in the journal and reads nothing more;
// swap has the intake ask the new rules and returns the first offset that it
// may give out from then on; the lanes go on. What a lane had evaluated leaves
// as it is. Sinks, cursors, batches and writes in flight are not touched. On
// an error before swap was called, the old rules stay everywhere.
func SwapRules(ctx context.Context, updates []Update, swap func() (from uint64)) error {
	old := make([]Update, 0, len(updates))
	for _, u := range updates {
		before, err := u.Lane.announce(ctx, u.Rules)
		if err != nil {
			return errors.Join(fmt.Errorf("update rules of lane %s: %w", u.Lane.name, err), takeBack(ctx, old))
		}
		old = append(old, Update{u.Lane, before})
	}
	from := swap()
	for _, u := range updates {
		_ = u.Lane.ask(context.WithoutCancel(ctx), func() { u.Lane.proceed(from) })
	}
	return nil
}

// takeBack gives lanes their old rules again; nothing was accepted meanwhile.
func takeBack(ctx context.Context, old []Update) error {
	ctx = context.WithoutCancel(ctx)
	var errs []error
	for _, u := range old {
		errs = append(errs, u.Lane.ask(ctx, func() { u.Lane.retreat(u.Rules) }))
	}
	return errors.Join(errs...)
}

// Update gives a lane that runs other rules at one moment. Of what is stored
// already, messages go where they would have gone, those of rules that are
// gone to the dead letters; rules that are new get what is stored from now
// on. Use SwapRules when the intake's rules change too.
func (l *Lane) Update(ctx context.Context, r Rules) error {
	return SwapRules(ctx, []Update{{l, r}}, func() uint64 { return l.journal.Stored() + 1 })
}

// announce has the lane take over rules, and read nothing until proceed.
func (l *Lane) announce(ctx context.Context, r Rules) (before Rules, err error) {
	evaluator := r.Evaluators()
	var refused error
	err = l.ask(ctx, func() { before, refused = l.adopt(r, evaluator) })
	return before, errors.Join(err, refused)
}

// adopt changes the rules. A change of what feeds the lane must be in the log
// before anything that is accepted under it: a crash in between would lose it.
func (l *Lane) adopt(r Rules, e Evaluator) (before Rules, err error) {
	before = l.rules
	if err := l.replace(r, e); err != nil {
		return before, err
	}
	if !l.ledger.announce(e.Rules(), l.journal.Stored()+1) {
		return before, nil
	}
	l.held = true
	if err := l.storeNow("store cursor"); err != nil {
		l.retreat(before)
		return before, err
	}
	return before, nil
}

// replace swaps the evaluators, between two messages.
func (l *Lane) replace(r Rules, e Evaluator) error {
	l.enterAll() // what is evaluated leaves as it is
	if err := l.checkpoints.handOver(e, l.ledger.position); err != nil {
		return err
	}
	l.crew.renew(l.alone())
	l.names.swap(r.Name, l.ledger.feeding)
	l.rules, l.evaluator = r, e
	return l.listen()
}

// proceed lets the lane read on, what begins at from by its new rules.
func (l *Lane) proceed(from uint64) {
	if !l.held {
		return
	}
	l.ledger.proceed(from)
	l.held = false
}

// retreat takes an announcement back.
func (l *Lane) retreat(before Rules) {
	at := l.journal.Stored() + 1
	e := before.Evaluators()
	if err := l.replace(before, e); err != nil {
		l.log.Error("take back the rules", slog.Any("err", err))
	}
	l.ledger.proceed(math.MaxUint64)
	l.ledger.announce(e.Rules(), at)
	l.ledger.proceed(at)
	l.held = false
}
