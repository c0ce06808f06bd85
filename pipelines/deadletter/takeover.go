package deadletter

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// The letters of Penstock's first version were one file without numbers. They
// are taken over before the store is used for anything else:
//
//	an empty file takeover-<N> says that letters from number N on come from there
//	the letters are added, from number N on
//	the old file goes; that is the moment from which on they are the store's
//	takeover-<N> goes
//
// A crash before the old file is gone begins again without the letters from N
// on; after it, all there is to do is to remove the mark.

const takeoverPrefix = "takeover-"

// takeoverMark returns the number in the mark that a folder shows, 0 for none.
func takeoverMark(list []os.DirEntry) uint64 {
	for _, e := range list {
		if text, ok := strings.CutPrefix(e.Name(), takeoverPrefix); ok {
			n, _ := strconv.ParseUint(text, 10, 64)
			return n
		}
	}
	return 0
}

func (o *opening) hasLegacy() bool {
	if o.legacy == "" {
		return false
	}
	_, err := o.store.fs.Stat(o.legacy)
	return err == nil
}

func (o *opening) markPath() string {
	return filepath.Join(o.store.dir, takeoverPrefix+strconv.FormatUint(o.marked, 10))
}

// mark says that what is added from now on is taken over.
func (o *opening) mark() error {
	if o.marked > 0 { // left by a crash, and nothing was added since but by a takeover
		return nil
	}
	o.marked = o.store.next
	file, err := o.store.fs.OpenFile(o.markPath(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), o.store.fs.SyncDir(o.store.dir))
}

func (o *opening) unmark() error {
	if err := o.store.fs.Remove(o.markPath()); err != nil {
		return err
	}
	o.marked = 0
	return o.store.fs.SyncDir(o.store.dir)
}

// takeOver takes the old file over. One that cannot be read, or for which there
// is no room, stays for the next start.
func (o *opening) takeOver() error {
	if !o.hasLegacy() {
		return nil
	}
	s := o.store
	if err := o.mark(); err != nil {
		return fmt.Errorf("take over %s: %w", o.legacy, err)
	}
	t := takeover{store: s}
	if err := t.run(o.legacy); err != nil {
		s.log.Error("dead letters of an older Penstock stay where they are", slogFile(o.legacy), slogErr(err))
		return o.giveUp()
	}
	if err := s.fs.Remove(o.legacy); err != nil {
		return err
	}
	if err := s.fs.SyncDir(filepath.Dir(o.legacy)); err != nil {
		return err
	}
	s.log.Info("dead letters of an older Penstock taken over", slogFile(o.legacy), slog.Int("count", t.letters))
	return o.unmark()
}

// giveUp takes back what was taken over, or the next start would take letters
// of today for it.
func (o *opening) giveUp() error {
	s := o.store
	for _, p := range s.parts.both() {
		for _, g := range slices.Clone(p.segments) {
			if g.first < o.marked {
				continue
			}
			if g == p.newest() {
				if err := p.seal(); err != nil {
					return err
				}
			}
			if err := s.removeFiles(g); err != nil {
				return err
			}
			g.forget()
			p.segments = slices.DeleteFunc(p.segments, func(other *segment) bool { return other == g })
		}
	}
	s.next = o.marked
	if s.parts.next() < s.next { // the numbers below were given out, and an empty segment knew
		if _, err := s.begin(&s.parts.refused, s.next); err != nil {
			return err
		}
	}
	return o.unmark()
}

// A takeover turns the lines of the old file into letters.
type takeover struct {
	store   *Store
	letters int
	pending [2]pendingLetters
}

// pendingLetters wait to be added to one part.
type pendingLetters struct {
	letters []Letter
	bytes   int
}

// takeoverBytes is how much is added to a part at a time.
const takeoverBytes = 4 << 20

func (t *takeover) run(path string) error {
	s := t.store
	for _, p := range s.parts.both() {
		p.floor = s.next                             // segments of their own
		defer func(n int64) { p.bound = n }(p.bound) // which is for new letters
		p.bound = math.MaxInt64
	}
	file, err := scanFile(s.fs, path, func(file fault.File, size int64) error {
		return t.read(path, file, size)
	})
	if file != nil {
		err = errors.Join(err, file.Close())
	}
	return err
}

func (t *takeover) read(path string, file fault.File, size int64) error {
	err := lines(file, size, func(line []byte, at int64, whole bool) error {
		if !whole {
			return nil // the torn end of an append that nobody was told about
		}
		l, err := decodeLegacy(line)
		if err != nil {
			return t.store.setAside(path, []span{{at, int64(len(line)) + 1}})
		}
		return t.add(l, len(line))
	})
	for i := range t.pending {
		err = errors.Join(err, t.flush(&t.pending[i]))
	}
	return err
}

func (t *takeover) add(l Letter, size int) error {
	p := &t.pending[0]
	if l.Kind == RuleError {
		p = &t.pending[1]
	}
	p.letters = append(p.letters, l)
	if p.bytes += size; p.bytes < takeoverBytes {
		return nil
	}
	return t.flush(p)
}

func (t *takeover) flush(p *pendingLetters) error {
	t.letters += len(p.letters)
	letters := p.letters
	p.letters, p.bytes = p.letters[:0], 0
	_, err := t.store.add(letters)
	return err
}

// A legacyLetter is a line of the old file.
type legacyLetter struct {
	ID       string    `json:"id"`
	Rule     string    `json:"rule"`
	Output   uint32    `json:"output"`
	Sink     string    `json:"sink"`
	Reason   string    `json:"reason"` // a word, a colon, the error
	Attempts int       `json:"attempts"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Record   *Record   `json:"record"`
}

var errLegacy = errors.New("not a dead letter")

func decodeLegacy(line []byte) (Letter, error) {
	var old legacyLetter
	if err := json.Unmarshal(line, &old); err != nil {
		return Letter{}, err
	}
	parts := strings.Split(old.ID, ".")
	if len(parts) != 3 {
		return Letter{}, errLegacy
	}
	number, err := strconv.ParseUint(parts[1], 10, 32)
	if err != nil {
		return Letter{}, errLegacy
	}
	word, text, _ := strings.Cut(old.Reason, ": ")
	l := Letter{
		Kind: RuleError, Rule: old.Rule, Sink: old.Sink, ID: old.ID, Time: old.Last,
		RuleNumber: uint32(number), Output: old.Output, Reason: word, Error: text, Attempts: old.Attempts, Record: old.Record,
	}
	if old.Attempts > 0 { // only what a sink refused was tried
		l.Kind = Refused
		l.History = []Attempt{{Time: old.Last, Error: text}}
	}
	return l, nil
}
