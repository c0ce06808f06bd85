package deadletter_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/pipelines/deadletter"
)

// A history is a random run of a store beside a map that says what must be in it.
type history struct {
	*rapid.T
	rand  *rand.Rand
	mem   *fault.Mem
	store *deadletter.Store
	n     int // letters made

	// The letters that must be there, by number; a rule error may have given way.
	have  map[uint64]deadletter.Letter
	gone  map[uint64]bool // removed, so that they must not be there
	high  uint64          // the highest number given out
	given uint64          // rule errors that gave way

	// What the operation at hand may or may not have done, should it crash.
	maybe  map[string]bool // letters being added, by payload
	going  map[uint64]bool // being removed
	change map[uint64]deadletter.Letter

	crashAt int // the file operation after which the power fails, -1 for none
	crashed *fault.Mem
	// torn: the store was opened after a crash. Of an append that nobody was
	// told about, later lines may be there without earlier ones, which looks
	// like damage.
	torn bool
}

func (h *history) open() {
	s, err := deadletter.Open(deadletter.Options{Dir: dir, FS: h.mem, MaxBytes: 64 << 10, RuleErrors: 16 << 10})
	if err != nil {
		h.Fatal(err)
	}
	h.store = s
}

// watch takes a copy of the disk as the power failure would leave it.
func (h *history) watch(op fault.Op) {
	if op.Kind == fault.Read || op.Kind == fault.Stat || h.crashed != nil {
		return
	}
	if h.crashAt--; h.crashAt == 0 {
		h.crashed = h.mem.Crash(h.rand.Uint64())
	}
}

// step does one operation. If the power fails in the middle of it, the store
// goes on with what the disk had then.
func (h *history) step(do func()) {
	h.maybe, h.going, h.change = map[string]bool{}, map[uint64]bool{}, map[uint64]deadletter.Letter{}
	h.crashed, h.crashAt = nil, -1
	if rapid.IntRange(0, 3).Draw(h.T, "crash") == 0 {
		h.crashAt = rapid.IntRange(1, 12).Draw(h.T, "at")
	}
	h.mem.Watch(h.watch)
	before := struct {
		have map[uint64]deadletter.Letter
		gone map[uint64]bool
		high uint64
	}{maps.Clone(h.have), maps.Clone(h.gone), h.high}
	do()
	h.mem.Watch(nil)
	if h.crashed == nil {
		h.maybe, h.going, h.change = nil, nil, nil
		return
	}
	// Nobody was told what the operation came to.
	h.store.Close()
	h.have, h.gone, h.high = before.have, before.gone, before.high
	h.mem = h.crashed
	h.open()
	h.torn = true
	h.adopt()
}

// adopt takes over what a crash left of the operation it interrupted.
func (h *history) adopt() {
	for l, err := range h.store.List(deadletter.Filter{}) {
		if err != nil {
			h.Fatal(err)
		}
		known, ok := h.have[l.Seq]
		switch {
		case !ok && h.maybe[*l.Record.Payload]:
			h.have[l.Seq] = l
			h.high = max(h.high, l.Seq)
		case ok && l.Attempts != known.Attempts && l.Attempts == h.change[l.Seq].Attempts:
			h.have[l.Seq] = l
		}
	}
	for seq := range h.going {
		if _, ok, _ := h.store.Get(seq); !ok {
			delete(h.have, seq)
			h.gone[seq] = true
		}
	}
}

func (h *history) add() {
	kind := deadletter.Refused
	if h.rand.IntN(2) == 0 {
		kind = deadletter.RuleError
	}
	var letters []deadletter.Letter
	for range 1 + h.rand.IntN(8) {
		h.n++
		text := fmt.Sprint(kind, h.n, strings.Repeat("x", h.rand.IntN(600)))
		h.maybe[text] = true
		letters = append(letters, letter(kind, h.n, text))
	}
	n, err := h.store.Append(letters)
	if err != nil && !(errors.Is(err, deadletter.ErrFull) && kind == deadletter.Refused) {
		h.Fatal(err)
	}
	for _, l := range letters[:n] {
		if l.Seq <= h.high {
			h.Fatalf("number %d was given out before, up to %d", l.Seq, h.high)
		}
		h.have[l.Seq], h.high = l, l.Seq
	}
}

// some chooses letters that are there.
func (h *history) some() []uint64 {
	all := slices.Sorted(maps.Keys(h.have))
	if len(all) == 0 {
		return nil
	}
	from := h.rand.IntN(len(all))
	list := slices.Clone(all[from:min(len(all), from+1+h.rand.IntN(60))])
	return slices.DeleteFunc(list, func(uint64) bool { return h.rand.IntN(5) == 0 })
}

func (h *history) remove() {
	list := h.some()
	for _, seq := range list {
		h.going[seq] = true
	}
	if _, err := h.store.Remove(list); err != nil {
		h.Fatal(err)
	}
	for _, seq := range list {
		delete(h.have, seq)
		h.gone[seq] = true
	}
}

func (h *history) update() {
	var letters []deadletter.Letter
	for _, seq := range h.some() {
		l := h.have[seq]
		l.Attempts++
		l.Error = fmt.Sprint("attempt ", l.Attempts)
		h.change[seq] = l
		letters = append(letters, l)
	}
	err := h.store.Update(letters)
	if err != nil && !errors.Is(err, deadletter.ErrFull) {
		h.Fatal(err)
	}
	for _, l := range letters {
		if got, ok, _ := h.store.Get(l.Seq); ok {
			if err == nil && got.Attempts != l.Attempts {
				h.Fatalf("letter %d was not updated", l.Seq)
			}
			h.have[l.Seq] = got
		}
	}
}

