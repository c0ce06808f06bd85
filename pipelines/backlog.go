package pipelines

import (
	"sync"
	"sync/atomic"
	"time"
)

// A Backlog is how much of the journal one lane is owed: the messages that its
// rules want and the bytes of their frames, from when they are appended until
// they are settled. The intake adds, the lane takes off; anybody may look.
//
// With on_full: block it also says when there is no room, so that the intake
// refuses what this lane's rules want, and nothing else (C7, I7).
type Backlog struct {
	messages, bytes       atomic.Int64
	maxMessages, maxBytes atomic.Int64 // 0: no bound
	late                  atomic.Bool  // the oldest message has reached its bound
	full                  atomic.Bool
	since                 atomic.Int64 // when it became full, Unix nanoseconds; 0 while it is not

	mu    sync.Mutex
	room  chan struct{} // guarded by mu: closed when it is not full any more
	taken bool          // guarded by mu: a lane has counted into it
}

// NewBacklog returns an empty Backlog without bounds; a lane sets its own.
func NewBacklog() *Backlog { return &Backlog{} }

// Add enters messages of one burst that were appended.
func (b *Backlog) Add(messages, bytes int64) {
	b.messages.Add(messages)
	b.bytes.Add(bytes)
	if !b.full.Load() && b.over() {
		b.consider()
	}
}

// Settle takes off messages that are settled.
func (b *Backlog) Settle(messages, bytes int64) {
	b.messages.Add(-messages)
	b.bytes.Add(-bytes)
	if b.full.Load() && b.roomy() {
		b.consider()
	}
}

// Messages returns how many messages the lane is owed. It is exact once the
// lane has passed what the journal held when it started; until then it may be
// more than there are.
func (b *Backlog) Messages() int64 { return max(0, b.messages.Load()) }

// Bytes returns the size of their frames.
func (b *Backlog) Bytes() int64 { return max(0, b.bytes.Load()) }

// Full reports that a bound is reached and that the policy is to refuse.
func (b *Backlog) Full() bool { return b.full.Load() }

// FullSince returns since when it has been full, zero while it is not.
func (b *Backlog) FullSince() time.Time {
	if at := b.since.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// Room returns a channel that is closed when there is room again; while there
// is, one that is closed already.
func (b *Backlog) Room() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.room == nil {
		b.room = make(chan struct{})
		if !b.full.Load() {
			close(b.room)
		}
	}
	return b.room
}

// take reports whether this is the first lane that counts into b: a lane that
// replaces another goes on with what is there.
func (b *Backlog) take() (first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	first = !b.taken
	b.taken = true
	return first
}

// bound sets the bounds at which it is full, 0 for none.
func (b *Backlog) bound(messages, bytes int64) {
	b.maxMessages.Store(messages)
	b.maxBytes.Store(bytes)
	b.consider()
}

// age says whether the oldest message is at its bound.
func (b *Backlog) age(late bool) {
	if b.late.Load() != late {
		b.late.Store(late)
		b.consider()
	}
}

func (b *Backlog) over() bool {
	return b.late.Load() || reached(b.messages.Load(), b.maxMessages.Load()) || reached(b.bytes.Load(), b.maxBytes.Load())
}

func reached(n, most int64) bool { return most > 0 && n >= most }

// roomy reports whether a tenth of each bound is free: being full ends later
// than it began, or every message would be refused and admitted in turn.
func (b *Backlog) roomy() bool {
	return !b.late.Load() && eased(b.messages.Load(), b.maxMessages.Load()) && eased(b.bytes.Load(), b.maxBytes.Load())
}

func eased(n, most int64) bool { return most <= 0 || n <= most-max(1, most/10) }

// consider enters or ends being full. It looks again after each change: who
// counted meanwhile may have seen the state before.
func (b *Backlog) consider() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch full := b.full.Load(); {
		case !full && b.over():
			b.full.Store(true)
			b.since.Store(time.Now().UnixNano())
			b.room = nil // Room makes one that is open
		case full && b.roomy():
			b.full.Store(false)
			b.since.Store(0)
			if b.room != nil {
				close(b.room)
			}
			b.room = nil
		default:
			return
		}
	}
}

// A count is messages and the bytes of their frames.
type count struct{ messages, bytes int64 }

func (c *count) add(messages, bytes int64) { c.messages += messages; c.bytes += bytes }

func (c *count) take(messages, bytes int64) { c.messages -= messages; c.bytes -= bytes }

// owed is the lane's side of its Backlog. What is appended from now on is
// counted exactly. For what the journal held before there is only a guess, never
// too low, which shrinks with each message that is settled; the rest of it goes
// when the lane has seen all of those messages.
type owed struct {
	backlog  *Backlog
	boundary uint64 // the first offset that was not stored yet
	exact    bool   // the guess is gone
	guess    count  // what the backlog holds for offsets below the boundary
	seen     count  // messages below the boundary that are read and not settled
	settled  count  // not told to the backlog yet
}

// begin enters a message the lane has read.
func (o *owed) begin(offset uint64, size int64) {
	if o.exact {
		return
	}
	if offset < o.boundary {
		o.seen.add(1, size)
		return
	}
	o.know(count{}) // everything below the boundary is read
}

// close enters a message that is settled; it was read before.
func (o *owed) close(offset uint64, size int64) {
	if !o.exact && offset < o.boundary {
		o.seen.take(1, size)
	}
	o.lose(offset, size)
}

// lose enters a message that is settled and was never read.
func (o *owed) lose(offset uint64, size int64) {
	if o.exact || offset >= o.boundary {
		o.settled.add(1, size)
		return
	}
	n, b := min(1, o.guess.messages), min(size, o.guess.bytes)
	o.guess.take(n, b)
	o.settled.add(n, b)
}

// know replaces the guess: beside what is seen, ahead is all there is below the
// boundary.
func (o *owed) know(ahead count) {
	o.settled.add(o.guess.messages-o.seen.messages-ahead.messages, o.guess.bytes-o.seen.bytes-ahead.bytes)
	o.exact, o.guess = true, count{}
}

// flush tells the backlog.
func (o *owed) flush() {
	if o.settled != (count{}) {
		o.backlog.Settle(o.settled.messages, o.settled.bytes)
		o.settled = count{}
	}
}

// total is what the lane is owed at this moment.
func (o *owed) total() count {
	return count{o.backlog.messages.Load() - o.settled.messages, o.backlog.bytes.Load() - o.settled.bytes}
}

// takeBacklog begins to count what the lane is owed.
func (l *Lane) takeBacklog(b *Backlog, number uint32) {
	if b == nil {
		b = NewBacklog()
	}
	o := &l.ledger.owed
	o.backlog, o.boundary = b, l.journal.Stored()+1
	if o.exact = !b.take(); !o.exact {
		if g, ok := l.journal.(Guesser); ok {
			o.guess.messages, o.guess.bytes = g.Owed(number)
		}
		b.Add(o.guess.messages, o.guess.bytes)
	}
	l.overflow.bound(b)
}

// Backlog returns what the lane is owed.
func (l *Lane) Backlog() *Backlog { return l.ledger.owed.backlog }

// reckon replaces the guess when the lane has read all that it was about.
func (l *Lane) reckon() {
	if o := &l.ledger.owed; !o.exact && l.dry && !l.held && l.readErr == nil && len(l.crew.queue) == 0 {
		o.know(count{})
	}
}
