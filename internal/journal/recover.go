package journal

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/penstock/penstock/internal/fault"
)

// recovery is what opening learns from the files.
type recovery struct {
	j     *Journal
	list  []*segment
	valid uint64 // highest offset whose frame is kept
	high  uint64 // highest offset of which there is any trace
	span  uint64 // offsets that may have been in the torn tail
	newer bool
}

// recover reads the folder: the footers of the sealed segments, all entries
// from the newest segment on that says the state; it cuts the torn tail, and
// has the state outside the journal take in what it does not have yet (C5).
func (j *Journal) recover() error {
	r := &recovery{j: j}
	if err := r.folder(); err != nil {
		return err
	}
	from, err := r.newestHead()
	if err != nil {
		return err
	}
	for i := range r.list {
		read := r.sealed
		if i >= from {
			read = r.segment
		}
		if err := read(i); err != nil {
			return err
		}
	}
	if r.newer {
		return ErrVersion
	}
	if err := r.external(); err != nil {
		return err
	}
	r.finish()
	return nil
}

// folder lists the segments, measures everything and throws the spare away.
func (r *recovery) folder() error {
	list, err := r.j.fs.ReadDir(r.j.dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.IsDir() {
			r.j.cat.foreign += r.j.subfolder(e.Name())
			continue
		}
		if e.Name() == spareName || e.Name() == asideName {
			if err := r.j.fs.Remove(filepath.Join(r.j.dir, e.Name())); err != nil {
				return err
			}
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if !r.add(e.Name(), info.Size()) {
			r.j.cat.foreign += info.Size()
		}
	}
	slices.SortFunc(r.list, inOrder)
	if err := r.resolve(); err != nil {
		return err
	}
	r.link()
	r.j.cat.list = r.list
	return nil
}

// resolve leaves the highest generation of every segment and removes the
// others, whose content it has (C6).
func (r *recovery) resolve() error {
	kept, replaced := generations(r.list)
	r.list = kept
	for _, s := range replaced {
		if err := r.j.fs.Remove(s.path); err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) add(name string, size int64) bool {
	s := parseSegment(r.j.dir, name)
	if s == nil {
		return false
	}
	s.alloc, s.used = size, size
	s.end.Store(size)
	r.list = append(r.list, s)
	r.j.w.serial = max(r.j.w.serial, s.through)
	return true
}

// link has every segment end where the one after it begins, whatever it holds
// beyond (C4).
func (r *recovery) link() {
	for i, s := range r.list[:max(0, len(r.list)-1)] {
		s.limit.Store(r.list[i+1].base)
	}
}

// newestHead returns the index of the newest segment with a readable state;
// with none, of the first one.
func (r *recovery) newestHead() (int, error) {
	for i := len(r.list) - 1; i > 0; i-- {
		ok, err := r.hasHead(r.list[i])
		if ok || err != nil {
			return i, err
		}
	}
	return 0, nil
}

// errFound ends a walk early.
var errFound = errors.New("found")

func (r *recovery) hasHead(s *segment) (bool, error) {
	f, err := r.j.fs.OpenFile(s.path, os.O_RDONLY, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	sc := newScan(f, s, 0, s.end.Load())
	sc.reuse = true
	// A torn head may have kept its state and lost its header, which alone has
	// the journal's id (C2).
	header := false
	sc.header = func(_ int64, h *blockHeader) { header = header || h.flags&flagHead != 0 }
	for {
		run, err := sc.next()
		if run == nil || err != nil {
			return false, err
		}
		err = frames(run, func(b []byte) error {
			if frameKind(b) == kindState && newState().apply(b) == nil {
				return errFound
			}
			return nil
		})
		if err != nil {
			return header, nil
		}
	}
}

// sealed learns what is in a segment from its footer; one without a sound
// footer is read.
func (r *recovery) sealed(i int) error {
	s := r.list[i]
	f, err := r.j.fs.OpenFile(s.path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	x, newer, err := readFooter(f, s, s.end.Load())
	if x != nil {
		s.facts, r.high = x, max(r.high, x.high)
	}
	if x != nil || newer || err != nil {
		r.newer = r.newer || newer
		return err
	}
	sc := newScan(f, s, 0, s.end.Load())
	sc.reuse = true
	sc.bad = func(from, to int64, last uint64, _ *item) { r.j.setAside(s, from, to, last+1, asideDamage) }
	return sc.walk(func(at int64, b []byte) error {
		s.facts.add(b, at)
		return nil
	})
}

// segment reads one segment: what it adds to the state, what is damaged, and
// in the last one where the torn tail begins.
func (r *recovery) segment(i int) error {
	s := r.list[i]
	f, err := r.j.fs.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	sv, err := r.survey(f, s)
	if err != nil || r.newer {
		return err
	}
	end, why := s.end.Load(), asideDamage
	if i == len(r.list)-1 {
		if !sv.body {
			why = asideTail // the power went while the head was written
		}
		if end, err = r.trim(f, s, &sv); err != nil {
			return err
		}
	}
	for _, b := range sv.bad {
		if b.from < end {
			r.j.setAside(s, b.from, min(b.to, end), b.last+1, why)
		}
	}
	if err := r.apply(f, s, end); err != nil {
		return err
	}
	return r.end(f, s)
}

// end gives the segment that a crash left open the footer it lacks, now that
// its end is not in doubt any more, so that later openings need not read it.
func (r *recovery) end(f fault.File, s *segment) error {
	size := s.end.Load()
	if x, newer, err := readFooter(f, s, size); x != nil || newer || err != nil {
		return err
	}
	if s.limit.Load() != math.MaxUint64 {
		return nil
	}
	h := blockHeader{journal: r.j.id, segment: s.id, synced: r.valid, first: r.valid + 1}
	foot := appendFooter(nil, s.facts, h, r.j.state.epoch)
	n := int64(len(foot))
	if r.j.cat.allocated()+n > r.j.maxBytes {
		return nil
	}
	if _, err := f.WriteAt(foot, size); err != nil {
		return errors.Join(err, f.Truncate(size))
	}
	s.end.Store(size + n)
	s.alloc, s.used = size+n, size+n
	return f.Sync()
}

// survey is what one walk through a segment found.
type survey struct {
	synced uint64 // the highest offset some block says was synced before it
	bad    []region
	last   int64 // end of the last valid item
	body   bool  // there is more than a head
	// unsynced is where the blocks begin of which none says that those before
	// it were synced.
	unsynced int64
}

type region struct {
	from, to int64
	last     uint64 // the highest offset before it
	lost     bool   // offsets may be missing
}

// survey walks through a whole segment, also through frames that are void.
func (r *recovery) survey(f fault.File, s *segment) (survey, error) {
	var sv survey
	sc := newScan(f, s, 0, s.end.Load())
	sc.reuse = true
	sc.header = func(at int64, h *blockHeader) {
		if h.synced > sv.synced {
			sv.synced, sv.unsynced = h.synced, at
		}
		if h.flags&flagHead == 0 {
			sv.body = true
			r.high = max(r.high, h.first+uint64(h.count)-1, h.synced)
		}
		r.j.id = h.journal
	}
	sc.bad = func(from, to int64, last uint64, next *item) {
		lost := next == nil || !next.block || next.first != last+1
		sv.bad = append(sv.bad, region{from, to, last, lost})
	}
	// What a later segment makes void was given out nevertheless (C2).
	limit := sc.limit
	sc.limit = math.MaxUint64
	for {
		run, err := sc.next()
		if run == nil || err != nil {
			r.high = max(r.high, sc.last)
			r.newer = r.newer || sc.newer
			return sv, errors.Join(err, r.void(f, &sv, limit))
		}
		sv.last = sc.pos
	}
}

// void forgets the bad places that a later segment makes void. What they may
// have held was given out, too (C2).
func (r *recovery) void(f fault.File, sv *survey, limit uint64) error {
	kept := sv.bad[:0]
	for _, b := range sv.bad {
		if b.last+1 < limit {
			kept = append(kept, b)
			continue
		}
		used, err := lastUsed(f, b.from, b.to)
		if err != nil {
			return err
		}
		r.high = max(r.high, b.last+spanOf(used-b.from))
	}
	sv.bad = kept
	return nil
}

// tail returns where the torn tail of the last segment begins: at the first
// bad place that no later block says was synced (C3). A place where no offset
// is missing between two blocks is the segment's head, synced before all else.
func (sv *survey) tail(end int64) int64 {
	for _, b := range sv.bad {
		if b.lost && b.last+1 > sv.synced {
			return b.from
		}
	}
	return end
}

// trim takes the zeros that were never written, and the torn tail, off the
// last segment; it returns where the segment ends now. The tail is kept in a
// side file, and its offsets are not given out again: as many are passed over
// as it could hold (C2).
func (r *recovery) trim(f fault.File, s *segment, sv *survey) (int64, error) {
	end := s.end.Load()
	used, err := lastUsed(f, sv.last, end)
	if err != nil {
		return 0, err
	}
	cut := min(used, sv.tail(end))
	if cut < used {
		r.span = spanOf(used - cut)
		r.j.setAside(s, cut, used, r.valid+1, asideTail)
	}
	if cut < end {
		if err := f.Truncate(cut); err != nil {
			return 0, err
		}
		s.end.Store(cut)
		s.alloc, s.used = cut, cut
	}
	if err := rewrite(f, sv.unsynced, cut); err != nil {
		return 0, err
	}
	return cut, f.Sync()
}

// rewrite writes a region again as it reads. A process that was killed, or
// whose sync failed, left pages that nothing will write any more: a kernel
// takes them for clean after a failed sync, so that a sync alone proves
// nothing (C4).
func rewrite(f fault.File, from, to int64) error {
	buf := make([]byte, max(0, min(readBytes, to-from)))
	for at := from; at < to; at += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), to-at)]
		if err := readFull(f, b, at); err != nil {
			return err
		}
		if _, err := f.WriteAt(b, at); err != nil {
			return err
		}
	}
	return nil
}

