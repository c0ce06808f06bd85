// Package pipelines delivers: a lane takes the journal's messages through the
// rules of one sink and hands what they make to the sink, in order, until it is
// confirmed, and keeps in the journal how far it got.
//
//	Reader.Next -- Evaluate -- shard -- batch -- Sink.Write -- settle -- cursor
//	               (one goroutine owns all of this)   |
//	                                       up to in_flight writers
//
// A record is owed until the sink confirmed it or it is durable in the dead
// letters; only then may the cursor pass its message (I2). Records of one
// shard are written one batch at a time, in journal order (I3).
package pipelines

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// stopTime is how long a lane lets writes in flight end when it is stopped,
// and how long the sink may take to close. graceTime is how long they have
// after they were told to end, before they are left behind.
const (
	stopTime  = 5 * time.Second
	graceTime = 250 * time.Millisecond
)

// LaneOptions is what NewLane needs.
type LaneOptions struct {
	Name        string // the sink's
	Number      uint32 // the lane's number in the journal's table
	Journal     Journal
	Evaluator   Evaluator
	Sink        bridges.Sink
	Delivery    DeliveryConfig
	DeadLetters *DeadLetters
	RuleName    func(number uint32) string
	Log         *slog.Logger // carries the attribute lane
	// Share is how many bytes of the journal the lane may be owed, unless
	// Delivery says otherwise; 0 = no bound (C7).
	Share int64
	// Backlog counts what the lane is owed; nil: a new one. One that another
	// lane has counted into is taken over as it is.
	Backlog *Backlog
	Paused  bool // the lane begins paused
}

// A Lane is one sink at work.
type Lane struct {
	name      string
	journal   Journal
	evaluator Evaluator
	sink      bridges.Sink
	config    DeliveryConfig
	ruleName  func(uint32) string
	log       *slog.Logger

	// These are for other goroutines too.
	paused atomic.Bool
	kick   chan struct{} // capacity 1: look again
	asks   chan ask
	status status

	// All below belongs to the goroutine in Run, but for ledger.snapshot.
	now       time.Time // of this turn of the loop
	reader    Reader
	dry       bool            // the reader had nothing more in this turn
	readErr   error           // the last one logged
	readAt    time.Time       // not before, after an error
	recovered []journal.Range // settled before the restart, not read again yet
	ledger    *ledger
	schedule  *schedule
	router    router
	breaker   breaker
	letters   *letterBox
	keeper    *keeper
	link      link
	overflow  overflow
	scout     *scout // nil while nothing must be read ahead
	lookout   lookout
	throttle  throttle
	watchdog  watchdog
	errors    errorLog
	mistakes  ruleLog
	failing   int         // shards with failures in a row
	results   chan result // capacity in_flight: a writer never waits
	stop      error       // why the lane ends, nil while it goes on

	numbers []uint32 // scratch of one message: the rules that want it
	rules   []int32  // those of them that are the lane's, as indexes
	message message.Message
	outcome message.Outcome
}

// A result is how a Write ended.
type result struct {
	shard *shard
	batch *batch
	err   error
}

