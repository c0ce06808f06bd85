package deadletter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/linefile"
)

// makeRoom lets n more bytes into a part: rule errors push out the oldest ones,
// for others what was removed is given back to the disk, and if that is not
// enough there is no room (C20).
func (s *Store) makeRoom(p *part, n int64) error {
	if p.bytes()+n <= p.bound {
		return nil
	}
	if p == &s.parts.ruleErrors {
		return s.giveWay(p, n)
	}
	return s.squeeze(p, n)
}

// squeeze writes segments anew, those with the most to give back first.
func (s *Store) squeeze(p *part, n int64) error {
	for p.bytes()+n > p.bound {
		var worst *segment
		for _, g := range p.segments {
			if !g.unreadable && g.liveBytes < g.bytes() && (worst == nil || g.bytes()-g.liveBytes > worst.bytes()-worst.liveBytes) {
				worst = g
			}
		}
		if worst == nil {
			return fmt.Errorf("%w: %d of %d bytes", ErrFull, p.bytes(), p.bound)
		}
		if err := s.rewrite(worst); err != nil {
			return err
		}
	}
	return nil
}

// giveWay removes the oldest segments until there is room.
func (s *Store) giveWay(p *part, n int64) error {
	if n > p.bound {
		return fmt.Errorf("%w: %d bytes of %d", ErrTooLarge, n, p.bound)
	}
	for p.bytes()+n > p.bound {
		i := slices.IndexFunc(p.segments, func(g *segment) bool { return !g.unreadable && g.bytes() > 0 })
		if i < 0 {
			return fmt.Errorf("%w: %d of %d bytes", ErrFull, p.bytes(), p.bound)
		}
		s.noteGivenWay(p.segments[i])
		if err := s.discard(p.segments[i]); err != nil {
			return err
		}
	}
	return nil
}

// A way is a line of the file that counts what gave way.
type way struct {
	First   uint64    `json:"first"`   // of the segment
	Letters int       `json:"letters"` // it held
	Total   uint64    `json:"total"`   // given way so far, these included
	Time    time.Time `json:"time"`
}

const givenWayName = "given-way.jsonl"

// noteGivenWay counts the letters of a segment before it goes, so that the
// count survives with what it counts (I6). On a full disk, where removing is
// what helps, the next line makes up for it.
func (s *Store) noteGivenWay(g *segment) {
	if g.live == 0 {
		return
	}
	s.givenWay += uint64(g.live)
	s.log.Warn("rule errors among the dead letters gave way to newer ones", slog.Int("count", g.live))
	var line bytes.Buffer
	w := way{First: g.first, Letters: g.live, Total: s.givenWay, Time: Stamp(time.Now())}
	err := appendLine(&line, &w)
	if err == nil {
		err = s.appendTo(givenWayName, line.Bytes())
	}
	if err != nil {
		s.log.Warn("count dead letters that gave way", slog.Any("err", err))
	}
}

// appendTo adds whole lines to a small file of the folder.
func (s *Store) appendTo(name string, lines []byte) error {
	file, err := linefile.Open(filepath.Join(s.dir, name), linefile.Options{FS: s.fs, Perm: 0o600})
	if err != nil {
		return err
	}
	return errors.Join(file.Append(lines), file.Close())
}

// lastWay reads the last line of the file that counts what gave way.
func (r *reader) lastWay() (w way, err error) {
	file, err := scanFile(r.fs, filepath.Join(r.dir, givenWayName), func(file fault.File, size int64) error {
		return lines(file, size, func(line []byte, _ int64, whole bool) error {
			var v way
			if whole && intact(line) && json.Unmarshal(line, &v) == nil {
				w = v
			}
			return nil
		})
	})
	if file != nil {
		err = errors.Join(err, file.Close())
	}
	return w, err
}

// discard removes a segment with all its letters. Numbers are never used
// twice, so the newest one leaves an empty segment behind.
func (s *Store) discard(g *segment) error {
	p := g.part
	if g == p.newest() {
		if g.first == s.next { // empty already
			return nil
		}
		if _, err := s.begin(p, s.next); err != nil {
			return err
		}
	}
	if err := s.removeFiles(g); err != nil {
		return err
	}
	g.forget()
	p.segments = slices.DeleteFunc(p.segments, func(other *segment) bool { return other == g })
	return nil
}

// removeFiles removes a segment's files: the letters first, since without its
// changes a letter that was removed would come back.
func (s *Store) removeFiles(g *segment) error {
	if err := s.fs.Remove(g.path()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := s.fs.SyncDir(s.dir); err != nil || g.changes == 0 {
		return err
	}
	if err := s.fs.Remove(g.changesPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
