package pipelines

import (
	"errors"
	"fmt"
)

// An Account is what a lane counted since it was first seen, restarts
// included (C22). What a crash makes the lane evaluate again is counted once.
type Account struct {
	Lane  string
	Rules []RuleAccount // in the evaluator's order, then rules it no longer has
}

// A RuleAccount is one rule's part of an Account. In, Filtered,
// FilteredMissing, Errors and Passed are messages; Records, Delivered,
// DeadLettered, Dropped and Pending are output records, among which an output
// that failed to evaluate counts as one.
type RuleAccount struct {
	Rule uint32 // its number
	Name string

	In              uint64 // messages the rule wanted
	Filtered        uint64 // a condition was not met
	FilteredMissing uint64 // of these: because a payload field was absent
	Errors          uint64 // an output, or the condition, failed
	Passed          uint64

	Records      uint64 // made, or failed to be made
	Delivered    uint64 // the sink confirmed them
	DeadLettered uint64 // durable in the dead letters
	Pending      uint64 // neither yet
	Dropped      map[string]uint64
}

// Check returns an error that names every sum that does not hold:
// in = filtered + errors + passed in messages, and
// records = delivered + dead_lettered + dropped + pending in records (I6).
func (a Account) Check() error {
	var errs []error
	for _, r := range a.Rules {
		if sum := r.Filtered + r.Errors + r.Passed; r.In != sum {
			errs = append(errs, fmt.Errorf("lane %s rule %s: in %d is not filtered %d + errors %d + passed %d",
				a.Lane, r.Name, r.In, r.Filtered, r.Errors, r.Passed))
		}
		if sum := r.Delivered + r.DeadLettered + r.DroppedSum() + r.Pending; r.Records != sum {
			errs = append(errs, fmt.Errorf("lane %s rule %s: records %d is not delivered %d + dead-lettered %d + dropped %v + pending %d",
				a.Lane, r.Name, r.Records, r.Delivered, r.DeadLettered, r.Dropped, r.Pending))
		}
		if r.FilteredMissing > r.Filtered {
			errs = append(errs, fmt.Errorf("lane %s rule %s: %d of %d filtered for a missing field",
				a.Lane, r.Name, r.FilteredMissing, r.Filtered))
		}
	}
	return errors.Join(errs...)
}

// DroppedSum returns how many records were dropped, whatever the reason.
func (r RuleAccount) DroppedSum() uint64 {
	var sum uint64
	for _, n := range r.Dropped {
		sum += n
	}
	return sum
}

// Total returns the sum over the lane's rules. Rules of different lanes must
// not be added: each lane counts the same messages.
func (a Account) Total() RuleAccount {
	t := RuleAccount{Name: "total", Dropped: map[string]uint64{}}
	for _, r := range a.Rules {
		t.In += r.In
		t.Filtered += r.Filtered
		t.FilteredMissing += r.FilteredMissing
		t.Errors += r.Errors
		t.Passed += r.Passed
		t.Records += r.Records
		t.Delivered += r.Delivered
		t.DeadLettered += r.DeadLettered
		t.Pending += r.Pending
		for reason, n := range r.Dropped {
			t.Dropped[reason] += n
		}
	}
	return t
}

// A TestingT is the part of testing.TB that AssertBalanced needs.
type TestingT interface {
	Helper()
	Errorf(format string, args ...any)
}

// AssertBalanced fails t for every sum of the accounts that does not hold.
func AssertBalanced(t TestingT, accounts ...Account) {
	t.Helper()
	for _, a := range accounts {
		if err := a.Check(); err != nil {
			t.Errorf("account does not balance: %v", err)
		}
	}
}

// account turns figures into what others see.
func (f *figures) account(rule uint32, name string) RuleAccount {
	r := RuleAccount{
		Rule: rule, Name: name,
		In: f.in, Filtered: f.filtered, FilteredMissing: f.missing, Errors: f.errors, Passed: f.passed,
		Records: f.records, Delivered: f.delivered, DeadLettered: f.deadLettered, Pending: f.pending,
		Dropped: make(map[string]uint64, len(f.dropped)),
	}
	for reason, n := range f.dropped {
		if n > 0 {
			r.Dropped[dropReason(reason).String()] = n
		}
	}
	return r
}
