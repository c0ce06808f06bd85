package journal_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What is left of a segment that could not be begun, nor removed, does not
// void the one that took its place, however their names sort.
func TestRestOfFailedSegmentVoidsNothing(t *testing.T) {
	for round := range 40 {
		synctest.Test(t, func(t *testing.T) {
			in := fault.Inject(fault.NewMem())
			once := func(kind fault.Kind, part string) *fault.Fault {
				return in.Add(&fault.Fault{Err: errIO, Times: 1, When: func(op fault.Op) bool {
					return op.Kind == kind && strings.Contains(op.Name, part)
				}})
			}
			j, err := journal.Open(journal.Options{Dir: dir, FS: in, MaxBytes: 1 << 20, SegmentBytes: 16 << 10})
			must(t, err)
			synctest.Wait()
			faults := []*fault.Fault{
				once(fault.Datasync, ".seg"), once(fault.Rename, "spare"), once(fault.Write, ".void."), once(fault.Remove, ".void."),
			}
			first := text(t, j, "kept")
			<-time.After(time.Minute) // of the bubble's clock
			for i, hit := range faults {
				if hit.Fired() != 1 {
					t.Fatalf("round %d: fault %d fired %d times", round, i, hit.Fired())
				}
			}
			must(t, j.Close())
			j, err = journal.Open(journal.Options{Dir: dir, FS: in})
			must(t, err)
			if got := read(t, j, 1); got[first] != "kept" {
				t.Errorf("round %d: read %v", round, got)
			}
			must(t, j.Close())
		})
	}
}

// A power cut while a segment's head is written costs neither the journal's
// id (C2) nor a count of damage, whichever sectors of it came through (C3).
func TestTornHeadKeepsTheID(t *testing.T) {
	mem := fault.NewMem()
	j := open(t, mem)
	for i := range 20 {
		_, err := j.Number("rule", fmt.Sprintf("a rule with a long name %d", i))
		must(t, err)
	}
	id := j.ID()
	must(t, j.Close())
	var photos []*fault.Mem
	mem.Watch(func(op fault.Op) {
		if op.Kind == fault.Write && filepath.Ext(op.Name) == ".seg" {
			for seed := range uint64(40) {
				photos = append(photos, mem.Crash(seed))
			}
		}
	})
	j = open(t, mem)
	mem.Watch(nil)
	must(t, j.Close())
	for i, photo := range photos {
		j, err := journal.Open(journal.Options{Dir: dir, FS: photo})
		if err != nil {
			t.Fatal(err)
		}
		if j.ID() != id || j.Stats().Damaged != 0 || len(j.Names("rule")) != 20 {
			t.Fatalf("photo %d: id %x, was %x; %d regions damaged; %d names", i, j.ID(), id, j.Stats().Damaged, len(j.Names("rule")))
		}
		must(t, j.Close())
	}
}

// What a process wrote whose sync failed, or that was killed before it, is
// durable once the next one has found it (C4).
func TestFoundIsDurable(t *testing.T) {
	for _, killed := range []bool{true, false} {
		mem := fault.NewMem()
		in := fault.Inject(mem)
		j := open(t, in)
		stored(t, j, text(t, j, "first"))
		taken := make(chan *fault.Mem, 1)
		in.Add(&fault.Fault{Err: errIO, When: func(op fault.Op) bool {
			if op.Kind != fault.Datasync && op.Kind != fault.Rename && op.Kind != fault.Open {
				return false
			}
			if !strings.HasSuffix(op.Name, ".seg") {
				return true // a spare is made when it suits the keeper
			}
			select {
			case taken <- mem.Clone():
			default:
			}
			return true
		}})
		offset := text(t, j, "second")
		next := <-taken
		_ = j.Close()
		if !killed {
			next = mem
		}
		back := open(t, next)
		found := read(t, back, 1)
		if found[offset] != "second" {
			t.Fatalf("killed %t: found %v", killed, found)
		}
		for seed := range uint64(20) {
			after := open(t, next.Crash(seed))
			if got := read(t, after, 1); got[offset] != "second" {
				t.Errorf("killed %t, seed %d: %v", killed, seed, got)
			}
		}
	}
}
