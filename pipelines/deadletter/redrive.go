package deadletter

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/message"
)

// A Fate is what became of a record that was written from outside the
// journal's order.
type Fate uint8

// The fates.
const (
	Cancelled Fate = iota // nobody waited any more; if it was being written, it may have arrived
	Delivered             // the sink confirmed it
	Rejected              // the sink refused it for good
)

// An Outcome is what became of one record.
type Outcome struct {
	Fate     Fate
	Reason   string    // why it was refused: a word of a fixed set
	Err      error     // and the sink's error
	Attempts int       // writes of it
	History  []Attempt // of these: the first and the last
}

// An Inject writes records through the lane of a sink and returns what became
// of each, at the same index. It waits while the sink is unavailable, until
// ctx ends; it returns an error when there are outcomes missing.
type Inject func(ctx context.Context, sink string, records []message.Record) ([]Outcome, error)

// An Evaluate runs a letter's rule as it is now on the letter's message, and
// returns the records for the letter's sink: those of its output, or of all
// when the output is 0. None means that the rule does not want the message any
// more. An error is the rule's, or says that there is no such rule any more.
type Evaluate func(Letter) ([]message.Record, error)

// Counts is what became of the letters of a redrive.
type Counts struct {
	Chosen    int // letters that the filter chose
	Delivered int // gone from the store: all of their records were confirmed
	Filtered  int // gone: the rule as it is now does not want them
	Refused   int // stay: the sink refused them again
	Failed    int // stay: the rule failed on them again
	Waiting   int // stay: ctx ended before the sink took them
	Unread    int // stay: they could not be read
}

func (c *Counts) add(o Counts) {
	c.Chosen += o.Chosen
	c.Delivered += o.Delivered
	c.Filtered += o.Filtered
	c.Refused += o.Refused
	c.Failed += o.Failed
	c.Waiting += o.Waiting
	c.Unread += o.Unread
}

// The bounds of what a redrive holds for each sink.
const (
	redriveLetters = 1000
	redriveBytes   = 8 << 20 // of payload
)

// ReasonGone is the reason of a letter whose rule failed on it again because
// there is no such rule.
const ReasonGone = "no_rule"

// Redrive sends the letters that a filter chooses through their rules as they
// are now and to their sinks, with the ids they have (C17), a sink beside the
// other. A letter leaves the store only when it was delivered, so that a crash
// at worst delivers it again. Letters added meanwhile are not chosen.
func Redrive(ctx context.Context, store *Store, f Filter, evaluate Evaluate, inject Inject) (Counts, error) {
	last := store.Next() - 1
	if f.Last == 0 || f.Last > last {
		f.Last = last
	}
	limit := newQuota(f.Limit)
	f.Limit = 0
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex // guards total and errs
		total Counts
		errs  []error
	)
	for _, sink := range store.sinks(&f) {
		r := &redrive{store: store, filter: f, sink: sink, evaluate: evaluate, inject: inject, quota: limit}
		r.filter.Sink = sink
		wg.Go(func() {
			err := r.run(ctx)
			mu.Lock()
			defer mu.Unlock()
			total.add(r.counts)
			errs = append(errs, err)
		})
	}
	wg.Wait()
	return total, errors.Join(errs...)
}

// sinks returns the sinks that have letters of groups a filter chooses.
func (s *Store) sinks(f *Filter) []string {
	s.take()
	defer s.free()
	var list []string
	seen := map[string]bool{}
	for i, ok := range s.parts.groups.matching(f) {
		g := &s.parts.groups.list[i]
		if ok && g.letters > 0 && !seen[g.sink] {
			seen[g.sink] = true
			list = append(list, g.sink)
		}
	}
	return list
}

// A quota is how many letters all sinks together may still choose.
type quota struct {
	mu   sync.Mutex
	left int // guarded by mu
}

func newQuota(n int) *quota {
	if n == 0 {
		n = math.MaxInt
	}
	return &quota{left: n}
}

func (q *quota) take() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.left == 0 {
		return false
	}
	q.left--
	return true
}

// A redrive is the redrive of one sink's letters.
type redrive struct {
	store    *Store
	filter   Filter
	sink     string
	evaluate Evaluate
	inject   Inject
	quota    *quota
	counts   Counts

	// Of the letters at hand:
	letters []Letter
	ends    []int // where each one's records end
	records []message.Record
	gone    []uint64 // to be removed
	changed []Letter // to be updated
}

