package inspect

import (
	"context"
	"maps"
	"time"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines/deadletter"
)

// A Segment is a line of `journal ls`.
type Segment struct {
	File     string    `json:"file"`
	State    string    `json:"state"`
	Bytes    int64     `json:"bytes"`
	First    uint64    `json:"first,omitempty"` // offsets of its entries, 0 for none
	Last     uint64    `json:"last,omitempty"`
	Entries  int64     `json:"entries"`
	Messages int64     `json:"messages"`
	From     time.Time `json:"from,omitzero"` // of its messages
	To       time.Time `json:"to,omitzero"`
	Damaged  int       `json:"damaged"` // places
}

// Segments emits a line for each segment.
func Segments(a *journal.Archive, emit func(*Segment) error) error {
	infos, err := a.Segments()
	for i := range infos {
		s := &infos[i]
		line := Segment{
			File: s.File, State: string(s.State), Bytes: s.Bytes, First: s.First, Last: s.Last, Entries: s.Frames, Messages: s.Messages,
			From: utc(s.FirstTime), To: utc(s.LastTime), Damaged: len(s.Damage),
		}
		if err := emit(&line); err != nil {
			return err
		}
	}
	return err
}

// utc is a time as Penstock writes it; zero stays zero.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

// A Damage is a line of `journal verify`.
type Damage struct {
	File   string `json:"file"`
	From   int64  `json:"from"` // bytes of the file
	To     int64  `json:"to"`
	First  uint64 `json:"first"` // offsets that may be missing
	Last   uint64 `json:"last"`
	Reason string `json:"reason"`
}

// Verify reads everything and emits a line for each damaged place.
func Verify(a *journal.Archive, emit func(*Damage) error) error {
	list, err := a.Verify()
	for i := range list {
		d := Damage(list[i])
		if err := emit(&d); err != nil {
			return err
		}
	}
	return err
}

// An Entry is a line of `journal cat`.
type Entry struct {
	Offset uint64 `json:"offset"`
	Kind   string `json:"kind"`
	Epoch  uint32 `json:"epoch"`

	ID      string             `json:"id,omitempty"`    // of a message
	Rules   []string           `json:"rules,omitempty"` // that want it
	Message *deadletter.Record `json:"message,omitempty"`
	Name    *Name              `json:"name,omitempty"`
	Cursor  *Cursor            `json:"cursor,omitempty"`
}

// A Name is a name that got a number.
type Name struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Number uint32 `json:"number"`
}

// A Cursor is how far a lane had settled the journal.
type Cursor struct {
	Lane    string          `json:"lane"`
	Low     uint64          `json:"low"` // all below is settled
	Settled []journal.Range `json:"settled,omitempty"`
	Dropped []journal.Drop  `json:"dropped,omitempty"`
}

// CatOptions says what of a journal to show.
type CatOptions struct {
	From     uint64 // offset
	Limit    int    // entries; 0: all
	Topic    string // only messages whose topic this filter matches
	Client   string // only messages of this client
	Messages bool   // only messages
}

// Cat emits the entries of a journal, in order.
func Cat(ctx context.Context, a *journal.Archive, o CatOptions, emit func(*Entry) error) error {
	names := newNames(a)
	r := a.Reader(o.From)
	defer r.Close()
	for n := 0; o.Limit == 0 || n < o.Limit; {
		f, ok, err := r.Next()
		if !ok || err != nil || ctx.Err() != nil {
			return first(ctx.Err(), err)
		}
		e := names.entry(f)
		if !o.wants(e) {
			continue
		}
		n++
		if err := emit(e); err != nil {
			return err
		}
	}
	return nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (o *CatOptions) wants(e *Entry) bool {
	if e.Message == nil {
		return !o.Messages && o.Topic == "" && o.Client == ""
	}
	return matches(o.Topic, o.Client, e.Message.Topic, e.Message.Client)
}

// names is the names behind the numbers.
type names struct{ rules, lanes map[uint32]string }

func newNames(a *journal.Archive) names {
	return names{invert(a.Names("rule")), invert(a.Names("lane"))}
}

func invert(m map[string]uint32) map[uint32]string {
	inverse := make(map[uint32]string, len(m))
	for name, number := range maps.All(m) {
		inverse[number] = name
	}
	return inverse
}

func (n names) entry(f journal.Frame) *Entry {
	e := &Entry{Offset: f.Offset(), Kind: f.Kind().String(), Epoch: f.Epoch()}
	switch f.Kind() {
	case journal.KindMessage:
		n.message(f, e)
	case journal.KindNumber:
		if number, kind, key, err := f.Number(); err == nil {
			e.Name = &Name{kind, key, number}
		}
	case journal.KindCursor:
		if lane, c, err := f.Cursor(); err == nil {
			e.Cursor = &Cursor{n.lanes[lane], c.Low, c.Settled, c.Dropped}
		}
	default:
	}
	return e
}

func (n names) message(f journal.Frame, e *Entry) {
	var m message.Message
	if f.Message(&m) != nil {
		return
	}
	e.ID, e.Message = m.ID.String(), deadletter.NewRecord(&m)
	for _, number := range f.Rules(nil) {
		e.Rules = append(e.Rules, n.rules[number])
	}
}