func (h *history) reopen() {
	if err := h.store.Close(); err != nil {
		h.Fatal(err)
	}
	h.open()
	h.torn = false
}

// check compares the store with the map. What is missing are the oldest rule
// errors, and as many were counted.
func (h *history) check() {
	got := map[uint64]deadletter.Letter{}
	oldest := uint64(0)
	last := uint64(0)
	for l, err := range h.store.List(deadletter.Filter{}) {
		if err != nil || l.Seq <= last {
			h.Fatal(l.Seq, last, err)
		}
		last = l.Seq
		got[l.Seq] = l
		if l.Kind == deadletter.RuleError && oldest == 0 {
			oldest = l.Seq
		}
		known, ok := h.have[l.Seq]
		if !ok {
			h.Fatalf("letter %d is there; removed: %t", l.Seq, h.gone[l.Seq])
		}
		if *l.Record.Payload != *known.Record.Payload || l.Attempts != known.Attempts || l.ID != known.ID {
			h.Fatalf("letter %d is %+v, want %+v", l.Seq, l, known)
		}
	}
	for seq, l := range h.have {
		if _, ok := got[seq]; ok {
			continue
		}
		if l.Kind != deadletter.RuleError || oldest != 0 && seq > oldest {
			h.Fatalf("%s letter %d is lost", l.Kind, seq)
		}
		delete(h.have, seq)
		h.lost()
	}
	st := h.store.Stats()
	if st.Refused.Letters+st.RuleErrors.Letters != len(got) {
		h.Fatalf("%+v, there are %d", st, len(got))
	}
	if st.Refused.Bytes > st.Refused.MaxBytes || st.RuleErrors.Bytes > st.RuleErrors.MaxBytes+4<<10 {
		h.Fatalf("%+v", st)
	}
	if st.Damaged > 0 && !h.torn {
		h.Fatal("damage was found where there is none")
	}
}

// lost counts a letter that gave way.
func (h *history) lost() {
	h.given++
	if st := h.store.Stats(); st.GivenWay < h.given {
		h.Fatalf("%d letters gave way, %d are counted", h.given, st.GivenWay)
	}
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := &history{T: rt, mem: fault.NewMem(), have: map[uint64]deadletter.Letter{}, gone: map[uint64]bool{}}
		h.rand = rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		h.open()
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			do := [...]func(){h.add, h.add, h.add, h.remove, h.update, h.reopen}[rapid.IntRange(0, 5).Draw(rt, "step")]
			h.step(do)
			h.check()
		}
		h.store.Close()
	})
}

// The power fails after each single file operation of a run that adds, removes,
// gives way and writes anew.
func TestEveryCrashPoint(t *testing.T) {
	small := func(o *deadletter.Options) { o.MaxBytes, o.RuleErrors = 32<<10, 8<<10 }
	mem := fault.NewMem()
	var have, going, gone []uint64 // going: Remove has not returned yet
	points := 0
	mem.Watch(func(op fault.Op) {
		if op.Kind == fault.Read || op.Kind == fault.Stat {
			return
		}
		points++
		for seed := range uint64(3) {
			s := open(t, mem.Crash(seed), small)
			for _, seq := range have {
				if _, ok, err := s.Get(seq); !ok || err != nil {
					t.Fatalf("after %v: letter %d: %t, %v", op, seq, ok, err)
				}
			}
			for _, seq := range gone {
				if _, ok, _ := s.Get(seq); ok {
					t.Fatalf("after %v: letter %d is back", op, seq)
				}
			}
			s.Close()
		}
	})
	s := open(t, mem, small)
	for n := range 40 {
		add(t, s, refused(n))
		have = append(have, s.Next()-1)
		add(t, s, ruleError(n))
		if n%10 != 9 {
			continue
		}
		going = slices.Clone(have[:len(have)*2/3])
		have = slices.Clone(have[len(going):])
		if _, err := s.Remove(going); err != nil {
			t.Fatal(err)
		}
		gone = append(gone, going...)
	}
	if s.Stats().GivenWay == 0 || points < 200 {
		t.Errorf("%d crash points, %d letters gave way", points, s.Stats().GivenWay)
	}
	s.Close()
}

func TestFailedSyncLosesNothing(t *testing.T) {
	inject := fault.Inject(fault.NewMem())
	s := open(t, inject)
	add(t, s, refused(1))
	for _, kind := range []fault.Kind{fault.Write, fault.Datasync} {
		f := inject.Add(&fault.Fault{When: func(op fault.Op) bool { return op.Kind == kind }, Err: os.ErrPermission, Times: 1, Short: true})
		if n, err := s.Append([]deadletter.Letter{refused(2)}); n != 0 || !errors.Is(err, os.ErrPermission) {
			t.Errorf("append = %d, %v", n, err)
		}
		want(t, "fired", f.Fired(), 1)
	}
	add(t, s, refused(3))
	want(t, "letters", list(t, s, deadletter.Filter{}), []string{"refused 1", "refused 3"})
	s.Close()
	s = open(t, inject)
	defer s.Close()
	want(t, "letters", list(t, s, deadletter.Filter{}), []string{"refused 1", "refused 3"})
	want(t, "next", s.Next(), uint64(3))
}
