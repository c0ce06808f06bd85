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
	"sync"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// stopTime is how long a lane lets writes in flight end when it is stopped,
// and how long the sink may take to close.
const stopTime = 5 * time.Second

// LaneOptions is what NewLane needs.
type LaneOptions struct {
	Name    string // the sink's
	Number  uint32 // the lane's number in the journal's table
	Journal Journal
	// Evaluators makes what runs the lane's rules: one, or more where one core
	// is not enough. They do the same and share no state.
	Evaluators  func() Evaluator
	Sink        bridges.Sink
	Delivery    DeliveryConfig
	DeadLetters DeadLetters
	RuleName    func(number uint32) string // also of rules that are gone
	Receipts    Confirmations              // nil: nobody waits for a delivery
	State       StateStore                 // for an Evaluator that is Stateful; nil: none is
	Log         *slog.Logger               // carries the attribute lane
}

// A Lane is one sink at work.
type Lane struct {
	name       string
	journal    Journal
	evaluator  Evaluator
	sink       bridges.Sink
	config     DeliveryConfig
	names      *ruleNames
	log        *slog.Logger
	requests   chan request  // what others ask of the lane's goroutine
	ended      chan struct{} // closed when Run has returned
	afterwards sync.Mutex    // once it has: what it owned is guarded by this

	// All below belongs to the goroutine in Run, but for ledger.snapshot.
	now         time.Time // of this turn of the loop
	reader      Reader
	dry         bool            // the reader had nothing more in this turn
	readErr     error           // the last one logged
	readAt      time.Time       // not before, after an error
	recovered   []journal.Range // settled before the restart, not read again yet
	ledger      *ledger
	crew        *crew
	took        time.Duration // one evaluation of this turn, 0 while none was measured
	timer       *time.Timer   // of wait
	ticks       TickReader    // the reader, where the rules want to know the time
	from        uint64        // where the reader begins
	checkpoints checkpoints
	schedule    *schedule
	router      router
	breaker     breaker
	letters     *letterBox
	injections  injections
	keeper      *keeper
	errors      errorLog
	mistakes    ruleLog
	failing     int         // shards with failures in a row
	results     chan result // capacity in_flight: a writer never waits
	stop        error       // why the lane ends, nil while it goes on
	rules       Rules
	held        bool // between two rule sets: nothing is read

	numbers []uint32 // scratch of one message: the rules that want it
	wanting []int32  // those of them that are the lane's, as indexes
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
	names := &ruleNames{current: o.RuleName}
	l := &Lane{
		name: o.Name, journal: o.Journal, evaluator: o.Evaluators(), rules: Rules{o.Evaluators, o.RuleName}, sink: o.Sink, config: config,
		names: names, log: o.Log, requests: make(chan request), ended: make(chan struct{}),
		ledger:   &ledger{receipts: o.Receipts, lane: o.Number},
		schedule: newSchedule(config),
		keeper:   &keeper{journal: o.Journal, lane: o.Number, log: o.Log},
		letters: &letterBox{
			lane: o.Name, journal: o.Journal, store: o.DeadLetters, name: names.of, log: o.Log,
			done: make(chan carried, 1), // one batch is carried at a time
		},
		errors:   errorLog{log: o.Log},
		results:  make(chan result, config.InFlight),
		mistakes: ruleLog{log: o.Log, seen: make(map[ruleCause]struct{})},
	}
	l.injections.room = make(chan struct{}, injectPieces)
	l.ledger.injections = &l.injections
	l.router = newRouter(o.Sink, l.schedule)
	l.checkpoints = checkpoints{store: o.State, key: o.Name, log: o.Log}
	if err := l.resume(o.Number); err != nil {
		return l, err
	}
	l.crew = newCrew(l.checkpoints.state != nil)
	return l, nil
}

// resume takes up the cursor, then the state that belongs to it.
func (l *Lane) resume(number uint32) error {
	if err := l.resumeCursor(number); err != nil {
		return err
	}
	var err error
	if l.from, err = l.checkpoints.begin(l.evaluator, l.ledger.position); l.checkpoints.state != nil {
		l.ledger.again = l.from
	}
	return err
}

func (l *Lane) resumeCursor(number uint32) error {
	rules := l.evaluator.Rules()
	for _, n := range rules {
		l.ledger.enter(n) // so that accounts keep their order
	}
	c, ok := l.journal.Cursor(number)
	if !ok {
		l.ledger.position = l.journal.Stored() + 1
		l.ledger.begins(rules)
		return l.storeNow("store first cursor")
	}
	l.ledger.position, l.recovered = c.Low, c.Settled
	l.keeper.position, l.keeper.low = c.Low, c.Low
	known, err := l.ledger.restore(c)
	if err != nil {
		l.log.Warn("read counters, they begin at zero", slog.Any("err", err))
	}
	if !known { // a cursor that says nothing of rules: all that there are fed it
		l.ledger.begins(rules)
	}
	at := l.journal.Stored() + 1
	if !l.ledger.announce(rules, at) {
		return nil
	}
	// What is accepted from now on is of these rules, so that must be in the
	// log first.
	l.ledger.proceed(at)
	return l.storeNow("store cursor")
}

// storeNow stores the cursor in the order of the log before all that comes.
func (l *Lane) storeNow(what string) error {
	l.keeper.store(l.ledger, l.recovered, time.Time{})
	if l.keeper.err != nil {
		return fmt.Errorf("%s: %w", what, l.keeper.err)
	}
	return nil
}

