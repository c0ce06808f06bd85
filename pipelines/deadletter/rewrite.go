package deadletter

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/penstock/penstock/internal/fault"
)

func slogFile(path string) slog.Attr { return slog.String("file", filepath.Base(path)) }
func slogErr(err error) slog.Attr    { return slog.Any("err", err) }

// rewrite writes a segment anew as the next generation: without what was
// removed, with what was updated. A crash leaves the old one, or both, of
// which the newer counts.
func (s *Store) rewrite(g *segment) error {
	p := g.part
	if err := s.leaveTrace(g); err != nil {
		return err
	}
	next := &segment{part: p, first: g.first, gen: g.gen + 1}
	if err := s.copyTo(next, g); err != nil {
		next.forget()
		_ = s.fs.Remove(next.path() + stagedSuffix)
		return fmt.Errorf("rewrite %s: %w", filepath.Base(g.path()), err)
	}
	for i, other := range p.segments {
		if other == g {
			p.segments[i] = next
		}
	}
	g.forget()
	if err := s.removeFiles(g); err != nil {
		s.log.Warn("remove older generation of dead letters", slogFile(g.path()), slogErr(err))
	}
	return nil
}

// leaveTrace ends the newest segment before it is written anew. If its highest
// numbers will not be in there any more, an empty one behind it tells that they
// were given out.
func (s *Store) leaveTrace(g *segment) error {
	n := len(g.entries)
	switch {
	case g != g.part.newest():
		return nil
	case n == 0 || !g.isGone(n-1):
		return g.part.seal()
	}
	_, err := s.begin(g.part, s.next)
	return err
}

// copyTo writes what is left of a segment into another one and gives that its name.
func (s *Store) copyTo(next, from *segment) error {
	w := &copier{}
	var err error
	w.source, err = s.openSources(from)
	if err != nil {
		return err
	}
	defer w.source.close()
	staged := next.path() + stagedSuffix
	file, err := s.fs.OpenFile(staged, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w.out = bufio.NewWriterSize(io.NewOffsetWriter(file, 0), readBuffer)
	err = errors.Join(w.letters(next, from), w.out.Flush(), file.Sync(), file.Close())
	if err == nil {
		err = s.setAside(from.path(), w.lost)
	}
	if err != nil {
		return err
	}
	if err := s.fs.Rename(staged, next.path()); err != nil {
		return err
	}
	return s.fs.SyncDir(s.dir)
}

// A copier copies the letters of a segment that are left.
type copier struct {
	source sources
	out    *bufio.Writer
	line   bytes.Buffer
	lost   []span // lines that are not what was written any more
}

func (w *copier) letters(next, from *segment) error {
	for i, e := range from.entries {
		if from.isGone(i) {
			continue
		}
		line, err := w.encode(from, i)
		if errors.Is(err, errLine) {
			w.lost = append(w.lost, span{int64(e.at), int64(e.size)})
			continue
		}
		if err != nil {
			return err
		}
		if _, err := w.out.Write(line); err != nil {
			return err
		}
		next.add(from.seq(i), next.size, int64(len(line)), e.group)
		next.size += int64(len(line))
	}
	return nil
}

// encode returns the line of letter i, newline included.
func (w *copier) encode(from *segment, i int) ([]byte, error) {
	line, err := w.source.line(from.entries[i])
	if err != nil {
		return nil, err
	}
	if _, updated := from.updates[uint32(i)]; !updated {
		return append(line, '\n'), nil
	}
	l, err := w.source.letter(from, i)
	if err != nil {
		return nil, err
	}
	w.line.Reset()
	if err := appendLine(&w.line, &l); err != nil {
		return nil, err
	}
	return w.line.Bytes(), nil
}

// sources are a segment's files, open for reading.
type sources struct {
	letters, changes fault.File
	borrowed         bool // the segment keeps them open
	buf              []byte
}

// openSources opens a segment's files; once open, they can be read though the
// segment goes.
func (r *reader) openSources(g *segment) (sources, error) {
	if g.file != nil {
		return sources{letters: g.file, changes: g.changesFile, borrowed: true}, nil
	}
	var s sources
	var err error
	if s.letters, err = r.fs.OpenFile(g.path(), os.O_RDONLY, 0); err != nil {
		return s, err
	}
	if len(g.updates) == 0 {
		return s, nil
	}
	if s.changes, err = r.fs.OpenFile(g.changesPath(), os.O_RDONLY, 0); err != nil {
		return s, errors.Join(err, s.letters.Close())
	}
	return s, nil
}

func (s *sources) close() {
	if s.borrowed {
		return
	}
	for _, f := range [...]fault.File{s.letters, s.changes} {
		if f != nil {
			_ = f.Close() // it was only read
		}
	}
}

// line reads the line of an entry, without its newline, valid until the next call.
func (s *sources) line(e entry) ([]byte, error) {
	return s.read(s.letters, int64(e.at), int64(e.size))
}

func (s *sources) read(file fault.File, at, size int64) ([]byte, error) {
	if int64(cap(s.buf)) < size {
		s.buf = make([]byte, size)
	}
	line := s.buf[:size-1]
	if _, err := file.ReadAt(line, at); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read dead letter: %w", err)
	}
	if !intact(line) {
		return nil, errLine
	}
	return line, nil
}

// letter reads letter i of a segment as it is now.
func (s *sources) letter(g *segment, i int) (Letter, error) {
	at, updated := g.updates[uint32(i)]
	return s.letterAt(g.entries[i], at, updated)
}

func (s *sources) letterAt(e entry, at span, updated bool) (Letter, error) {
	line, err := s.line(e)
	if err != nil {
		return Letter{}, err
	}
	l, err := decodeLetter(line)
	if err != nil || !updated {
		return l, err
	}
	line, err = s.read(s.changes, at.at, at.size)
	if errors.Is(err, errLine) {
		return l, nil // as it was before
	}
	if err != nil {
		return l, err
	}
	newer, err := decodeLetter(line)
	if err == nil {
		l.overlay(&newer)
	}
	return l, err
}
