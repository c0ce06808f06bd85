package pipelines

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/penstock/penstock/broker/topic"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// An IntakeLog is what an intake needs of the journal; a *journal.Journal is one.
type IntakeLog interface {
	// Append copies the entries and returns the first one's offset; the others
	// follow without a gap.
	Append(entries []journal.Entry) (first uint64, err error)
	// Next returns the next offset to be given out.
	Next() uint64
	// Stored returns the watermark: every offset up to it is stored.
	Stored() uint64
	// NotifyStored has f called after each advance of the watermark.
	NotifyStored(f func(stored uint64))
	// Room returns a channel that is closed when, after ErrFull, there is room.
	Room() <-chan struct{}
}

// A Share is how much of the journal one lane is owed; a *Backlog is one.
type Share interface {
	// Add adds to what the lane is owed, Settle takes away.
	Add(messages, bytes int64)
	Settle(messages, bytes int64)
	// Full reports that no more is to be accepted for the lane (C7).
	Full() bool
	// Room returns a channel that is closed when the share is not full any more.
	Room() <-chan struct{}
}

// boundless is the share of a lane without one.
type boundless struct{}

func (boundless) Add(_, _ int64)        {}
func (boundless) Settle(_, _ int64)     {}
func (boundless) Full() bool            { return false }
func (boundless) Room() <-chan struct{} { return nil }

// A Feed is the lane of one sink, as the intake sees it.
type Feed struct {
	Lane     uint32   // number in the journal's table
	Name     string   // the sink's
	Share    Share    // nil: without a bound
	Rules    []uint32 // numbers of the rules with an output to the sink
	Required []uint32 // of them those with ack: delivered and a required output (C13)
}

// Routing is what an intake is told at the start and at each reload.
type Routing struct {
	// Want appends the numbers of the rules that want a topic to dst and returns
	// the strongest ack among them. It is called by many goroutines at once.
	Want  func(topic string, dst []uint32) ([]uint32, message.Ack)
	Feeds []Feed

	// Record holds topic filters: what matches one is journaled also when no rule
	// wants it (C9).
	Record []string
	// Default is the level at which recorded messages are acknowledged.
	Default message.AckLevel
}

// An Intake stands between the broker and the journal: it knows which rules
// want a topic and which lanes they feed, refuses what a full lane wants, and
// keeps the account of what each lane is owed (C7). Its methods may be called
// concurrently.
type Intake struct {
	log      IntakeLog
	receipts *Receipts
	table    atomic.Pointer[intakeTable]
	gen      atomic.Uint64
	// full says that some lane may be at its bound. While it is false, which is
	// nearly always, refusing costs one atomic load.
	full atomic.Bool
	pool sync.Pool // of *dues

	// swap separates what is appended under one table from what is under the
	// next: lanes must know the offset where that is (C16).
	swap sync.RWMutex
	one  sync.Mutex // one Swap at a time
}

// An intakeTable is a Routing, made for looking up. It never changes.
type intakeTable struct {
	Routing
	feeds map[uint32][]int // by rule: indexes of Feeds, each once
}

// NewIntake returns an intake that no rule wants anything of, until Swap.
func NewIntake(log IntakeLog, receipts *Receipts) *Intake {
	i := &Intake{log: log, receipts: receipts}
	receipts.Begin(log.Next)
	i.pool.New = func() any { return new(dues) }
	i.table.Store(&intakeTable{})
	return i
}

// Swap puts rules and lanes in the place of those in force, and returns the
// first offset that is given out under them: what lies below keeps the rules
// it was accepted with (C16). The lanes of new feeds must have taken up their
// cursors. It is the function that SwapRules calls.
func (i *Intake) Swap(r Routing) (from uint64) {
	i.one.Lock()
	defer i.one.Unlock()
	r.Feeds = slices.Clone(r.Feeds)
	t := &intakeTable{Routing: r, feeds: make(map[uint32][]int)}
	required := make(map[uint32][]uint32)
	for k := range r.Feeds {
		f := &r.Feeds[k]
		if f.Share == nil {
			f.Share = boundless{}
		}
		for _, rule := range f.Rules {
			t.feeds[rule] = append(t.feeds[rule], k)
		}
		for _, rule := range f.Required {
			required[rule] = append(required[rule], f.Lane)
		}
	}
	from, route := i.enforce(t, required)
	i.receipts.sweepAll(route)
	return from
}

// enforce is the moment of the change.
func (i *Intake) enforce(t *intakeTable, required map[uint32][]uint32) (from uint64, route *receiptRoute) {
	i.swap.Lock()
	defer i.swap.Unlock()
	// First the receipts: whoever sees the new rules finds them expected there.
	route = i.receipts.install(required)
	i.table.Store(t)
	i.full.Store(true) // until somebody has looked
	i.gen.Add(1)
	return i.log.Next(), route
}

// Want appends the numbers of the rules that want a topic to dst and returns
// what an acknowledgement waits for. record says that the message is to be
// journaled even if no rule wants it (C9): owed to nobody, and acknowledged at
// the journal's default level.
func (i *Intake) Want(name string, dst []uint32) (rules []uint32, ack message.Ack, record bool) {
	t := i.table.Load()
	before := len(dst)
	if t.Want != nil {
		dst, ack = t.Want(name, dst)
	}
	if len(dst) == before && t.records(name) {
		return dst, message.Ack{Level: t.Default}, true
	}
	return dst, ack, false
}

// Generation changes with each Swap: what Want said before is out of date.
func (i *Intake) Generation() uint64 { return i.gen.Load() }