// Name returns the lane's name, which is its sink's.
func (l *Lane) Name() string { return l.name }

// Account returns the lane's figures (C22), as of one moment.
func (l *Lane) Account() Account {
	a := Account{Lane: l.name}
	l.ledger.snapshot(func(rule uint32, f *figures) {
		a.Rules = append(a.Rules, f.account(rule, l.names.of(rule)))
	})
	return a
}

// Run delivers until ctx ends, then lets what is in flight settle for at most
// 5 s, stores the cursor and closes the sink. It returns nil after an orderly
// stop, and the reason when the sink said that it cannot go on, or the journal.
// It is called once.
func (l *Lane) Run(ctx context.Context) error {
	defer close(l.ended)
	defer func() { l.injections.end() }()
	if err := l.open(ctx); err != nil {
		if ctx.Err() != nil { // stopped before there was anything to settle
			return nil
		}
		return err
	}
	l.reader = l.journal.NewReader(l.from)
	defer l.reader.Close()
	if err := l.listen(); err != nil {
		return errors.Join(err, l.close(ctx))
	}
	// Writes outlive ctx by stopTime.
	writes, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	for ctx.Err() == nil && l.stop == nil {
		if l.turn(writes) && l.stop == nil {
			l.wait(ctx)
		}
	}
	l.drain(cancel)
	return errors.Join(l.stop, l.close(ctx))
}

// listen has the reader stop at ticks when the rules want to know the time.
func (l *Lane) listen() error {
	if l.checkpoints.state == nil || l.reader == nil {
		l.ticks = nil // those that still come are of no rule
		return nil
	}
	ticks, ok := l.reader.(TickReader)
	if !ok {
		return errors.New("BUG: a stateful evaluator on a journal without ticks")
	}
	ticks.WantTicks()
	l.ticks = ticks
	return nil
}

// open opens the sink, again and again while that is unavailable, until ctx ends.
func (l *Lane) open(ctx context.Context) error {
	for n := 1; ; n++ {
		err := l.sink.Open(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil && !mayPass(err) {
			return fmt.Errorf("open sink: %w", err)
		}
		l.errors.note(n, err)
		if err := l.pause(ctx, backOff(n)); err != nil {
			return err
		}
	}
}

// pause waits before the sink is opened again, and answers meanwhile.
func (l *Lane) pause(ctx context.Context, d time.Duration) error {
	over := time.NewTimer(d)
	defer over.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over.C:
			return nil
		case r := <-l.requests:
			r.serve()
		}
	}
}

// turn does what can be done without waiting and reports whether nothing is
// left to do until something happens.
func (l *Lane) turn(writes context.Context) (idle bool) {
	l.now = time.Now()
	l.collect()
	l.inject()
	l.schedule.expire(l.now)
	l.read()
	l.unblock()
	l.keep() // before dispatch, which waits for what is stored
	l.dispatch(writes)
	l.letters.send(l.now)
	l.ledger.publish()
	return l.idle()
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
		l.keeper.store(l.ledger, l.recovered, l.now)
	}
	l.checkpoint()
}

// wait blocks until something may have changed.
func (l *Lane) wait(ctx context.Context) {
	var timer <-chan time.Time
	if at := l.wake(); !at.IsZero() {
		if l.timer == nil {
			l.timer = time.NewTimer(time.Until(at))
		} else {
			l.timer.Reset(time.Until(at))
		}
		defer l.timer.Stop()
		timer = l.timer.C
	}
	select {
	case <-ctx.Done():
	case <-timer:
	case <-l.reader.Ready():
	case r := <-l.results:
		l.now = time.Now()
		l.finish(r)
	case c := <-l.letters.done:
		l.now = time.Now()
		l.letters.returned(c, l.now, l.buried)
	case r := <-l.requests:
		r.serve()
	case b := <-l.crew.done:
		b.done = true
	}
}

// wake returns when the lane must look again though nothing else happened;
// zero for never.
func (l *Lane) wake() time.Time {
	var at time.Time
	for _, t := range [...]time.Time{l.wakeToWrite(), l.wakeToRead(), l.wakeToKeep()} {
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
	if len(l.keeper.pending) > 0 && l.schedule.ready.head != nil {
		at = sooner(at, l.now.Add(pollStored))
	}
	return at
}

// drain ends the lane: no new write begins, those in flight have stopTime
// before cancel ends them, and what they settled is stored.
func (l *Lane) drain(cancel context.CancelFunc) {
	l.crew.drop() // it is read again in the next life
	end := time.NewTimer(stopTime)
	defer end.Stop()
	over := false
	for {
		l.now = time.Now()
		if !over {
			l.letters.send(l.now)
		}
		if l.schedule.flying == 0 && !l.letters.busy {
			break
		}
		select {
		case r := <-l.results:
			l.finish(r)
		case c := <-l.letters.done:
			l.letters.returned(c, l.now, l.buried)
		case r := <-l.requests:
			r.serve()
		case <-end.C:
			over = true
			cancel()
		}
	}
	if l.keeper.changed(l.ledger) {
		l.keeper.store(l.ledger, l.recovered, l.now)
	}
	l.checkpoints.at = time.Time{} // due, if anything changed
	l.checkpoint()
	l.ledger.publish()
}

// close closes the sink; ctx has ended, or not when the lane gave up.
func (l *Lane) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := l.sink.Close(ctx); err != nil {
		return fmt.Errorf("close sink: %w", err)
	}
	return nil
}
