package deadletter_test

import (
	"testing"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/pipelines/deadletter"
)

// A letter that a killed process wrote and never synced is durable once the
// store was opened: a lane that finds it there is told that it has it.
func TestLettersOfAKilledProcessAreDurable(t *testing.T) {
	mem := fault.NewMem()
	store := func(fs *fault.Mem) *deadletter.Store {
		s, err := deadletter.Open(deadletter.Options{Dir: "/d", FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	in := fault.Inject(mem)
	first, err := deadletter.Open(deadletter.Options{Dir: "/d", FS: in})
	if err != nil {
		t.Fatal(err)
	}
	letter := func(id string) []deadletter.Letter {
		return []deadletter.Letter{{Kind: deadletter.Refused, Rule: "r", Sink: "s", ID: id}}
	}
	if _, err := first.Append(letter("a.1.1")); err != nil {
		t.Fatal(err)
	}
	var killed *fault.Mem
	in.Add(&fault.Fault{When: func(op fault.Op) bool {
		if op.Kind == fault.Datasync && killed == nil {
			killed = mem.Clone()
		}
		return false
	}})
	if _, err := first.Append(letter("b.1.1")); err != nil {
		t.Fatal(err)
	}
	next := store(killed)
	if n, err := next.Append(letter("b.1.1")); n != 1 || err != nil {
		t.Fatalf("%d %v", n, err)
	}
	for seed := range uint64(20) {
		after := store(killed.Crash(seed))
		if _, ok, err := after.Find("b.1.1"); !ok || err != nil {
			t.Fatalf("seed %d: the letter is gone (%v)", seed, err)
		}
	}
}
