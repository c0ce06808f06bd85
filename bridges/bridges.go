// Package bridges is the contract between a lane and a connector, and nothing
// else. A connector is one folder below this one.
//
// A lane calls Open, then Write from up to in_flight goroutines, never two at a
// time for one shard, then Close. A sink that confirms nothing for too long is
// closed and opened again, whatever it says about its connection: Open must do
// after Close what it did at first. The error of a Write says what the lane
// does next; each kind is a type found with errors.As.
package bridges

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock/penstock/internal/message"
)

// A Sink is a destination.
type Sink interface {
	// Open prepares the sink. It need not reach the destination: one that is
	// down at start is reported by Write as Unavailable. ctx bounds the call,
	// not what it begins.
	Open(ctx context.Context) error
	// Write returns nil only when the destination confirmed every record of
	// the batch, all of one shard and in order. Partial names records that are
	// known not to be written, the others being confirmed. A bare Reject means
	// that nothing was written. After any other error the outcome is open: the
	// lane calls again with the same records in the same order until nil,
	// Partial or Reject. ctx ends only at shutdown.
	Write(ctx context.Context, batch []message.Record) error
	// Close ends the connection and, soon, the writes that are under way, with
	// any error. Afterwards nothing of them may reach the destination any more:
	// the lane writes their records again, and others behind them (I3).
	Close(ctx context.Context) error
}

// A Sharder is a Sink that knows what must stay in order together. group is
// the destination's topic, which is one shard while its partitions are
// unknown; gen changes with the mapping, and records of a new gen of a group
// wait until those of the old one are settled. Shard must be safe beside Write,
// and before Open.
type Sharder interface {
	Shard(r *message.Record) (group, shard, gen uint32)
}

// A Reopener is a Sink that holds files which a log rotator may have moved:
// Reopen closes and opens them again.
type Reopener interface {
	Reopen() error
}

// Retry asks for the same records again, no sooner than After.
type Retry struct {
	After time.Duration // 0: the lane's own back-off
	Err   error
}

func (e *Retry) Error() string { return "retry: " + e.Err.Error() }
func (e *Retry) Unwrap() error { return e.Err }

// Unavailable says that the destination as a whole cannot be reached. It is
// not charged to the records: the lane waits and tries again.
type Unavailable struct{ Err error }

func (e *Unavailable) Error() string { return "unavailable: " + e.Err.Error() }
func (e *Unavailable) Unwrap() error { return e.Err }

// Reject says that the destination will never take this: straight to the dead
// letters.
type Reject struct{ Err error }

func (e *Reject) Error() string { return "rejected: " + e.Err.Error() }
func (e *Reject) Unwrap() error { return e.Err }

// Fatal stops the lane; other lanes go on.
type Fatal struct{ Err error }

func (e *Fatal) Error() string { return "fatal: " + e.Err.Error() }
func (e *Fatal) Unwrap() error { return e.Err }

// Partial says that the records it does not name are confirmed, and that those
// it names, by their index in the batch, are known not to be written, each
// with a Retry or a Reject.
type Partial struct{ Failed map[int]error }

func (e *Partial) Error() string {
	for i, err := range e.Failed {
		return fmt.Sprintf("%d records failed, record %d: %v", len(e.Failed), i, err)
	}
	return "no record failed"
}
