package pipelines

import (
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// A Journal is what a lane needs of the journal; FromJournal makes one of the
// real one.
type Journal interface {
	// Stored returns the watermark: every offset at or below it is stored.
	Stored() uint64
	// Cursor returns the lane's cursor, false when it never had one.
	Cursor(lane uint32) (journal.Cursor, bool)
	// StoreCursor appends the cursor; it is stored once Stored reaches the
	// offset returned. Nobody waits for it.
	StoreCursor(lane uint32, c journal.Cursor) (offset uint64, err error)
	// NewReader reads the stored messages at and above from.
	NewReader(from uint64) Reader
}

// A Guesser is a Journal that can tell about how much a lane is owed.
type Guesser interface {
	// Owed returns how many messages the lane's stored cursor leaves it owed,
	// and the bytes of their frames: never less than there are.
	Owed(lane uint32) (messages, bytes int64)
}

// A Reader walks the stored messages of a journal. It is owned by one goroutine.
type Reader interface {
	Current
	// Next moves to the next message and returns its offset; false when
	// nothing more is stored yet.
	Next() (offset uint64, ok bool, err error)
	// Ready is signalled when more may have been stored.
	Ready() <-chan struct{}
	Close()
}

// Current is the message a Reader's Next moved to.
type Current interface {
	// Rules appends the numbers of the rules that want it.
	Rules(dst []uint32) []uint32
	// Message decodes it, as views that stay valid.
	Message(m *message.Message) error
	// Size returns the bytes of its frame in the journal.
	Size() int
}

// A TickReader is a Reader that can stop at the journal's ticks too (C21).
type TickReader interface {
	Reader
	// WantTicks has Next return ticks too, from now on.
	WantTicks()
	// Tick returns the tick Next moved to and its time in Unix milliseconds;
	// false for a message.
	Tick() (id message.ID, at int64, ok bool)
}

// FromJournal returns the real journal as a lane sees it.
func FromJournal(j *journal.Journal) Journal { return stored{j} }

type stored struct{ *journal.Journal }

var _ Guesser = stored{}

func (s stored) NewReader(from uint64) Reader {
	return &storedReader{reader: s.Journal.NewReader(from)}
}

// A storedReader remembers the frame it is at, so that frames need not become
// values of an interface, which would allocate for each.
type storedReader struct {
	reader *journal.Reader
	frame  journal.Frame
}

func (r *storedReader) Next() (offset uint64, ok bool, err error) {
	f, ok, err := r.reader.TryNext()
	if !ok || err != nil {
		return 0, false, err
	}
	r.frame = f
	return f.Offset(), true, nil
}

func (r *storedReader) Rules(dst []uint32) []uint32      { return r.frame.Rules(dst) }
func (r *storedReader) Message(m *message.Message) error { return r.frame.Message(m) }
func (r *storedReader) Size() int                        { return r.frame.Size() }
func (r *storedReader) Ready() <-chan struct{}           { return r.reader.Ready() }
func (r *storedReader) Close()                           { r.reader.Close() }

func (r *storedReader) WantTicks() { r.reader.Ticks() }

func (r *storedReader) Tick() (id message.ID, at int64, ok bool) {
	if r.frame.Kind() != journal.KindTick {
		return message.ID{}, 0, false
	}
	return r.frame.ID(), r.frame.Received(), true
}
