package deadletter

import (
	"bytes"
	"cmp"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/linefile"
)

// An opening is what Open does with the folder.
type opening struct {
	store  *Store
	legacy string
	marked uint64 // a takeover that was not finished began at this number, 0 for none
	scans  []*scan
}

func (o *opening) run() error {
	s := o.store
	if err := o.folder(); err != nil {
		return err
	}
	s.recent = newRecent()
	for _, p := range s.parts.both() {
		for _, g := range p.segments {
			o.scan(g)
		}
	}
	s.next = max(s.parts.next(), o.marked)
	if err := o.mend(); err != nil {
		return err
	}
	if err := o.finishGivingWay(); err != nil {
		return err
	}
	if err := o.makeDurable(); err != nil {
		return err
	}
	return o.takeOver()
}

// makeDurable syncs the newest letters: those of a process that was killed may
// be there without being durable, and a lane that finds its letter here counts
// on it (I2). Opening a file of lines syncs it.
func (o *opening) makeDurable() error {
	for _, p := range o.store.parts.both() {
		g := p.newest()
		if g == nil || g.unreadable {
			continue
		}
		file, err := linefile.Open(g.path(), linefile.Options{FS: o.store.fs, Perm: 0o600})
		if err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}

// folder finds the segments, the highest generation of each, and throws away
// what a crash left: files half written, older generations, and the letters of
// a takeover that was not finished.
func (o *opening) folder() error {
	s := o.store
	list, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return err
	}
	o.marked = takeoverMark(list)
	if o.marked > 0 && !o.hasLegacy() { // it was finished
		if err := o.unmark(); err != nil {
			return err
		}
	}
	keep := newestSegments(list, s.parts)
	for _, p := range s.parts.both() {
		p.segments = slices.DeleteFunc(p.segments, func(g *segment) bool {
			abandoned := o.marked > 0 && g.first >= o.marked
			if abandoned {
				delete(keep, g.name())
			}
			return abandoned
		})
	}
	return o.clear(list, keep)
}

// newestSegments adds the segments that a folder shows to their parts and
// returns their names.
func newestSegments(list []os.DirEntry, parts *parts) map[string]bool {
	for _, e := range list {
		base, ok := strings.CutSuffix(e.Name(), lettersSuffix)
		name, first, gen, named := parseName(base)
		if !ok || !named {
			continue
		}
		p := parts.named(name)
		i := slices.IndexFunc(p.segments, func(g *segment) bool { return g.first == first })
		if i < 0 {
			p.segments = append(p.segments, &segment{part: p, first: first, gen: gen})
			continue
		}
		p.segments[i].gen = max(p.segments[i].gen, gen)
	}
	keep := make(map[string]bool)
	for _, p := range parts.both() {
		slices.SortFunc(p.segments, func(a, b *segment) int { return cmp.Compare(a.first, b.first) })
		for _, g := range p.segments {
			keep[g.name()] = true
		}
	}
	return keep
}

// clear removes files of segments that are not kept, letters first.
func (o *opening) clear(list []os.DirEntry, keep map[string]bool) error {
	s := o.store
	removed := false
	for _, suffix := range []string{stagedSuffix, lettersSuffix, changesSuffix} {
		for _, e := range list {
			base, ok := strings.CutSuffix(e.Name(), suffix)
			segment := strings.TrimSuffix(base, lettersSuffix)
			if _, _, _, named := parseName(segment); !ok || !named || suffix != stagedSuffix && keep[segment] {
				continue
			}
			if err := s.fs.Remove(filepath.Join(s.dir, e.Name())); err != nil {
				return err
			}
			removed = true
		}
	}
	if !removed {
		return nil
	}
	return s.fs.SyncDir(s.dir)
}

// scan reads a segment; one that cannot be read is left alone (I4).
func (o *opening) scan(g *segment) {
	s := o.store
	sc := &scan{segment: g, recent: s.recent}
	err := s.readSegment(sc, false)
	if err != nil {
		g.forget()
		*g = segment{part: g.part, first: g.first, gen: g.gen, size: g.size, changes: g.changes, unreadable: true}
		s.damaged++
		s.log.Error("dead letters cannot be read, left alone", slogFile(g.path()), slogErr(err))
		return
	}
	if len(sc.bad) > 0 || sc.badChanges > 0 {
		o.scans = append(o.scans, sc)
	}
}

