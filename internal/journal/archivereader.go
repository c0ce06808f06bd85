package journal

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/penstock/penstock/internal/fault"
)

// An ArchiveReader goes through the entries of an archive in order, of every
// kind. It is not for concurrent use.
type ArchiveReader struct {
	a     *Archive
	list  []*segment // those that are left
	s     *segment
	file  fault.File
	scan  *scan
	run   []byte
	next  uint64 // the lowest offset not read yet
	head  bool   // the state of this segment was returned
	tries int
	bad   []Damage
}

// Reader returns a reader of the entries from an offset on. Each segment it
// enters at its beginning also shows, once, the state that it begins with.
func (a *Archive) Reader(from uint64) *ArchiveReader {
	r := &ArchiveReader{a: a, next: max(from, 1), list: a.list}
	r.toNext()
	return r
}

// toNext lets go of the segments that end below the next offset.
func (r *ArchiveReader) toNext() {
	r.list = slices.DeleteFunc(slices.Clone(r.list), func(s *segment) bool { return s.limit.Load() <= r.next })
}

// Next returns the next entry; ok is false at the end. The frame stays valid.
// Damage is stepped over; Damage tells. Segments that were removed meanwhile
// are passed by, and a segment written anew is read in its new form.
func (r *ArchiveReader) Next() (f Frame, ok bool, err error) {
	for {
		for len(r.run) > 0 {
			b := r.take()
			if b == nil || !r.wants(b) {
				continue
			}
			if frameOffset(b) > r.a.certain {
				r.leave()
				r.list = nil
				return Frame{}, false, nil
			}
			return Frame{b: b, journal: r.a.id}, true, nil
		}
		if more, err := r.refill(); !more || err != nil {
			return Frame{}, false, err
		}
	}
}

// take splits the first item off the run; nil when it is a block's header.
func (r *ArchiveReader) take() []byte {
	if le.Uint32(r.run) == blockMagic {
		r.run = r.run[blockHead:]
		return nil
	}
	size := frameSize(r.run)
	b := r.run[:size:size]
	r.run = r.run[align(size):]
	return b
}

// wants reports whether a frame is one to be returned, and notes that it was.
// Of a segment's two states the second one is the first again, and its footer
// says what the entries say.
func (r *ArchiveReader) wants(b []byte) bool {
	if lone(frameKind(b)) {
		first := frameKind(b) == kindState && !r.head
		r.head = r.head || first
		return first
	}
	if frameKind(b) == kindFooter || frameOffset(b) < r.next {
		return false
	}
	if frameOffset(b) <= r.a.certain {
		r.next = frameOffset(b) + 1
	}
	return true
}

// refill reads the next run, of this segment or of the one after it.
func (r *ArchiveReader) refill() (more bool, err error) {
	for {
		if r.s == nil {
			if more, err := r.enter(); !more || err != nil {
				return false, err
			}
		}
		if r.head && r.next > r.a.certain {
			r.leave()
			r.list = nil
			return false, nil
		}
		if r.run, err = r.scan.next(); err != nil || r.run != nil {
			return err == nil, err
		}
		r.leave()
	}
}

// enter opens the next segment that is still there; more is false when there
// is none.
func (r *ArchiveReader) enter() (more bool, err error) {
	for len(r.list) > 0 {
		s := r.list[0]
		f, err := r.a.fs.OpenFile(s.path, os.O_RDONLY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			if err := r.again(); err != nil {
				return false, err
			}
			continue
		}
		if err != nil {
			return false, err
		}
		r.list = r.list[1:]
		at, err := r.place(s, f)
		if err != nil {
			_ = f.Close()
			return false, err
		}
		r.s, r.file = s, f
		r.scan = newScan(f, s, at, s.end.Load())
		r.scan.bad = damageOf(s, r.a.certain, func(d Damage) { r.bad = append(r.bad, d) })
		return true, nil
	}
	return false, nil
}

// place returns where to begin to read a segment. In the middle of it, its
// footer says where, and the state at its head is of no interest.
func (r *ArchiveReader) place(s *segment, f fault.File) (at int64, err error) {
	r.head = s.base < r.next
	if !r.head {
		return 0, nil
	}
	x, _, err := readFooter(f, s, s.end.Load())
	if x == nil || err != nil {
		return 0, err
	}
	return x.position(r.next), nil
}

// again lists the folder anew after a segment went away. One that goes away
// again and again is given up.
func (r *ArchiveReader) again() error {
	if r.tries++; r.tries > opens {
		r.tries = 0
		r.list = r.list[1:]
		return nil
	}
	if err := r.a.relist(); err != nil {
		if errors.Is(err, fs.ErrNotExist) { // all is gone
			r.list = nil
			return nil
		}
		return err
	}
	r.list = r.a.list
	r.toNext()
	return nil
}

func (r *ArchiveReader) leave() {
	if r.file != nil {
		_ = r.file.Close() // it was only read
	}
	r.s, r.file, r.scan, r.run = nil, nil, nil, nil
}

// Damage returns the damaged places met so far.
func (r *ArchiveReader) Damage() []Damage { return r.bad }

// Close gives up the file that the reader has open.
func (r *ArchiveReader) Close() {
	r.leave()
	r.list = nil
}
