package deadletter

import (
	"iter"
	"math"
	"strings"
	"time"
)

// A Filter chooses letters; zero values choose all.
type Filter struct {
	Rule  string // its name
	Sink  string
	Kinds []Kind
	Error string    // in the reason or the error
	Since time.Time // became a letter at or after
	Until time.Time // and before
	First uint64    // numbers at or above
	Last  uint64    // and at or below; 0: no bound
	Limit int       // at most so many; 0: all
}

// matches reports whether a letter of a group that matches is chosen.
func (f *Filter) matches(l *Letter) bool {
	return (f.Since.IsZero() || !l.Time.Before(f.Since)) && (f.Until.IsZero() || l.Time.Before(f.Until)) &&
		(f.Error == "" || strings.Contains(l.Error, f.Error) || strings.Contains(l.Reason, f.Error))
}

// List yields the letters that a filter chooses, by number. It holds few of
// them in memory, and hinders nobody: letters that are added or removed
// meanwhile may or may not be among them. A letter that cannot be read is
// yielded as an error, and the list goes on.
func (r *reader) List(f Filter) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		if f.Last == 0 {
			f.Last = math.MaxUint64
		}
		walks := [2]walk{}
		for i := range walks {
			walks[i] = walk{reader: r, filter: &f, part: i, next: f.First}
			defer walks[i].close()
		}
		for n := 0; f.Limit == 0 || n < f.Limit; {
			w := earlier(&walks[0], &walks[1])
			if w == nil {
				return
			}
			l, err := w.take()
			if err == nil && !f.matches(&l) {
				continue
			}
			n++
			if !yield(l, err) {
				return
			}
		}
	}
}

// earlier returns the walk whose next letter has the lower number, nil when
// neither has one.
func earlier(a, b *walk) *walk {
	x, okA := a.peek()
	y, okB := b.peek()
	switch {
	case okA && (!okB || x < y):
		return a
	case okB:
		return b
	}
	return nil
}

// walkLetters is how many letters a walk notes at a time.
const walkLetters = 512

// A walk goes through the letters of one part. It notes places of letters
// while it has the turn, and reads them after that.
type walk struct {
	reader  *reader
	filter  *Filter
	part    int
	next    uint64 // numbers from here on were not noted yet
	noted   []noted
	sources sources
	err     error // of opening the files of the noted ones
}

type noted struct {
	seq     uint64
	entry   entry
	update  span
	updated bool
}

// peek returns the number of the next letter.
func (w *walk) peek() (uint64, bool) {
	for len(w.noted) == 0 {
		w.close()
		if !w.note() {
			return 0, false
		}
	}
	return w.noted[0].seq, true
}

func (w *walk) take() (Letter, error) {
	n := w.noted[0]
	w.noted = w.noted[1:]
	if w.err != nil {
		return Letter{Seq: n.seq}, w.err
	}
	l, err := w.sources.letterAt(n.entry, n.update, n.updated)
	l.Seq = n.seq
	return l, err
}

// note notes the next letters, all of one segment; false when there are no more.
func (w *walk) note() bool {
	w.reader.take()
	defer w.reader.free()
	groups := w.reader.parts.groups.matching(w.filter)
	for _, g := range w.reader.parts.both()[w.part].segments {
		if g.live == 0 || g.last() < w.next {
			continue
		}
		if g.first > w.filter.Last {
			return false
		}
		if w.noteIn(g, groups) {
			w.sources, w.err = w.reader.openSources(g)
			return true
		}
	}
	return false
}

// noteIn notes letters of a segment.
func (w *walk) noteIn(g *segment, groups []bool) bool {
	w.noted = w.noted[:0]
	for i := g.from(w.next); i < len(g.entries) && len(w.noted) < walkLetters; i++ {
		seq := g.seq(i)
		if seq > w.filter.Last {
			break
		}
		w.next = seq + 1
		if !g.isGone(i) && groups[g.entries[i].group] {
			at, updated := g.updates[uint32(i)]
			w.noted = append(w.noted, noted{seq, g.entries[i], at, updated})
		}
	}
	return len(w.noted) > 0
}

func (w *walk) close() {
	w.sources.close()
	w.sources = sources{}
}

// Get returns letter seq, false when there is none.
func (r *reader) Get(seq uint64) (Letter, bool, error) {
	r.take()
	defer r.free()
	return r.get(seq)
}

func (r *reader) get(seq uint64) (Letter, bool, error) {
	g, i, ok := r.parts.find(seq)
	if !ok {
		return Letter{}, false, nil
	}
	s, err := r.openSources(g)
	if err != nil {
		return Letter{}, true, err
	}
	defer s.close()
	l, err := s.letter(g, i)
	return l, true, err
}

// Find returns the oldest letter with the record id, false when there is none.
func (r *reader) Find(id string) (Letter, bool, error) {
	var first error
	for l, err := range r.List(Filter{}) {
		switch {
		case err != nil && first == nil:
			first = err
		case err == nil && l.ID == id:
			return l, true, nil
		}
	}
	return Letter{}, false, first
}
