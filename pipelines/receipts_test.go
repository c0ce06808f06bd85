package pipelines_test

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/pipelines"
)

// receiptPair is a rule and a lane.
type receiptPair struct{ rule, lane uint32 }

// receiptMachine checks Receipts against plain sets.
type receiptMachine struct {
	r     *pipelines.Receipts
	next  uint64
	route map[uint32][]uint32
	since map[receiptPair]uint64 // from where on a pair is expected
	from  map[uint32]uint64      // from where on a rule says delivered
	was   map[uint32]bool        // rules that said delivered at some time

	settled map[uint64]map[receiptPair]bool // what lanes said, of offsets nobody waits for yet
	open    map[uint64]map[receiptPair]bool // what is waited for
	fresh   []uint64                        // appended, not awaited
	rules   map[uint64][]uint32             // of what was appended
	want    map[uint64]bool                 // answers that are due
	got     map[uint64]bool
	twice   bool
}

func (m *receiptMachine) done(offset uint64, delivered bool) {
	_, again := m.got[offset]
	m.twice = m.twice || again
	m.got[offset] = delivered
}

// expected returns the pairs of a message under the route in force, and whether
// it cannot be delivered any more.
func (m *receiptMachine) expected(offset uint64) (pairs map[receiptPair]bool, failed bool) {
	pairs = make(map[receiptPair]bool)
	for _, rule := range m.rules[offset] {
		lanes, ok := m.route[rule]
		switch {
		case !ok:
			failed = failed || m.was[rule]
		case offset < m.from[rule]:
			failed = true
		default:
			for _, lane := range lanes {
				if p := (receiptPair{rule, lane}); offset >= m.since[p] {
					pairs[p] = true
				}
			}
		}
	}
	return pairs, failed
}

func (m *receiptMachine) answer(offset uint64, delivered bool) {
	if _, ok := m.want[offset]; !ok {
		m.want[offset] = delivered
	}
}

func (m *receiptMachine) Append(t *rapid.T) {
	rules := rapid.SliceOfNDistinct(rapid.Uint32Range(1, 4), 1, 3, rapid.ID[uint32]).Draw(t, "rules")
	m.rules[m.next] = rules
	m.fresh = append(m.fresh, m.next)
	m.next++
}

func (m *receiptMachine) Await(t *rapid.T) {
	if len(m.fresh) == 0 {
		t.Skip("nothing was appended")
	}
	i := rapid.IntRange(0, len(m.fresh)-1).Draw(t, "which")
	offset := m.fresh[i]
	m.fresh = slices.Delete(m.fresh, i, i+1)
	pairs, failed := m.expected(offset)
	for p := range pairs {
		if delivered, ok := m.settled[offset][p]; ok {
			failed = failed || !delivered
			delete(pairs, p)
		}
	}
	m.open[offset] = pairs
	delete(m.settled, offset)
	m.r.Await(offset, m.rules[offset], m.done)
	if failed || len(pairs) == 0 {
		m.answer(offset, !failed)
	}
}

func (m *receiptMachine) Settle(t *rapid.T) {
	if len(m.rules) == 0 {
		t.Skip("nothing was appended")
	}
	offset := rapid.SampledFrom(slices.Sorted(maps.Keys(m.rules))).Draw(t, "offset")
	p := receiptPair{rapid.SampledFrom(m.rules[offset]).Draw(t, "rule"), rapid.Uint32Range(1, 3).Draw(t, "lane")}
	delivered := rapid.IntRange(0, 3).Draw(t, "delivered") > 0
	pairs, _ := m.expected(offset)
	open, awaited := m.open[offset]
	switch {
	case !pairs[p]:
	case awaited && open[p]:
		delete(open, p)
		if !delivered || len(open) == 0 {
			m.answer(offset, delivered)
		}
	case awaited: // said before; a lane says it once
		return
	default:
		if m.settled[offset] == nil {
			m.settled[offset] = make(map[receiptPair]bool)
		}
		if _, ok := m.settled[offset][p]; !ok {
			m.settled[offset][p] = delivered
		}
	}
	m.r.Settle(offset, p.rule, p.lane, delivered)
}

