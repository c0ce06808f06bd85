package app

import (
	"log/slog"

	"github.com/penstock/penstock/pipelines"
)

// logAccounts logs what became of every message, per lane and rule, once at
// the end (I6): both sums balance, whatever happened before.
func (a *App) logAccounts() {
	for _, account := range a.Accounts() {
		for i := range account.Rules {
			a.logRule(account.Lane, &account.Rules[i])
		}
		if err := account.Check(); err != nil {
			a.log.Error("account does not balance", slog.String("lane", account.Lane), slog.Any("err", err))
		}
	}
}

func (a *App) logRule(lane string, r *pipelines.RuleAccount) {
	a.log.Info("account", slog.String("lane", lane), slog.String("rule", r.Name),
		slog.Uint64("in", r.In), slog.Uint64("filtered", r.Filtered), slog.Uint64("errors", r.Errors), slog.Uint64("passed", r.Passed),
		slog.Uint64("records", r.Records), slog.Uint64("delivered", r.Delivered), slog.Uint64("dead_lettered", r.DeadLettered),
		slog.Uint64("dropped", r.DroppedSum()), slog.Uint64("pending", r.Pending))
}
