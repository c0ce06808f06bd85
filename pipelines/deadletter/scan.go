package deadletter

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/penstock/penstock/internal/fault"
)

// readBuffer is how much of a file is read at a time.
const readBuffer = 256 << 10

// lines calls see with each line of the first size bytes of a file, without
// its newline, and where it begins; whole is false for a last one that has none.
func lines(file fault.File, size int64, see func(line []byte, at int64, whole bool) error) error {
	r := bufio.NewReaderSize(io.NewSectionReader(file, 0, size), readBuffer)
	var long []byte // what a line had beyond the buffer
	at := int64(0)
	for {
		part, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, part...)
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read dead letters: %w", err)
		}
		line := part
		if len(long) > 0 {
			long = append(long, part...)
			line = long
		}
		if len(line) == 0 {
			return nil
		}
		whole := line[len(line)-1] == '\n'
		if err := see(bytes.TrimSuffix(line, []byte("\n")), at, whole); err != nil {
			return err
		}
		at += int64(len(line))
		long = long[:0]
	}
}

// A scan learns a segment from its files.
type scan struct {
	segment    *segment
	recent     *recent
	bad        []span // lines that are not what was written
	good       int64  // the end of the last letter
	badChanges int    // lines of changes that are not what was written
}

// letters reads the letters' file up to size.
func (s *scan) letters(file fault.File, size int64) error {
	g := s.segment
	g.size = size
	return lines(file, size, func(line []byte, at int64, whole bool) error {
		if whole && intact(line) && s.letter(line, at, int64(len(line))+1) {
			return nil
		}
		s.damaged(line, at, whole)
		return nil
	})
}

// letter enters an intact line.
func (s *scan) letter(line []byte, at, size int64) bool {
	h, err := parseHead(line, s.segment.part.groups.names)
	g := s.segment
	if err != nil || h.Seq <= g.last() || h.Seq-g.first >= 1<<32 {
		return false
	}
	g.add(h.Seq, at, size, g.part.groups.number(&h))
	s.recent.note(h.id, h.Seq)
	s.good = at + size
	return true
}

// damaged notes a bad line and keeps the letters that are whole in it.
func (s *scan) damaged(line []byte, at int64, whole bool) {
	size := int64(len(line))
	if whole {
		size++
	}
	s.bad = append(s.bad, span{at, size})
	salvage(line, func(from, to int) {
		if whole || to < len(line) { // or it is still being written
			s.letter(line[from:to], at+int64(from), int64(to-from)+1)
		}
	})
}

// removal is a line of changes: the letters from and to, both included.
type removal struct {
	Removed [][2]uint64 `json:"removed"`
}

var removalStart = []byte(`{"removed":`)

// changes reads the changes' file up to size.
func (s *scan) changes(file fault.File, size int64) error {
	s.segment.changes = size
	return lines(file, size, func(line []byte, at int64, whole bool) error {
		if !whole {
			return nil // never confirmed
		}
		if !intact(line) || !s.change(line, span{at, int64(len(line)) + 1}) {
			s.badChanges++
		}
		return nil
	})
}

func (s *scan) change(line []byte, at span) bool {
	if !bytes.HasPrefix(line, removalStart) {
		h, err := parseHead(line, s.segment.part.groups.names)
		if i, ok := s.segment.find(h.Seq); ok {
			s.segment.update(i, at)
		}
		return err == nil
	}
	var r removal
	if json.Unmarshal(line, &r) != nil {
		return false
	}
	for _, from := range r.Removed {
		s.remove(from[0], from[1])
	}
	return true
}

func (s *scan) remove(from, to uint64) {
	g := s.segment
	for i := g.from(from); i < len(g.entries) && g.seq(i) <= to; i++ {
		if !g.isGone(i) {
			g.drop(i)
		}
	}
}

// scanFile opens a file, tells its size and has read look at it; a file that
// is not there is empty.
func scanFile(fs fault.FS, path string, read func(file fault.File, size int64) error) (fault.File, error) {
	file, err := fs.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // no file, no changes
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil {
		err = read(file, info.Size())
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