// readSegment learns a segment from its files, which it leaves open if asked to.
func (r *reader) readSegment(sc *scan, open bool) error {
	g := sc.segment
	file, err := scanFile(r.fs, g.path(), sc.letters)
	if err != nil {
		return err
	}
	changes, err := scanFile(r.fs, g.changesPath(), sc.changes)
	if open && err == nil {
		g.file, g.changesFile = file, changes
		return nil
	}
	for _, f := range [...]fault.File{file, changes} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// mend cuts torn ends, which nobody was told about, and writes segments with
// damage anew without it. What cannot be mended now is passed over.
func (o *opening) mend() error {
	for _, sc := range o.scans {
		g := sc.segment
		torn := g == g.part.newest() && len(sc.bad) > 0 && sc.bad[0].at >= sc.good
		if torn {
			if err := o.cut(sc); err != nil {
				return err
			}
			sc.bad = nil
		}
		if len(sc.bad) > 0 || sc.badChanges > 0 {
			o.cure(sc)
		}
	}
	return nil
}

// cut takes the torn end off the newest segment.
func (o *opening) cut(sc *scan) error {
	s, g := o.store, sc.segment
	s.log.Warn("dead letters ended with an incomplete line, cut", slogFile(g.path()), slog.Int64("count", g.size-sc.good))
	if err := s.keepAside(g.path(), sc.bad); err != nil {
		s.log.Warn("keep what is cut", slogFile(g.path()), slogErr(err))
	}
	file, err := s.fs.OpenFile(g.path(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	g.size = sc.good
	return errors.Join(file.Truncate(sc.good), file.Sync(), file.Close())
}

// cure sets damage aside and writes the segment anew without it, so that it is
// told of once.
func (o *opening) cure(sc *scan) {
	s, g := o.store, sc.segment
	err := s.setAside(g.path(), sc.bad)
	if sc.badChanges > 0 {
		s.damaged += uint64(sc.badChanges)
		s.log.Error("damaged changes of dead letters, removed ones may be back",
			slogFile(g.changesPath()), slog.Int("count", sc.badChanges))
	}
	if err == nil {
		err = s.rewrite(g)
	}
	if err != nil {
		s.log.Warn("write damaged dead letters anew", slogFile(g.path()), slogErr(err))
	}
}

// An aside is a line of the file that holds what was damaged.
type aside struct {
	File  string `json:"file"`
	At    int64  `json:"at"`
	Bytes []byte `json:"bytes"` // base64
}

const damagedName = "damaged.aside"

// setAside counts, logs and keeps damaged lines of a file (I4).
func (s *Store) setAside(path string, bad []span) error {
	for _, b := range bad {
		s.damaged++
		s.log.Error("damaged dead letter set aside", slogFile(path), slog.Int64("offset", b.at), slog.Int64("count", b.size))
	}
	return s.keepAside(path, bad)
}

func (s *Store) keepAside(path string, bad []span) error {
	if len(bad) == 0 {
		return nil
	}
	file, err := s.fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	for _, b := range bad {
		a := aside{File: filepath.Base(path), At: b.at, Bytes: make([]byte, b.size)}
		if _, err := file.ReadAt(a.Bytes, b.at); err != nil {
			return err
		}
		var line bytes.Buffer
		if err := appendLine(&line, &a); err != nil {
			return err
		}
		if err := s.appendTo(damagedName, line.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// finishGivingWay goes on where a crash came between counting a segment and
// removing it.
func (o *opening) finishGivingWay() error {
	s := o.store
	w, err := s.lastWay()
	if err != nil {
		s.log.Warn("read how many dead letters gave way", slogErr(err))
		return nil
	}
	s.givenWay = w.Total
	p := &s.parts.ruleErrors
	for _, g := range p.segments {
		if g.first == w.First && g.live == w.Letters {
			return s.discard(g)
		}
	}
	return nil
}
