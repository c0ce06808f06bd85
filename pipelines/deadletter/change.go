package deadletter

import (
	"bytes"
	"errors"
	"slices"

	"github.com/penstock/penstock/internal/linefile"
)

// Remove removes letters by number, durably, and returns how many of them were
// there. What they took on disk comes back as segments go or are written anew.
func (s *Store) Remove(seqs []uint64) (n int, err error) {
	s.take()
	defer s.free()
	if s.closed {
		return 0, errClosed
	}
	for _, c := range s.sort(seqs) {
		if err := s.remove(c); err != nil {
			return n, err
		}
		n += len(c.entries)
	}
	return n, nil
}

// A choice is some letters of one segment, in order.
type choice struct {
	segment *segment
	entries []int
}

// sort finds the letters that are there.
func (s *Store) sort(seqs []uint64) []choice {
	seqs = slices.Compact(slices.Sorted(slices.Values(seqs)))
	var list []choice
	at := map[*segment]int{}
	for _, seq := range seqs {
		g, i, ok := s.parts.find(seq)
		if !ok {
			continue
		}
		if _, known := at[g]; !known {
			at[g] = len(list)
			list = append(list, choice{segment: g})
		}
		c := &list[at[g]]
		c.entries = append(c.entries, i)
	}
	return list
}

func (s *Store) remove(c choice) error {
	g := c.segment
	if len(c.entries) == g.live {
		return s.discard(g)
	}
	var line bytes.Buffer
	if err := appendLine(&line, removal{c.ranges()}); err != nil {
		return err
	}
	if err := s.note(g, line.Bytes()); err != nil {
		return err
	}
	for _, i := range c.entries {
		g.drop(i)
	}
	if !g.halfDead() {
		return nil
	}
	if err := s.rewrite(g); err != nil {
		s.log.Warn("write dead letters anew", slogFile(g.path()), slogErr(err)) // they are removed all the same
	}
	return nil
}

// ranges joins neighbours. Between the two numbers of a range there is no other
// letter of the segment.
func (c *choice) ranges() [][2]uint64 {
	var list [][2]uint64
	last := -2
	for _, i := range c.entries {
		seq := c.segment.seq(i)
		if i == last+1 {
			list[len(list)-1][1] = seq
		} else {
			list = append(list, [2]uint64{seq, seq})
		}
		last = i
	}
	return list
}

// note adds lines to a segment's changes, durably.
func (s *Store) note(g *segment, lines []byte) error {
	file, err := linefile.Open(g.changesPath(), linefile.Options{FS: s.fs, Perm: 0o600})
	if err != nil {
		return err
	}
	err = file.Append(lines)
	g.changes = file.Size()
	return errors.Join(err, file.Close())
}

// Update stores what a redrive made of letters that stay: their reason, error,
// attempts and history, by number. It returns ErrFull when there is no room
// for that; the letters stay as they were then.
func (s *Store) Update(letters []Letter) error {
	s.take()
	defer s.free()
	if s.closed {
		return errClosed
	}
	bySeq := make(map[uint64]*Letter, len(letters))
	seqs := make([]uint64, len(letters))
	for i := range letters {
		seqs[i] = letters[i].Seq
		bySeq[letters[i].Seq] = &letters[i]
	}
	for _, c := range s.sort(seqs) {
		if err := s.update(c, bySeq); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) update(c choice, letters map[uint64]*Letter) error {
	g := c.segment
	s.buf.Reset()
	ends := make([]int, 0, len(c.entries))
	for _, i := range c.entries {
		l := *letters[g.seq(i)]
		l.Record = nil
		if err := appendLine(&s.buf, &l); err != nil {
			return err
		}
		ends = append(ends, s.buf.Len())
	}
	// What is stored is made no room for: it stays as it is.
	if g.part.bytes()+int64(s.buf.Len()) > g.part.bound {
		return ErrFull
	}
	if err := s.note(g, s.buf.Bytes()); err != nil {
		return err
	}
	at := g.changes - int64(s.buf.Len())
	begin := 0
	for k, i := range c.entries {
		g.update(i, span{at + int64(begin), int64(ends[k] - begin)})
		begin = ends[k]
	}
	if g.halfDead() {
		return s.rewrite(g)
	}
	return nil
}

// overlay has a letter say what its last update says.
func (l *Letter) overlay(newer *Letter) {
	l.Reason, l.Error, l.Attempts, l.History = newer.Reason, newer.Error, newer.Attempts, newer.History
}
