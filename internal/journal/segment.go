package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// A segment is one file of the log.
type segment struct {
	base   uint64 // frames of earlier segments at or above it are void (C4)
	serial uint64 // order of creation
	id     uint64 // random, part of every checksum in the file
	voids  bool   // an earlier segment was given up: it has frames from base on that are void (C4)
	// generation counts how often the segment was rewritten (C6). Then it may
	// stand for several: for all those of a serial up to through.
	generation uint32
	through    uint64
	path       string

	end   atomic.Int64  // bytes that readers may see
	limit atomic.Uint64 // base of the segment after it: its own frames end below

	// Guarded by catalog.mu:
	facts *facts
	alloc int64 // bytes on disk
	used  int64 // bytes that count as taken
	file  fault.File
	refs  int
	kept  bool   // nobody is owed anything in it; it is kept for replay
	clear uint64 // not 0: nobody is owed anything once this offset is stored
	dead  bool   // to be removed when the last reader closes

	// What follows belongs to tidyLoop: how soon it may read the segment to
	// know how much of it is owed.
	next time.Time
	look time.Duration
}

// A mark says where a frame is: no frame before position at has offset or more.
type mark struct {
	offset uint64
	at     int64
}

// indexBytes is how far the marks of a segment are apart.
const indexBytes = 256 << 10

func newSegment(dir string, base, serial, id uint64, voids bool) *segment {
	s := &segment{base: base, serial: serial, through: serial, id: id, voids: voids, facts: newFacts()}
	s.named(dir)
	s.limit.Store(math.MaxUint64)
	return s
}

// named sets the segment's path.
func (s *segment) named(dir string) {
	name := fmt.Sprintf("%020d-%010d-%016x", s.base, s.serial, s.id)
	if s.generation > 0 {
		name += fmt.Sprintf(".%d-%d", s.generation, s.through)
	}
	suffix := segmentSuffix
	if s.voids {
		suffix = voidSuffix
	}
	s.path = filepath.Join(dir, name+suffix)
}

// The suffixes of segments.
const (
	segmentSuffix = ".seg"
	voidSuffix    = ".void.seg"
)

func (s *segment) name() string { return filepath.Base(s.path) }

// parseSegment reads a segment's file name; nil when it is none.
func parseSegment(dir, name string) *segment {
	stem, voids := strings.CutSuffix(name, voidSuffix)
	stem, ok := strings.CutSuffix(stem, segmentSuffix)
	if !ok && !voids {
		return nil
	}
	stem, rewritten, _ := strings.Cut(stem, ".")
	var base, serial, id uint64
	if n, err := fmt.Sscanf(stem, "%020d-%010d-%016x", &base, &serial, &id); err != nil || n != 3 {
		return nil
	}
	s := newSegment(dir, base, serial, id, voids)
	if rewritten != "" {
		if n, err := fmt.Sscanf(rewritten, "%d-%d", &s.generation, &s.through); err != nil || n != 2 {
			return nil
		}
		s.named(dir)
	}
	if s.name() != name {
		return nil
	}
	return s
}

// inOrder compares two segments by their place in the log.
func inOrder(a, b *segment) int {
	return cmp.Or(cmp.Compare(a.base, b.base), cmp.Compare(a.serial, b.serial), cmp.Compare(a.generation, b.generation))
}

// replaces reports whether a is a later generation of b.
func (s *segment) replaces(b *segment) bool {
	return s.generation > b.generation && s.serial <= b.serial && b.through <= s.through
}

// catalog is the segments there are, in order.
type catalog struct {
	fs fault.FS

	mu    sync.Mutex
	list  []*segment
	spare *spare
	// taking: the spare was handed out and still has its name, under which no
	// other may be made: its zeros would go into what becomes a segment.
	taking bool
	// preparing is what the spare being prepared takes already.
	preparing int64
	// foreign is what the folder holds beside segments and the spare.
	foreign int64
	// dying is segments out of the list that readers still have open.
	dying []*segment
	// beginning is the file that is becoming a segment.
	beginning string
	// aside is what a segment being rewritten takes already, naming its file on
	// the way to become one.
	aside  int64
	naming string

	kept atomic.Int64 // bytes of the segments that are kept for replay only
}

