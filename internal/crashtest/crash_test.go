// Package crashtest_test proves that nothing acknowledged is lost: random
// histories of the real journal, lanes and dead letters on a disk that loses
// its power, and a model of what publishers and destinations were told.
package crashtest_test

import (
	"flag"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

var cuts = flag.Int("cuts", 500, "simulated power cuts")

// TestPowerCuts plays random histories until the power was cut often enough,
// and checks I1 to I7 after each cut.
func TestPowerCuts(t *testing.T) {
	var total tally
	began := time.Now()
	told := false
	for total.cuts < *cuts && !t.Failed() {
		rapid.Check(t, func(rt *rapid.T) {
			if total.cuts >= *cuts {
				return
			}
			s := drawScript(rt)
			var w *world
			synctest.Test(t, func(*testing.T) { w = play(s) })
			if err := w.failed(); err != nil {
				if !told {
					t.Logf("found after %d power cuts: %v\nwhat happened:\n\t%s", total.cuts+w.tally.cuts, err, w.transcript())
				}
				told = true
				rt.Fatalf("%v\nwhat happened:\n\t%s", err, w.transcript())
			}
			if w.tally.operations < leastOperations {
				rt.Fatalf("a history of %d operations", w.tally.operations)
			}
			total.add(w.tally)
		})
	}
	took := time.Since(began)
	t.Logf("%d power cuts in %d histories of %d lives and %d operations: %d kills, %d restarts in order, %d damaged files; %d messages, %d records delivered, %d copies, %d dead letters, %d messages lost by damage and counted; %.0f cuts/s",
		total.cuts, total.histories, total.lives, total.operations, total.kills, total.restarts, total.damages,
		total.messages, total.records, total.copies, total.letters, total.lost, float64(total.cuts)/took.Seconds())
	if total.cuts < *cuts {
		t.Errorf("%d power cuts, %d were asked for", total.cuts, *cuts)
	}
}