// lastUsed returns the end of the last bytes in [from, end) that are not zero,
// on a boundary of items.
func lastUsed(f fault.File, from, end int64) (int64, error) {
	buf := make([]byte, min(readBytes, end-from))
	used := from
	for at := from; at < end; at += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), end-at)]
		if err := readFull(f, b, at); err != nil {
			return 0, err
		}
		if n := len(bytes.TrimRight(b, "\x00")); n > 0 {
			used = min(end, int64(align(int(at)+n)))
		}
	}
	return used, nil
}

// apply has the state take in a segment's frames.
func (r *recovery) apply(f fault.File, s *segment, end int64) error {
	r.valid = max(r.valid, s.base-1)
	sc := newScan(f, s, 0, end)
	sc.reuse = true
	return sc.walk(func(at int64, b []byte) error {
		s.facts.add(b, at)
		r.frame(s, b)
		return nil
	})
}

// frame takes in one frame. One whose checksum is right and whose content is
// not was written by nobody; it is told and passed over.
func (r *recovery) frame(s *segment, b []byte) {
	if err := r.j.state.apply(b); err != nil {
		r.j.damage.note(s.name()+strconv.FormatUint(frameOffset(b), 10), int64(len(b)), true)
		r.j.log.Error("journal entry not understood",
			slog.String("file", s.name()), slog.Uint64("offset", frameOffset(b)), slog.Any("err", err))
	}
	if !lone(frameKind(b)) {
		r.valid = max(r.valid, frameOffset(b))
	}
}

// finish sets the journal up to go on after all there is a trace of.
func (r *recovery) finish() {
	j := r.j
	if j.id == 0 {
		j.id = randomID()
	}
	j.epoch = j.state.epoch + 1
	j.buf.next = max(r.high, j.state.high, r.valid+r.span) + 1
	j.buf.received = j.state.received
	j.w.synced, j.w.floor = r.valid, j.buf.next-1
	j.used.Store(j.cat.allocated())
	j.grown.Store(j.cat.above(j.state.floor(j.shards())))
}