// NewLane takes up the lane's stored cursor; a lane that has none begins with
// what is stored from now on, and stores that.
func NewLane(o LaneOptions) (*Lane, error) {
	config := o.Delivery.withDefaults()
	l := &Lane{
		name: o.Name, journal: o.Journal, evaluator: o.Evaluator, sink: o.Sink, config: config,
		ruleName: o.RuleName, log: o.Log,
		ledger:   newLedger(o.Evaluator.Rules()),
		schedule: newSchedule(config),
		keeper:   &keeper{journal: o.Journal, lane: o.Number, log: o.Log},
		letters: &letterBox{
			lane: o.Name, journal: o.Journal, store: o.DeadLetters, name: o.RuleName, log: o.Log,
			done: make(chan carried, 1), // one batch is carried at a time
		},
		errors:   errorLog{log: o.Log},
		results:  make(chan result, config.InFlight),
		mistakes: ruleLog{log: o.Log, seen: make(map[ruleCause]struct{})},
		link:     newLink(), overflow: newOverflow(config, o.Share),
		throttle: throttle{rate: config.DrainRate}, watchdog: watchdog{every: config.Watchdog},
		kick: make(chan struct{}, 1), asks: make(chan ask),
	}
	l.paused.Store(o.Paused)
	l.router = newRouter(o.Sink, l.schedule)
	if err := l.resume(o.Number); err != nil {
		return nil, err
	}
	l.takeBacklog(o.Backlog, o.Number)
	return l, nil
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

func (l *Lane) resume(number uint32) error {
	c, ok := l.journal.Cursor(number)
	if !ok {
		l.ledger.position = l.journal.Stored() + 1
		l.keeper.store(l.ledger, nil, time.Time{})
		if l.keeper.err != nil {
			return fmt.Errorf("store first cursor: %w", l.keeper.err)
		}
		return nil
	}
	l.ledger.position, l.recovered = c.Low, c.Settled
	l.keeper.position = c.Low
	if err := l.ledger.restore(c.Counters); err != nil {
		l.log.Warn("read counters, they begin at zero", slog.Any("err", err))
	}
	return nil
}

// Backlog returns what the lane is owed.
func (l *Lane) Backlog() *Backlog { return l.backlog() }

// Name returns the lane's name, which is its sink's.
func (l *Lane) Name() string { return l.name }

// Account returns the lane's figures (C22), as of one moment.
func (l *Lane) Account() Account {
	a := Account{Lane: l.name}
	l.ledger.snapshot(func(rule uint32, f *figures) {
		a.Rules = append(a.Rules, f.account(rule, l.ruleName(rule)))
	})
	return a
}

// Run delivers until ctx ends, then lets what is in flight settle for at most
// 5 s, stores the cursor and closes the sink. It returns nil after an orderly
// stop, and the reason when the sink said that it cannot go on, or the journal.
// It is called once.
func (l *Lane) Run(ctx context.Context) error {
	defer close(l.link.over)
	l.reader = l.journal.NewReader(l.ledger.position)
	defer l.reader.Close()
	defer l.closeScout()
	defer func() { l.lookout.rest(0) }()
	// Writes outlive ctx by stopTime.
	writes, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	for ctx.Err() == nil && l.stop == nil {
		if l.turn(ctx, writes) && l.stop == nil {
			l.wait(ctx)
		}
	}
	l.drain(cancel)
	err := errors.Join(l.stop, l.close(ctx))
	l.become(Stopped, stopReason(l.stop))
	return err
}

// turn does what can be done without waiting and reports whether nothing is
// left to do until something happens.
func (l *Lane) turn(ctx, writes context.Context) (idle bool) {
	l.now = time.Now()
	l.collect()
	l.connect(ctx)
	l.schedule.expire(l.now)
	l.read()
	l.scoutAhead()
	l.overrun()
	l.unblock()
	l.keep() // before dispatch, which waits for what is stored
	l.dispatch(writes)
	l.letters.send(l.now)
	l.watch(ctx)
	l.lookAhead()
	l.publish()
	return (l.dry || !l.mayRead()) && (l.scout == nil || l.scout.dry) && !l.lookout.busy
}

// publish shows others how the lane is.
func (l *Lane) publish() {
	l.ledger.owed.flush()
	l.ledger.publish()
	l.report()
}

// unblock looks for work where reading more is not allowed: batches that wait
// to be filled go as they are, and shards whose write takes long no longer
// count as busy.
func (l *Lane) unblock() {
	if l.mayRead() || l.schedule.permits == 0 {
		return
	}
	l.schedule.markStalled(l.now)
	if l.schedule.ready.head == nil {
		l.schedule.endLinger()
	}
}

// keep stores the cursor when it is due.
func (l *Lane) keep() {
	l.keeper.poll()
	if l.keeper.due(l.ledger, l.now) {
		l.keeper.store(l.ledger, l.beyond(), l.now)
	}
}

// wait blocks until something may have changed.
func (l *Lane) wait(ctx context.Context) {
	var timer <-chan time.Time
	if at := l.wake(); !at.IsZero() {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
	case <-timer:
	case <-l.kick:
	case <-l.reader.Ready():
	case <-l.aheadReady():
	case err := <-l.link.done:
		l.now = time.Now()
		l.linked(err)
	case a := <-l.asks:
		a.answer <- l.inquire(a.offset)
	case r := <-l.results:
		l.now = time.Now()
		l.finish(r)
	case c := <-l.letters.done:
		l.now = time.Now()
		l.letters.returned(c, l.now, l.buried)
	}
}

// wake returns when the lane must look again though nothing else happened;
// zero for never.
func (l *Lane) wake() time.Time {
	var at time.Time
	for _, t := range [...]time.Time{
		l.wakeToWrite(), l.wakeToRead(), l.wakeToKeep(), l.wakeToShed(), l.wakeToDrain(), l.wakeToWatch(), l.wakeToConnect(),
	} {
		at = sooner(at, t)
	}
	if l.letters.state == blocked && !l.letters.busy {
		at = sooner(at, l.letters.retryAt)
	}
	return at
}

// sooner returns the earlier of two times, of which zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (l *Lane) wakeToWrite() time.Time {
	var at time.Time
	if len(l.schedule.waits) > 0 {
		at = l.schedule.waits[0].deadline
	}
	if l.breaker.state == open && l.now.Before(l.breaker.until) {
		at = sooner(at, l.breaker.until)
	}
	return at
}

func (l *Lane) wakeToRead() time.Time {
	switch {
	case l.now.Before(l.readAt):
		return l.readAt
	case !l.mayRead():
		return l.schedule.markStalled(l.now)
	}
	return time.Time{}
}

func (l *Lane) wakeToKeep() time.Time {
	var at time.Time
	if l.keeper.changed(l.ledger) {
		at = l.keeper.at.Add(cursorEvery)
	}
	if len(l.keeper.pending) > 0 && l.mayWrite() {
		at = sooner(at, l.now.Add(pollStored))
	}
	return at
}

// drain ends the lane: no new write begins, those in flight have stopTime
// before cancel ends them, and what they settled is stored. What does not end
// then either is left behind: its records are written again after a restart.
func (l *Lane) drain(cancel context.CancelFunc) {
	end := time.NewTimer(stopTime)
	defer end.Stop()
	var told, gone bool
	for {
		l.now = time.Now()
		if !told {
			l.letters.send(l.now)
		}
		if !l.letters.busy && (gone || l.schedule.flying == 0 && !l.link.busy()) {
			break
		}
		select {
		case r := <-l.results:
			l.finish(r)
		case err := <-l.link.done:
			l.link.leave(err)
		case c := <-l.letters.done:
			l.letters.returned(c, l.now, l.buried)
		case <-end.C:
			told, gone = true, told
			cancel()
			end.Reset(graceTime)
		}
	}
	l.leaveBehind()
	if l.keeper.changed(l.ledger) {
		l.keeper.store(l.ledger, l.beyond(), l.now)
	}
	l.publish()
}

// leaveBehind says what did not end though it was told to.
func (l *Lane) leaveBehind() {
	if n := len(l.schedule.writing); n > 0 {
		l.log.Error("writes did not end, left behind", slog.Int("count", n))
	}
	if l.link.busy() {
		l.log.Error("sink did not open or close, left behind")
	}
}
