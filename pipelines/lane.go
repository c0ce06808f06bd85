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

	paused atomic.Bool
	kick   chan struct{} // capacity 1: look again
	status status

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
	link        link
	overflow    overflow
	scout       *scout // nil while nothing must be read ahead
	lookout     lookout
	throttle    throttle
	watchdog    watchdog
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
		ledger:   newLedger(o.Receipts, o.Number),
		schedule: newSchedule(config),
		keeper:   &keeper{journal: o.Journal, lane: o.Number, log: o.Log},
		letters: &letterBox{
			lane: o.Name, journal: o.Journal, store: o.DeadLetters, name: names.of, log: o.Log,
			done: make(chan carried, 1), // one batch is carried at a time
		},
		errors:   errorLog{log: o.Log},
		results:  make(chan result, config.InFlight),
		mistakes: ruleLog{log: o.Log, seen: make(map[ruleCause]struct{})},
		link:     link{done: make(chan error, 1)}, overflow: newOverflow(config, o.Share),
		throttle: throttle{rate: config.DrainRate}, watchdog: watchdog{every: config.Watchdog},
		kick: make(chan struct{}, 1),
	}
	l.injections.room = make(chan struct{}, injectPieces)
	l.ledger.injections = &l.injections
	l.paused.Store(o.Paused)
	l.router = newRouter(o.Sink, l.schedule)
	l.checkpoints = checkpoints{store: o.State, key: o.Name, log: o.Log}
	if err := l.resume(o.Number); err != nil {
		return l, err
	}
	l.crew = newCrew(l.alone())
	l.takeBacklog(o.Backlog, o.Number)
	return l, nil
}

// alone reports whether the lane evaluates without a crew: a stateful evaluator
// works in the order of offsets (C21), and with drop_newest each message is
// judged before it is evaluated.
func (l *Lane) alone() bool { return l.checkpoints.state != nil || l.overflow.policy == dropNewest }

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
	l.keeper.store(l.ledger, l.beyond(), time.Time{})
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
	l.reader = l.journal.NewReader(l.from)
	defer l.reader.Close()
	defer l.closeScout()
	defer func() { l.lookout.rest(0) }()
	if err := l.listen(); err != nil {
		return err
	}
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

// turn does what can be done without waiting and reports whether nothing is
// left to do until something happens.
func (l *Lane) turn(ctx, writes context.Context) (idle bool) {
	l.now = time.Now()
	l.collect()
	l.connect(ctx)
	l.inject()
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
	return l.idle() && (l.scout == nil || l.scout.dry) && !l.lookout.busy
}

// publish shows others how the lane is.
func (l *Lane) publish() {
	l.reckon()
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
	l.checkpoint()
}
