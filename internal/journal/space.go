package journal

import (
	"log/slog"
	"math"
	"slices"
)

// removeSettled removes the sealed segments of which nobody is owed anything,
// or marks them as kept for replay. It belongs to the keeper.
func (j *Journal) removeSettled() { j.remove(j.demand()) }

// removeSure is removeSettled for the committer that finds no room. It does
// not ask the state outside the journal, which may hold a lock while it
// appends, and so wait for the committer: whatever it may need stays.
func (j *Journal) removeSure() {
	d := j.demand()
	if d.refers != nil {
		d.refers = func(uint64) bool { return true }
	}
	j.remove(d)
}

func (j *Journal) remove(d *demand) {
	since := j.keepSince()
	for _, s := range j.cat.sealed() {
		if !j.settled(s, d) {
			continue
		}
		if s.facts.to >= since {
			j.cat.keep(s)
			continue
		}
		j.drop(s)
	}
}

// keepSince is the time, in Unix milliseconds, from which on segments are kept
// for replay.
func (j *Journal) keepSince() int64 {
	if j.keep <= 0 {
		return math.MaxInt64
	}
	return j.clock().Add(-j.keep).UnixMilli()
}

// settled reports whether nobody is owed anything in a sealed segment. The
// state outside the journal answers as of its present, which a crash may undo:
// what it no longer refers to counts only when all that was appended before it
// said so is stored.
func (j *Journal) settled(s *segment, d *demand) bool {
	if d.owes(s.facts) {
		j.cat.clear(s, 0)
		return false
	}
	if d.refers == nil || len(s.facts.states) == 0 {
		return true
	}
	return j.stored.Load()+1 >= j.cat.clear(s, j.Next())
}

// drop takes a segment out of the log, and its file out of the folder when no
// reader has it open.
func (j *Journal) drop(s *segment) {
	if j.cat.drop(s) {
		j.freed(s, j.cat.remove(s))
	}
}

// freed counts a removed segment's space as free.
func (j *Journal) freed(s *segment, err error) {
	if err != nil {
		// Its space stays taken until measureFolder sees the file as foreign.
		j.log.Warn("remove journal segment", slog.String("file", s.path), slog.Any("err", err))
	}
	j.used.Add(-s.used)
}

// release gives one use of a segment back.
func (j *Journal) release(s *segment) error {
	removed, err := j.cat.release(s)
	if removed {
		j.freed(s, err)
		j.kickKeeper()
		return nil
	}
	return err
}

// makeWay reports whether the folder may grow by n bytes, for which segments
// that are kept for replay go, the oldest first, whatever keep says (C7).
func (j *Journal) makeWay(n int64) bool {
	for j.cat.allocated()+n > j.maxBytes {
		s := j.cat.oldestKept()
		if s == nil {
			return false
		}
		j.drop(s)
	}
	return true
}

// sealed returns the segments that are not written any more and may go. One
// that makes frames of an earlier one void stays behind it (C4): else those
// would be read again.
func (c *catalog) sealed() []*segment {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*segment
	for _, s := range c.list[:max(0, len(c.list)-1)] {
		if !s.dead {
			list = append(list, s)
		}
	}
	return list
}

// clear notes from which stored offset on nobody is owed anything in s, unless
// it was noted before, and returns it; 0: somebody is.
func (c *catalog) clear(s *segment, next uint64) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.clear == 0 || next == 0 {
		s.clear = next
	}
	return s.clear
}

// keep marks a segment as kept for replay only.
func (c *catalog) keep(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.kept || s.dead {
		return
	}
	s.kept = true
	c.kept.Add(s.used)
}

// oldestKept returns the first segment that is kept for replay and may go.
func (c *catalog) oldestKept() *segment {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.list {
		if s.kept && !c.pinned(i) {
			return s
		}
	}
	return nil
}

// pinned reports whether a segment must stay because of void frames before
// it. The caller holds mu.
func (c *catalog) pinned(i int) bool { return i > 0 && c.list[i].voids }

// drop takes a segment out of the list; it reports whether its file may be
// removed now. A pinned one stays.
func (c *catalog) drop(s *segment) (removable bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.list, s)
	if i < 0 || c.pinned(i) {
		return false
	}
	c.list = slices.Delete(c.list, i, i+1)
	c.bury(s)
	return s.refs == 0
}

// bury marks a segment that is out of the list as dead. The caller holds mu.
func (c *catalog) bury(s *segment) {
	s.dead = true
	if s.kept {
		s.kept = false
		c.kept.Add(-s.used)
	}
	if s.refs > 0 {
		c.dying = append(c.dying, s)
	}
}

// ended notes that s was sealed with a footer of n bytes.
func (c *catalog) ended(s *segment, size, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.used += n
	s.alloc = max(s.alloc, size)
	s.facts.seal()
}