// add appends a segment; from now on readers may find it.
func (c *catalog) add(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.list); n > 0 {
		c.list[n-1].limit.Store(s.base)
	}
	c.list = append(c.list, s)
}

// allocated is all that the folder takes on disk.
func (c *catalog) allocated() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.foreign + c.preparing + c.aside
	if c.spare != nil {
		n += c.spare.size
	}
	for _, s := range c.list {
		n += s.alloc
	}
	for _, s := range c.dying {
		n += s.alloc
	}
	return n
}

// find opens the segment in which offset is, or would be, and says where to
// begin to look. nil: there is no segment.
func (c *catalog) find(offset uint64) (*segment, int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.list) == 0 {
		return nil, 0, nil
	}
	i := 0
	for i+1 < len(c.list) && c.list[i+1].base <= offset {
		i++
	}
	s := c.list[i]
	return s, s.facts.position(offset), c.open(s)
}

// markBelow sorts a mark before every offset that is at or above it.
func markBelow(m mark, offset uint64) int {
	if m.offset <= offset {
		return -1
	}
	return 1
}

// after opens the segment that follows s; nil when s is the last.
func (c *catalog) after(s *segment) (*segment, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.list {
		if t.through > s.through {
			return t, c.open(t)
		}
	}
	return nil, nil
}

// hasAfter reports whether a segment follows s, after which s does not grow.
func (c *catalog) hasAfter(s *segment) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.list) > 0 && c.list[len(c.list)-1].through > s.through
}

// open counts one more user of s. The caller holds mu.
func (c *catalog) open(s *segment) error {
	if s.file == nil {
		f, err := c.fs.OpenFile(s.path, os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		s.file = f
	}
	s.refs++
	return nil
}

// release counts one user less; the last one closes the file, and removes it
// if it is dead. It reports whether a file went.
func (c *catalog) release(s *segment) (removed bool, err error) {
	c.mu.Lock()
	s.refs--
	var f fault.File
	if s.refs == 0 {
		f, s.file = s.file, nil
	}
	gone := s.refs == 0 && s.dead
	if gone {
		c.dying = slices.DeleteFunc(c.dying, func(t *segment) bool { return t == s })
	}
	c.mu.Unlock()
	if f != nil {
		err = f.Close()
	}
	if gone {
		err = errors.Join(err, c.remove(s))
	}
	return gone, err
}

// remove removes a dead segment's file. A file that is gone already is fine.
func (c *catalog) remove(s *segment) error {
	err := c.fs.Remove(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// wrote notes a block of so many bytes at position at of s.
func (c *catalog) wrote(s *segment, b *block, at, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.used += size
	_ = frames(b.bytes(), func(f []byte) error {
		s.facts.add(f, at)
		return nil
	})
}

// grew notes that s reaches to size on disk.
func (c *catalog) grew(s *segment, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.alloc = max(s.alloc, size)
}

// resize notes that s was cut to size.
func (c *catalog) resize(s *segment, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.alloc = size
}

// fail counts all of a segment that was given up as taken; it returns what its unused rest adds to the
// space taken.
func (c *catalog) fail(s *segment) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := s.alloc - s.used
	s.used = s.alloc
	return rest
}

// A spare is a file of zeros, ready to become a segment.
type spare struct {
	path string
	size int64
}

// hasSpare reports whether there is a spare, or one that still has its name.
func (c *catalog) hasSpare() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spare != nil || c.taking
}

// took says that the spare that was handed out has another name, or is given up.
func (c *catalog) took() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taking = false
}

// takeSpare hands out the spare if it has need bytes; took must follow.
func (c *catalog) takeSpare(need int64) *spare {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.spare
	if s == nil || s.size < need {
		return nil
	}
	c.spare, c.taking = nil, true
	return s
}