func (m *receiptMachine) Route(t *rapid.T) {
	route := make(map[uint32][]uint32)
	for rule := uint32(1); rule <= 4; rule++ {
		if lanes := rapid.SliceOfNDistinct(rapid.Uint32Range(1, 3), 0, 3, rapid.ID[uint32]).Draw(t, "lanes"); len(lanes) > 0 {
			route[rule] = lanes
		}
	}
	since, from := make(map[receiptPair]uint64), make(map[uint32]uint64)
	for rule, lanes := range route {
		from[rule] = m.next
		if old, ok := m.from[rule]; ok {
			from[rule] = old
		}
		for _, lane := range lanes {
			p := receiptPair{rule, lane}
			since[p] = m.next
			if old, ok := m.since[p]; ok {
				since[p] = old
			}
		}
		m.was[rule] = true
	}
	m.route, m.since, m.from = route, since, from
	m.r.Route(route)
	for offset, open := range m.open {
		pairs, _ := m.expected(offset)
		failed, changed := false, false
		for p := range open {
			if pairs[p] {
				continue
			}
			_, there := route[p.rule]
			failed, changed = failed || !there || offset < from[p.rule], true
			delete(open, p)
		}
		if changed && (failed || len(open) == 0) {
			m.answer(offset, !failed)
		}
	}
}

func (m *receiptMachine) Check(t *rapid.T) {
	if m.twice {
		t.Fatal("answered twice")
	}
	if !maps.Equal(m.want, m.got) {
		t.Fatalf("answers %v, want %v", m.got, m.want)
	}
	for rule := uint32(1); rule <= 4; rule++ {
		if got, want := m.r.Expects(rule), len(m.route[rule]) > 0; got != want {
			t.Fatalf("rule %d is expected: %v, want %v", rule, got, want)
		}
	}
}

// Each message is answered once, when the lanes that its rules need have all
// said so, or one said no (C13), whatever comes first, also across reloads.
func TestReceiptsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &receiptMachine{
			r: pipelines.NewReceipts(), next: rapid.Uint64Range(1, 200).Draw(t, "first"),
			was: map[uint32]bool{}, settled: map[uint64]map[receiptPair]bool{}, open: map[uint64]map[receiptPair]bool{},
			rules: map[uint64][]uint32{}, want: map[uint64]bool{}, got: map[uint64]bool{},
		}
		m.r.Begin(func() uint64 { return m.next })
		m.Route(t)
		t.Repeat(map[string]func(*rapid.T){
			"append": m.Append, "append2": m.Append, "await": m.Await, "await2": m.Await,
			"settle": m.Settle, "settle2": m.Settle, "settle3": m.Settle, "route": m.Route, "": m.Check,
		})
	})
}

// What was appended before this process is nobody's to wait for.
func TestReceiptsIgnoreThePast(t *testing.T) {
	r := pipelines.NewReceipts()
	r.Begin(func() uint64 { return 100 })
	r.Route(map[uint32][]uint32{1: {1}})
	for offset := range uint64(100) {
		r.Settle(offset, 1, 1, false)
	}
	var got []bool
	done := func(_ uint64, delivered bool) { got = append(got, delivered) }
	r.Await(100, []uint32{1}, done)
	r.Settle(99, 1, 1, false)
	if got != nil {
		t.Fatalf("answered %v", got)
	}
	r.Settle(100, 1, 1, true)
	if !slices.Equal(got, []bool{true}) {
		t.Errorf("got %v, want [true]", got)
	}
}

// Lanes and read loops at once: every message is answered exactly once, and
// afterwards nothing is kept.
func TestReceiptsConcurrently(t *testing.T) {
	const messages, lanes = 20_000, 3
	r := pipelines.NewReceipts()
	r.Route(map[uint32][]uint32{1: {1, 2, 3}})
	var answers [messages]atomic.Int32
	done := func(offset uint64, delivered bool) {
		if !delivered {
			t.Errorf("offset %d is not delivered", offset)
		}
		answers[offset].Add(1)
	}
	var all sync.WaitGroup
	for lane := range uint32(lanes) {
		all.Go(func() {
			for offset := range uint64(messages) {
				r.Settle(offset, 1, lane+1, true)
			}
		})
	}
	for half := range uint64(2) {
		all.Go(func() {
			for offset := half; offset < messages; offset += 2 {
				r.Await(offset, []uint32{1}, done)
			}
		})
	}
	all.Go(func() {
		for i := range 200 {
			r.Route(map[uint32][]uint32{1: {1, 2, 3}, uint32(2 + i%3): {1}})
		}
	})
	all.Wait()
	for offset := range answers {
		if n := answers[offset].Load(); n != 1 {
			t.Fatalf("offset %d was answered %d times", offset, n)
		}
	}
}

func BenchmarkReceipts(b *testing.B) {
	r := pipelines.NewReceipts()
	r.Route(map[uint32][]uint32{1: {1}})
	rules, n := []uint32{1}, 0
	done := func(uint64, bool) { n++ }
	b.ReportAllocs()
	var offset uint64
	for b.Loop() {
		r.Await(offset, rules, done)
		if offset >= 1000 {
			r.Settle(offset-1000, 1, 1, true)
		}
		offset++
	}
}
