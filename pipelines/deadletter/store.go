package deadletter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/linefile"
)

// The errors of Append and Update.
var (
	// ErrFull says that a letter would take its part past its bound.
	ErrFull = errors.New("dead letters are full")
	// ErrTooLarge says that a rule error is larger than the room for all of them.
	ErrTooLarge = errors.New("letter is larger than the room for rule errors")
)

// Options is what Open needs.
type Options struct {
	Dir        string       // the store's own folder; made if it is not there
	Legacy     string       // a file of Penstock's first version to take over, "" for none
	MaxBytes   int64        // bound of all letters; 0 = 1 GiB
	RuleErrors int64        // of these: for rule errors; 0 = 128 MiB, at most an eighth
	FS         fault.FS     // nil: the operating system's
	Log        *slog.Logger // nil: none
}

// A Store is the dead letters of one Penstock, shared by all lanes. Its methods
// may be called from several goroutines.
type Store struct {
	reader
	log    *slog.Logger
	lock   io.Closer
	next   uint64 // the number the next letter gets
	buf    bytes.Buffer
	recent *recent
	added  chan struct{} // closed when a letter was added
	closed bool
}

// reader is what both the store and a view of it know. Whoever holds the token
// of turn owns all other fields, also those of Store. A channel, since the
// owner does I/O.
type reader struct {
	turn     chan struct{}
	dir      string
	fs       fault.FS
	parts    *parts
	givenWay uint64
	damaged  uint64
}

func newReader(dir string, fs fault.FS, refused, ruleErrors int64) reader {
	return reader{
		turn: make(chan struct{}, 1), dir: dir, fs: fs, // 1: the token
		parts: newParts(dir, refused, ruleErrors),
	}
}

func (r *reader) take() { r.turn <- struct{}{} }
func (r *reader) free() { <-r.turn }

