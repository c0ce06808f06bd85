package journal

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// seekBytes is the piece of a segment that is read from its beginning; larger
// ones are halved first.
const seekBytes = 256 << 10

// Seek returns the offset of the first stored message received at or after t,
// or, when there is none yet, the offset above all that are stored. It looks
// at a few places of a few segments: the time never decreases along the log
// (C21). What cannot be read makes it answer with an earlier offset, never
// with a later one.
func (j *Journal) Seek(t time.Time) (offset uint64) {
	ms := wholeMillis(t)
	stored := j.stored.Load()
	list := j.cat.begins()
	find := func(i int) (uint64, error) { return j.seekIn(list[i].base, ms) }
	first := func(i int) (int64, bool, error) { return list[i].time, list[i].ok, nil }
	offset, err := seekList(len(list), ms, first, find)
	if err != nil {
		j.log.Warn("seek in the journal", slog.Uint64("offset", offset), slog.Any("err", err))
	}
	return min(offset, stored+1)
}

// Seek returns the offset of the first message of the archive received at or
// after t, or, when there is none, the offset above all that it shows.
func (a *Archive) Seek(t time.Time) (offset uint64) {
	ms, list := wholeMillis(t), a.list
	find := func(i int) (offset uint64, err error) {
		offset = none
		err = a.within(list[i], func(f fault.File) error {
			offset, err = seekSegment(f, list[i], ms)
			return err
		})
		return offset, err
	}
	first := func(i int) (at int64, ok bool, err error) {
		err = a.within(list[i], func(f fault.File) error {
			size := list[i].end.Load()
			if x, _, err := readFooter(f, list[i], size); x != nil || err != nil {
				at, ok = x.begins()
				return err
			}
			at, ok, err = firstTime(f, list[i], 0, size)
			return err
		})
		return at, ok, err
	}
	offset, _ = seekList(len(list), ms, first, find) // an error makes it earlier
	return min(offset, a.certain+1)
}

// within has read called with a segment's file, unless it was removed
// meanwhile.
func (a *Archive) within(s *segment, read func(f fault.File) error) error {
	f, err := a.fs.OpenFile(s.path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return read(f)
}

// begins returns the time of a segment's first message, if it has one.
func (x *facts) begins() (ms int64, ok bool) {
	if x == nil || x.count == 0 {
		return 0, false
	}
	return x.from, true
}

// wholeMillis is t in the unit of the log, rounded up.
func wholeMillis(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.After(time.UnixMilli(ms)) {
		ms++
	}
	return ms
}

// seekList finds the message in one of n segments: the last one that begins
// before the time, or else the first of those behind it. first tells the time
// of a segment's first message, if it has one; find looks inside a segment,
// for which none is above all offsets.
func seekList(n int, ms int64, first func(int) (int64, bool, error), find func(int) (uint64, error)) (uint64, error) {
	lo, hi := 0, n // segments below lo begin before the time, those from hi on do not
	var failed error
	for lo < hi {
		mid := (lo + hi) / 2
		at, found := mid, false
		var t int64
		var err error
		for ; at < hi && !found; at++ { // a segment without messages counts for the one behind it
			if t, found, err = first(at); err != nil {
				failed, found = errors.Join(failed, err), false
			}
		}
		if found && t < ms {
			lo = at
		} else {
			hi = mid
		}
	}
	for i := max(0, lo-1); i < n; i++ {
		offset, err := find(i)
		if err != nil || offset < none {
			return offset, errors.Join(failed, err)
		}
	}
	return none, failed
}

// none is above all offsets.
const none = math.MaxUint64

// beginning is where a segment begins and the time of its first message, if
// it has one.
type beginning struct {
	base uint64
	time int64
	ok   bool
}

// begins returns the beginnings of all segments, in order.
func (c *catalog) begins() []beginning {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]beginning, len(c.list))
	for i, s := range c.list {
		list[i] = beginning{s.base, s.facts.from, s.facts.count > 0}
	}
	return list
}

// seekIn looks for the first message at or after a time in the segment of a
// base. A segment that is gone has none.
func (j *Journal) seekIn(base uint64, ms int64) (offset uint64, err error) {
	s, _, err := j.cat.find(base)
	if s == nil || err != nil {
		return base, err
	}
	defer func() { _ = j.release(s) }() // it was only read
	return seekSegment(s.file, s, ms)
}

// seekSegment returns the offset of the first message of a segment at or after
// a time; none when there is none. It halves the file until what is left is
// read at once: behind any position the next whole item is found by its
// checksum.
func seekSegment(f io.ReaderAt, s *segment, ms int64) (uint64, error) {
	lo, hi := int64(0), s.end.Load()
	end := hi
	for hi-lo > seekBytes {
		mid := (lo + (hi-lo)/2) &^ 7
		t, ok, err := firstTime(f, s, mid, hi)
		if err != nil {
			return s.base, err
		}
		if ok && t < ms {
			lo = mid
		} else {
			hi = mid
		}
	}
	offset := uint64(none)
	err := eachMessage(f, s, lo, end, func(b []byte, t int64) bool {
		if t >= ms {
			offset = frameOffset(b)
		}
		return t < ms
	})
	if err != nil {
		return s.base, err
	}
	return offset, nil
}

// firstTime returns the time of the first message between two positions of a
// segment.
func firstTime(f io.ReaderAt, s *segment, from, to int64) (ms int64, ok bool, err error) {
	err = eachMessage(f, s, from, to, func(_ []byte, t int64) bool {
		ms, ok = t, true
		return false
	})
	return ms, ok, err
}

// eachMessage calls see for the messages between two positions until it
// returns false. from need not be where an item begins.
func eachMessage(f io.ReaderAt, s *segment, from, to int64, see func(b []byte, t int64) bool) error {
	sc := newScan(f, s, from, to)
	sc.reuse = true
	for {
		run, err := sc.next()
		if run == nil || err != nil {
			return err
		}
		err = frames(run, func(b []byte) error {
			if t, ok := receivedAt(b); ok && frameKind(b) == kindMessage && !see(b, t) {
				return errFound
			}
			return nil
		})
		if errors.Is(err, errFound) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
