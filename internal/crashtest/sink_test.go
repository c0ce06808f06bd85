package crashtest_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
)

// A destination takes the records of one lane and keeps what it took through
// every crash, as a Kafka elsewhere does. All of it is guarded by world.mu.
type destination struct {
	w    *world
	lane int

	mood       mood
	fine       time.Time // since when nothing went wrong here
	queue      []answer  // of the writes to come, before the mood decides
	release    chan struct{}
	connection int             // how many there have been
	busy       map[string]bool // keys of running writes

	arrivals []arrival      // everything ever confirmed or written, in order
	checked  int            // of arrivals
	count    map[string]int // by record id
	allowed  map[string]int // copies that have a cause, by record id
	seen     map[string]bool
	newest   map[string]arrival // by key, of first copies
}

// An arrival is one record at its destination.
type arrival struct {
	id           string
	message      message.ID
	rule, output uint32
	serial       int
	key, value   string
}

type mood int

const (
	moodFine mood = iota
	moodSlow
	moodDown    // unavailable
	moodHanging // takes a write and says nothing
)

func (m mood) String() string { return [...]string{"fine", "slow", "down", "hanging"}[m] }

// An answer is what one write will meet.
type answer int

const (
	answerConfirm answer = iota
	answerRetry          // nothing written
	answerLost           // some written, and the answer never came
	answerDown           // some written, then unavailable
	answerPartial        // some keys fail from some record on
	answerBusy           // nothing written, and a time to come back
	answers
)

func (a answer) String() string {
	return [...]string{"confirm", "retry", "lost", "down", "partial", "busy"}[a]
}

func newDestination(w *world, lane int) *destination {
	return &destination{
		w: w, lane: lane, release: make(chan struct{}), busy: map[string]bool{},
		count: map[string]int{}, allowed: map[string]int{}, seen: map[string]bool{}, newest: map[string]arrival{},
	}
}

// Open begins a connection; writes of the one before are nobody's any more.
func (d *destination) Open(context.Context) error {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	d.cutOff()
	return nil
}

// Close ends the connection, and with it the writes that hang.
func (d *destination) Close(context.Context) error {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	d.cutOff()
	return nil
}

// cutOff has running writes end without a word. The caller holds world.mu.
func (d *destination) cutOff() {
	d.connection++
	clear(d.busy)
	close(d.release)
	d.release = make(chan struct{})
}

// A writing is one write under way.
type writing struct {
	how        answer
	wait       time.Duration
	hang       <-chan struct{} // nil: it does not
	random     *rand.Rand
	connection int // the destination's when it began
}

// Write is one write of the lane, which may take its time.
func (d *destination) Write(ctx context.Context, batch []message.Record) error {
	x := d.begin(batch)
	if x.wait > 0 {
		select {
		case <-time.After(x.wait):
		case <-ctx.Done():
		}
	}
	if x.hang != nil {
		select {
		case <-x.hang:
		case <-ctx.Done():
			x.how = answerLost
		}
	}
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	if d.w.off || x.connection != d.connection {
		return errors.New("connection lost")
	}
	for i := range batch {
		delete(d.busy, string(batch[i].Key))
	}
	return d.end(batch, x.how, x.random)
}

// begin notes a write and decides what becomes of it.
func (d *destination) begin(batch []message.Record) writing {
	w := d.w
	w.mu.Lock()
	defer w.mu.Unlock()
	mine := map[string]bool{}
	for i := range batch {
		key := string(batch[i].Key)
		if d.busy[key] && !mine[key] && !w.off {
			w.failLocked("C18: two writes of key %s at a time in lane %s", key, lanes[d.lane])
		}
		mine[key], d.busy[key] = true, true
	}
	w.writes++
	x := writing{random: rand.New(rand.NewPCG(w.seed, uint64(w.writes))), connection: d.connection}
	switch d.mood {
	case moodDown:
		x.how = answerDown
	case moodHanging:
		x.hang = d.release
	case moodSlow:
		x.wait = time.Duration(10+x.random.IntN(200)) * time.Millisecond
	case moodFine:
		x.wait = time.Duration(x.random.IntN(3)) * time.Millisecond
	}
	if len(d.queue) > 0 && d.mood != moodDown {
		x.how, d.queue = d.queue[0], d.queue[1:]
	}
	return x
}

