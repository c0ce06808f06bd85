package inspect

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines/deadletter"
	"github.com/penstock/penstock/rules"
)

// A Question asks what became of messages: of the one with an ID, or of those
// of a client or a topic in a stretch of time.
type Question struct {
	ID       string // a message id, or a record id, which begins with one
	Client   string
	Topic    string    // a filter
	From, To time.Time // zero To: to the end
	Limit    int       // answers; 0: all
}

// An Answer is what became of one message.
type Answer struct {
	ID      string             `json:"id"`
	Offset  uint64             `json:"offset"`
	Message *deadletter.Record `json:"message"`
	Rules   []RuleAnswer       `json:"rules"` // that wanted it when it came in
}

// A RuleAnswer is what one rule made of a message, and where that is now.
type RuleAnswer struct {
	Rule string `json:"rule"`
	// Explained is what the rule makes of the message now; Past: what it made of
	// it when it came in, as the rule is not there any more, or not asked for.
	Explained rules.RuleExplained `json:"explained"`
	Past      bool                `json:"past,omitempty"`
	Lanes     []Fate              `json:"lanes"`
}

// States of a Fate.
const (
	StatePending    = "pending"     // not settled
	StateDelivered  = "delivered"   // the sink confirmed it
	StateFiltered   = "filtered"    // there was nothing to deliver
	StateDeadLetter = "dead letter" // kept with its cause
	StateDropped    = "dropped"
	StateFailed     = "failed"  // a rule error whose letter is not there any more, or was never made
	StateSettled    = "settled" // delivered or filtered, nobody knows which any more
)

// A Fate is what became of a message in one lane.
type Fate struct {
	Sink   string `json:"sink"`
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	// Settled is the receipt of the newest message at the time the lane's cursor
	// first said that it had settled this one.
	Settled  time.Time `json:"settled,omitzero"`
	Attempts int       `json:"attempts,omitempty"`
	Error    string    `json:"last_error,omitempty"`
	Letters  []uint64  `json:"letters,omitempty"` // numbers of dead letters
}

// Sources is where answers come from.
type Sources struct {
	Archive *journal.Archive
	Rules   *rules.Set // as they are now; nil: as they were
	Letters func(deadletter.Filter) iter.Seq2[deadletter.Letter, error]
	// Live asks the lane of a sink about a message. settled: it is, whatever the
	// archive's cursor says; a nil Fate: nobody knows more. nil: nothing runs.
	Live func(ctx context.Context, sink string, offset uint64) (fate *Fate, settled bool, err error)
}

var errNoQuestion = errors.New("name a message id, or a client or a topic")

// Check says what is wrong with a question, whatever the journal holds.
func (q *Question) Check() error {
	if q.ID != "" {
		_, err := q.id()
		return err
	}
	if q.Client == "" && q.Topic == "" {
		return errNoQuestion
	}
	return nil
}

// id is the message id that ID is or begins with.
func (q *Question) id() (message.ID, error) {
	text, _, _ := strings.Cut(q.ID, ".")
	return message.ParseID(text)
}

// Why answers a question, message by message.
func Why(ctx context.Context, s Sources, q Question, emit func(*Answer) error) error {
	if err := q.Check(); err != nil {
		return err
	}
	w, err := newInquest(s)
	if err != nil {
		return err
	}
	if q.ID != "" {
		return w.one(ctx, &q, emit)
	}
	return w.all(ctx, &q, emit)
}

// all answers for the messages that a question describes.
func (w *inquest) all(ctx context.Context, q *Question, emit func(*Answer) error) error {
	r := w.Archive.Reader(w.Archive.Seek(q.From))
	defer r.Close()
	for n := 0; q.Limit == 0 || n < q.Limit; {
		f, ok, err := r.Next()
		if !ok || err != nil || ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		if f.Kind() != journal.KindMessage {
			continue
		}
		if !q.To.IsZero() && !f.Time().Before(q.To) {
			return nil
		}
		var m message.Message
		if f.Message(&m) != nil || !matches(q.Topic, q.Client, m.Topic, m.Client) {
			continue
		}
		n++
		if err := w.answer(ctx, f, &m, emit); err != nil {
			return err
		}
	}
	return nil
}

// one answers for the message with an id.
func (w *inquest) one(ctx context.Context, q *Question, emit func(*Answer) error) error {
	id, err := q.id()
	if err != nil {
		return err
	}
	if id.Journal != w.Archive.ID() {
		return fmt.Errorf("message %s belongs to another journal; this one's ids begin with %s", id, prefix(w.Archive.ID()))
	}
	r := w.Archive.Reader(id.Offset)
	defer r.Close()
	for {
		f, ok, err := r.Next()
		if err != nil {
			return err
		}
		if !ok || f.Offset() > id.Offset {
			return fmt.Errorf("message %s is not in the journal: it was settled and not kept (journal: {keep: ...}), or is not stored yet", id)
		}
		if f.Kind() != journal.KindMessage || f.Offset() < id.Offset {
			continue
		}
		var m message.Message
		if err := f.Message(&m); err != nil {
			return err
		}
		if m.ID != id {
			return fmt.Errorf("message %s is not in the journal: its offset is that of %s", id, m.ID)
		}
		return w.answer(ctx, f, &m, emit)
	}
}

// prefix is how the ids of a journal's messages begin.
func prefix(id uint64) string {
	text, _, _ := strings.Cut(message.ID{Journal: id}.String(), "-")
	return text
}