func (r *redrive) run(ctx context.Context) error {
	for ctx.Err() == nil {
		more, err := r.gather()
		if err != nil {
			return err
		}
		if err := errors.Join(r.send(ctx), r.settle()); err != nil {
			return err
		}
		if !more {
			break
		}
	}
	return nil
}

// gather evaluates the next letters; more is false when they are the last.
func (r *redrive) gather() (more bool, err error) {
	r.letters, r.ends, r.records = r.letters[:0], r.ends[:0], r.records[:0]
	bytes := 0
	for l, err := range r.store.List(r.filter) {
		if !r.quota.take() {
			return false, nil
		}
		r.counts.Chosen++
		r.filter.First = l.Seq + 1
		if err != nil {
			r.counts.Unread++
			continue
		}
		r.look(l)
		if l.Record != nil {
			bytes += l.Record.size()
		}
		if len(r.letters) == redriveLetters || bytes >= redriveBytes {
			return true, nil
		}
	}
	return false, nil
}

func (r *Record) size() int {
	n := len(r.PayloadBase64)
	if r.Payload != nil {
		n = len(*r.Payload)
	}
	return n
}

// look runs the rule on a letter.
func (r *redrive) look(l Letter) {
	records, err := r.evaluate(l)
	switch {
	case err != nil:
		r.counts.Failed++
		r.fail(l, err)
	case len(records) == 0:
		r.counts.Filtered++
		r.gone = append(r.gone, l.Seq)
	default:
		for i := range records {
			records[i].Run = l.Run
		}
		r.records = append(r.records, records...)
		r.letters = append(r.letters, l)
		r.ends = append(r.ends, len(r.records))
	}
}

// A reasoned error says by which word it is known.
type reasoned interface{ Reason() string }

// fail notes that the rule failed again.
func (r *redrive) fail(l Letter, err error) {
	var known reasoned
	if errors.As(err, &known) {
		l.Reason = known.Reason()
	}
	l.Error = ErrorText(err)
	l.History = AddAttempt(l.History, time.Now(), err)
	r.changed = append(r.changed, l)
}

// send writes the records and enters what became of the letters.
func (r *redrive) send(ctx context.Context) error {
	if len(r.records) == 0 {
		return nil
	}
	outcomes, err := r.inject(ctx, r.sink, r.records)
	if len(outcomes) != len(r.records) {
		r.counts.Waiting += len(r.letters)
		return errors.Join(err, ctx.Err())
	}
	begin := 0
	for i, end := range r.ends {
		r.judge(r.letters[i], outcomes[begin:end])
		begin = end
	}
	if err != nil {
		return fmt.Errorf("redrive to %s: %w", r.sink, err)
	}
	return nil
}

// judge enters what became of a letter's records: it leaves when all of them
// were delivered.
func (r *redrive) judge(l Letter, outcomes []Outcome) {
	waiting := false
	for _, o := range outcomes {
		switch o.Fate {
		case Rejected:
			r.counts.Refused++
			l.Reason, l.Error = o.Reason, ErrorText(o.Err)
			l.Attempts += o.Attempts
			for _, a := range o.History {
				l.History = addAttempt(l.History, a)
			}
			r.changed = append(r.changed, l)
			return
		case Cancelled:
			waiting = true
		case Delivered:
		}
	}
	if waiting {
		r.counts.Waiting++
		return
	}
	r.counts.Delivered++
	r.gone = append(r.gone, l.Seq)
}

// settle makes durable what became of the letters. That there is no room for
// another attempt of a letter that stays is no reason to stop.
func (r *redrive) settle() error {
	_, err := r.store.Remove(r.gone)
	if failed := r.store.Update(r.changed); !errors.Is(failed, ErrFull) {
		err = errors.Join(err, failed)
	}
	r.gone, r.changed = r.gone[:0], r.changed[:0]
	return err
}

// Purge removes the letters that a filter chooses and returns how many.
func (s *Store) Purge(ctx context.Context, f Filter) (int, error) {
	n := 0
	var seqs []uint64
	flush := func() error {
		removed, err := s.Remove(seqs)
		n += removed
		seqs = seqs[:0]
		return err
	}
	if last := s.Next() - 1; f.Last == 0 || f.Last > last {
		f.Last = last
	}
	for l, err := range s.List(f) {
		if err != nil { // it goes too
			s.log.Warn("purge a dead letter that cannot be read", slogErr(err))
		}
		seqs = append(seqs, l.Seq)
		if len(seqs) < purgeLetters {
			continue
		}
		if err := errors.Join(flush(), ctx.Err()); err != nil {
			return n, err
		}
	}
	return n, flush()
}

// purgeLetters is how many letters go with one sync.
const purgeLetters = 1 << 15