// end is the destination's answer. The caller holds world.mu.
func (d *destination) end(batch []message.Record, how answer, random *rand.Rand) error {
	bad := false
	for i := range batch {
		bad = bad || poisonous(&batch[i])
	}
	if how != answerConfirm {
		d.fine = time.Now()
	}
	switch {
	case how == answerRetry:
		return &bridges.Retry{Err: errors.New("busy")}
	case how == answerBusy:
		return &bridges.Retry{After: time.Duration(random.IntN(2000)) * time.Millisecond, Err: errors.New("throttled")}
	case how == answerLost:
		d.some(batch, random)
		return errors.New("timeout")
	case how == answerDown:
		d.some(batch, random)
		return &bridges.Unavailable{Err: errors.New("connection reset")}
	case how == answerPartial, bad && random.IntN(2) == 0:
		return d.part(batch, how, random)
	case bad:
		return &bridges.Reject{Err: errors.New("poison")}
	}
	for i := range batch {
		d.take(&batch[i])
	}
	return nil
}

func poisonous(r *message.Record) bool { return bytes.HasPrefix(r.Value, []byte("x")) }

// some takes the first records of a write whose outcome stays open: they may
// come once more.
func (d *destination) some(batch []message.Record, random *rand.Rand) {
	for i := range batch[:random.IntN(len(batch)+1)] {
		if poisonous(&batch[i]) {
			return
		}
		d.take(&batch[i])
		d.allowed[string(batch[i].AppendID(nil))]++
	}
}

// part refuses what is poison, and some keys from some record on.
func (d *destination) part(batch []message.Record, how answer, random *rand.Rand) error {
	failed := map[int]error{}
	stopped := map[string]bool{}
	for i := range batch {
		key := string(batch[i].Key)
		switch {
		case poisonous(&batch[i]):
			failed[i] = &bridges.Reject{Err: errors.New("poison")}
		case stopped[key] || how == answerPartial && random.IntN(4) == 0:
			stopped[key] = true
			failed[i] = &bridges.Retry{Err: errors.New("not leader")}
		default:
			d.take(&batch[i])
		}
	}
	return &bridges.Partial{Failed: failed}
}

// take stores a record for good.
func (d *destination) take(r *message.Record) {
	a := arrival{
		id: string(r.AppendID(nil)), message: r.Message, rule: r.Rule, output: r.Output,
		serial: serialOf(r.Value[1:]), key: string(r.Key), value: string(r.Value),
	}
	d.arrivals = append(d.arrivals, a)
	d.count[a.id]++
}

// feel changes the mood; writes that hang are answered.
func (d *destination) feel(m mood) {
	if d.mood != moodFine || m != moodFine {
		d.fine = time.Now()
	}
	d.mood = m
	close(d.release)
	d.release = make(chan struct{})
}

// forgive allows once more what the stored cursor does not cover: a new run
// of the lane writes it again (C15). The caller holds world.mu.
func (d *destination) forgive(covered func(offset uint64) bool) {
	clear(d.busy)
	seen := map[string]bool{}
	for _, a := range d.arrivals {
		if !seen[a.id] && !covered(a.message.Offset) {
			d.allowed[a.id]++
		}
		seen[a.id] = true
	}
}

// A shardedDestination says what belongs together, and changes its mind.
type shardedDestination struct{ *destination }

func (d shardedDestination) Shard(r *message.Record) (group, shard, gen uint32) {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	gen = uint32(d.w.life+d.w.writes/40) % 3
	return uint32(r.Order>>8) % 2, uint32(r.Order) % (gen + 1), gen
}