// Stored returns the watermark: every offset up to it is stored.
func (i *Intake) Stored() uint64 { return i.log.Stored() }

// NotifyStored has f called after each advance of the watermark; f does not
// block.
func (i *Intake) NotifyStored(f func(stored uint64)) { i.log.NotifyStored(f) }

// Room returns a channel that is closed when, after journal.ErrFull, there is
// room. For a *journal.FullError its own channel says so.
func (i *Intake) Room() <-chan struct{} { return i.log.Room() }

// Await has done called once, when every required output of a message that was
// just appended is settled (C13); done does not block.
func (i *Intake) Await(offset uint64, rules []uint32, done func(offset uint64, delivered bool)) {
	i.receipts.Await(offset, rules, done)
}

// Append appends the entries to the journal, as journal.Journal.Append does,
// and notes what it owes to whom. When a lane that one of them feeds is full,
// nothing is appended, and the error is a *journal.FullError. generation is
// what Generation returned before Want was asked for the entries' rules; when
// it has changed since, the error is journal.ErrStale.
func (i *Intake) Append(entries []journal.Entry, generation uint64) (first uint64, err error) {
	i.swap.RLock()
	defer i.swap.RUnlock()
	if generation != i.gen.Load() {
		return 0, journal.ErrStale
	}
	t, y := i.table.Load(), i.borrow()
	defer i.pool.Put(y)
	y.count(t, entries)
	if i.full.Load() || i.receipts.crowded.Load() > 0 {
		if err := i.refuse(t, y, entries); err != nil {
			return 0, err
		}
	}
	y.add(t) // before a lane can find them in the journal, and settle them
	first, err = i.log.Append(entries)
	if err != nil {
		y.takeBack(t)
		return 0, err
	}
	for _, k := range y.used {
		if t.Feeds[k].Share.Full() {
			i.full.Store(true)
		}
	}
	return first, nil
}

// refuse returns the error for entries that feed a full lane, and notes when
// no lane is full any more.
func (i *Intake) refuse(t *intakeTable, y *dues, entries []journal.Entry) error {
	if i.full.Load() {
		for _, k := range y.used {
			if f := &t.Feeds[k]; f.Share.Full() {
				return &journal.FullError{Lane: f.Name, Room: f.Share.Room()}
			}
		}
		i.lookAgain(t)
	}
	for k := range entries {
		if e := &entries[k]; !e.NoWait {
			if lane, room := i.receipts.full(e.Rules); room != nil {
				return &journal.FullError{Lane: t.name(lane), Room: room}
			}
		}
	}
	return nil
}

// lookAgain lowers full when no lane is. A lane that fills up meanwhile raises
// it again: whoever fills it looks afterwards.
func (i *Intake) lookAgain(t *intakeTable) {
	i.full.Store(false)
	full := slices.ContainsFunc(t.Feeds, func(f Feed) bool { return f.Share.Full() })
	if full || i.table.Load() != t {
		i.full.Store(true)
	}
}

// records reports whether a topic is to be journaled in any case.
func (t *intakeTable) records(name string) bool {
	return slices.ContainsFunc(t.Record, func(filter string) bool { return topic.Match(filter, name) })
}

func (t *intakeTable) name(lane uint32) string {
	for k := range t.Feeds {
		if t.Feeds[k].Lane == lane {
			return t.Feeds[k].Name
		}
	}
	return ""
}

// dues add up what the entries of one Append are to each lane. They are
// borrowed for the call.
type dues struct {
	sums []sum // beside Feeds
	used []int // indexes of the sums that are not zero
	last []int // those of the entry counted last
	turn uint64
}

type sum struct {
	messages, bytes int64
	turn            uint64 // of the entry counted last, so that none counts twice
}

func (i *Intake) borrow() *dues {
	y, ok := i.pool.Get().(*dues)
	if !ok {
		panic("BUG: not dues")
	}
	return y
}

// count begins anew and counts the entries.
func (y *dues) count(t *intakeTable, entries []journal.Entry) {
	for _, k := range y.used {
		if k < len(y.sums) {
			y.sums[k] = sum{}
		}
	}
	y.used = y.used[:0]
	if len(y.sums) < len(t.Feeds) {
		y.sums = make([]sum, len(t.Feeds))
	}
	var before []uint32
	for k := range entries {
		rules, bytes := entries[k].Rules, int64(entries[k].Size())
		if k > 0 && same(rules, before) { // messages with one topic follow one another
			for _, f := range y.last {
				y.sums[f].messages++
				y.sums[f].bytes += bytes
			}
			continue
		}
		y.turn++
		y.last, before = y.last[:0], rules
		for _, rule := range rules {
			y.owe(t.feeds[rule], bytes)
		}
	}
}

// same reports whether two lists lie in the same place.
func same(a, b []uint32) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// owe counts one entry for the lanes of one of its rules.
func (y *dues) owe(feeds []int, bytes int64) {
	for _, k := range feeds {
		s := &y.sums[k]
		if s.turn == y.turn {
			continue
		}
		if s.messages == 0 {
			y.used = append(y.used, k)
		}
		y.last = append(y.last, k)
		s.messages++
		s.bytes += bytes
		s.turn = y.turn
	}
}

// add gives the sums to the lanes' shares.
func (y *dues) add(t *intakeTable) {
	for _, k := range y.used {
		t.Feeds[k].Share.Add(y.sums[k].messages, y.sums[k].bytes)
	}
}

// takeBack undoes add.
func (y *dues) takeBack(t *intakeTable) {
	for _, k := range y.used {
		t.Feeds[k].Share.Settle(y.sums[k].messages, y.sums[k].bytes)
	}
}