// Open opens or creates the store, takes over what an older Penstock kept, and
// mends what a crash left. Damage is set aside, counted and logged (I4).
func Open(o Options) (*Store, error) {
	if o.FS == nil {
		o.FS = fault.OS{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	total, ruleErrors := bounds(o.MaxBytes, o.RuleErrors)
	s := &Store{reader: newReader(o.Dir, o.FS, total-ruleErrors, ruleErrors), log: o.Log, added: make(chan struct{})}
	if err := s.open(o.Legacy); err != nil {
		return nil, fmt.Errorf("open dead letters %s: %w", o.Dir, errors.Join(err, s.letGo()))
	}
	return s, nil
}

func (s *Store) open(legacy string) error {
	if err := s.fs.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if err := s.fs.SyncDir(filepath.Dir(s.dir)); err != nil {
		return err
	}
	var err error
	if s.lock, err = s.fs.Lock(filepath.Join(s.dir, "lock")); err != nil {
		return err
	}
	o := opening{store: s, legacy: legacy}
	return o.run()
}

func (s *Store) letGo() error {
	var errs []error
	for _, p := range s.parts.both() {
		errs = append(errs, p.seal())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
		s.lock = nil
	}
	return errors.Join(errs...)
}

// Close closes the store. Letters that Append returned for are durable already.
func (s *Store) Close() error {
	s.take()
	defer s.free()
	s.closed = true
	return s.letGo()
}

// errClosed is what a closed store answers.
var errClosed = fmt.Errorf("dead letters: %w", os.ErrClosed)

// Append adds letters of one part (rule errors, or the other kinds), as many
// as there is room for, and returns once they are durable; it numbers them.
// Those from index n on are not in the store when err is not nil. A letter
// that is there already, since its lane ended before its cursor covered it, is
// not added twice.
func (s *Store) Append(letters []Letter) (n int, err error) {
	s.take()
	defer s.free()
	if s.closed {
		return 0, errClosed
	}
	return s.add(letters)
}

func (s *Store) add(letters []Letter) (n int, err error) {
	if len(letters) == 0 {
		return 0, nil
	}
	p := s.parts.of(letters[0].Kind)
	for n < len(letters) && err == nil {
		a := addition{store: s, part: p, letters: letters[n:]}
		err = a.encode()
		if failed := a.write(); failed != nil {
			return n, failed
		}
		n += len(a.lines)
	}
	return n, err
}

// An addition is what of an Append goes into one segment.
type addition struct {
	store   *Store
	part    *part
	letters []Letter
	lines   []int // where each letter's line ends in the buffer, 0 for one that is there already
	end     int   // of the buffer
}

// encode fills the buffer with the lines of letters, up to a segment's worth,
// and says why the next one does not fit.
func (a *addition) encode() error {
	s := a.store
	s.buf.Reset()
	next := s.next
	for i := range a.letters {
		l := &a.letters[i]
		if int64(a.end) >= a.part.segmentBytes() {
			return nil
		}
		if s.wasThere(l) {
			a.lines = append(a.lines, 0)
			continue
		}
		l.Seq = next
		if err := appendLine(&s.buf, l); err != nil {
			return err
		}
		if err := s.makeRoom(a.part, int64(s.buf.Len())); err != nil {
			s.buf.Truncate(a.end)
			return err
		}
		next++
		a.end = s.buf.Len()
		a.lines = append(a.lines, a.end)
	}
	return nil
}

// wasThere reports whether the letter is there already, and takes over its
// number.
func (s *Store) wasThere(l *Letter) bool {
	seq, ok := s.recent.find(l.ID)
	if !ok {
		return false
	}
	old, ok, err := s.get(seq)
	if err != nil || !ok || old.ID != l.ID || old.Kind != l.Kind || old.Sink != l.Sink {
		return false
	}
	l.Seq = seq
	return true
}

// write makes the lines durable and enters them.
func (a *addition) write() error {
	if a.end == 0 {
		return nil
	}
	s := a.store
	g, err := s.room(a.part)
	if err != nil {
		return err
	}
	at := a.part.active.Size()
	if err := a.part.active.Append(s.buf.Bytes()[:a.end]); err != nil {
		return err
	}
	begin := 0
	for i, end := range a.lines {
		if end == 0 {
			continue
		}
		l := &a.letters[i]
		number := a.part.groups.number(&head{Kind: l.Kind, Rule: l.Rule, Sink: l.Sink})
		g.add(l.Seq, at+int64(begin), int64(end-begin), number)
		begin = end
		s.next = l.Seq + 1
		s.recent.note([]byte(l.ID), l.Seq)
	}
	g.size = at + int64(a.end)
	s.announce()
	return nil
}

// room returns the segment to add to, a new one when the last takes no more.
func (s *Store) room(p *part) (*segment, error) {
	g := p.newest()
	if g == nil || g.unreadable || g.first < p.floor || g.full(p.segmentBytes(), s.next) {
		return s.begin(p, s.next)
	}
	if p.active == nil {
		file, err := linefile.Open(g.path(), linefile.Options{FS: s.fs, Perm: 0o600})
		if err != nil {
			return nil, err
		}
		p.active = file
	}
	return g, nil
}

// begin makes a new segment for letters from number first on.
func (s *Store) begin(p *part, first uint64) (*segment, error) {
	g := &segment{part: p, first: first, gen: 1}
	file, err := linefile.Open(g.path(), linefile.Options{FS: s.fs, Perm: 0o600})
	if err != nil {
		return nil, err
	}
	if err := p.seal(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	p.active = file
	p.segments = append(p.segments, g)
	return g, nil
}

// announce tells those who wait that there are new letters.
func (s *Store) announce() {
	close(s.added)
	s.added = make(chan struct{})
}

// Added returns a channel that is closed when the next letter is added.
func (s *Store) Added() <-chan struct{} {
	s.take()
	defer s.free()
	return s.added
}

// Next returns the number that the next letter gets: all letters there are
// have lower ones.
func (s *Store) Next() uint64 {
	s.take()
	defer s.free()
	return s.next
}
