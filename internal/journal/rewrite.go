package journal

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// fullShare is how much of a segment, in percent, must be owed for it to stay
// as it is once it is due to go (C6).
const fullShare = 80

// The times after which a segment of which facts alone don't say how much is
// owed is read to know it: a lane that is in the middle of it may be through
// by then.
const (
	firstLook = time.Second
	lastLook  = time.Minute
)

// pieceBytes is how much of a segment is rewritten between two syncs, so that
// no large one holds up the commits.
const pieceBytes = 1 << 20

// rewriteDue rewrites the segments that are due to go and of which too little
// is owed.
func (j *Journal) rewriteDue() {
	pressed := j.full() || j.cat.allocated()+2*j.segmentBytes > j.maxBytes
	since := j.keepSince()
	for _, s := range j.cat.sealed() {
		select {
		case <-j.stop:
			return
		default:
		}
		if !pressed && s.facts.to >= since || !j.mayPay(s, pressed) {
			continue
		}
		err := j.rewrite(s)
		switch {
		case err == nil, errors.Is(err, errGone), errors.Is(err, ErrClosed):
		case errors.Is(err, errDamaged): // it stays as it is, with what is bad in it (I4)
		default:
			j.failed("rewrite a segment", err)
		}
	}
}

// mayPay reports whether it is time to read a segment, as little of it may be
// owed.
func (j *Journal) mayPay(s *segment, pressed bool) bool {
	d := j.demand()
	n := d.bytes(s.facts)
	if n == 0 && !j.cat.stays(s) {
		return false // the keeper's
	}
	sure := s.facts.other.count == 0 && !s.facts.unlisted && !d.partly(s.facts)
	if sure && full(n, s) {
		return false
	}
	now := time.Now()
	if !sure && s.look == 0 && !pressed {
		s.look, s.next = firstLook, now.Add(firstLook)
	}
	if now.Before(s.next) {
		return false
	}
	s.look = min(max(2*s.look, firstLook), lastLook)
	s.next = now.Add(s.look)
	return true
}

// full reports whether enough of a segment is owed for it to stay as it is. One
// that was given up is mostly empty.
func full(owed int64, s *segment) bool {
	size := s.facts.bytes
	if s.used > 2*size+pieceBytes {
		size = s.used
	}
	return owed*100 >= fullShare*size
}

// stays reports whether a segment of which nothing is owed has to stay.
func (c *catalog) stays(s *segment) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, t := range c.list {
		if t == s {
			return c.pinned(i)
		}
	}
	return false
}

// rewrite replaces a segment, and the small ones before it, by a new
// generation that has only what somebody needs, at the same offsets (C6).
func (j *Journal) rewrite(s *segment) error {
	d := j.demand()
	n, err := j.needed(s, d)
	if err != nil || full(n, s) {
		return err
	}
	if n == 0 && !j.cat.stays(s) {
		if err := j.certain(d); err != nil {
			return err
		}
		j.drop(s)
		return nil
	}
	run, n := j.gather(s, d, n)
	return j.replace(run, d, n)
}

// certain returns when what the state outside the journal answered up to now
// is stored: a crash must not bring it back to where it refers to what it was
// no longer asked to keep.
func (j *Journal) certain(d *demand) error {
	if d.refers == nil {
		return nil
	}
	return j.wait(j.Next() - 1)
}

// gather returns the segment, of which n bytes are needed, and those before it
// that are small enough to go with it at little cost: what stays of many
// segments does not stay in as many files. Like a counter that carries, it
// copies nothing more often than the size of a segment can be halved.
func (j *Journal) gather(s *segment, d *demand, n int64) ([]*segment, int64) {
	run := []*segment{s}
	for p := j.cat.before(s); p != nil && d.bytes(p.facts) > 0; p = j.cat.before(p) {
		if size := p.facts.bytes; size > 2*n || size+n > j.segmentBytes {
			break
		}
		run = append([]*segment{p}, run...)
		n += p.facts.bytes
	}
	return run, n
}

// needed is how many bytes of frames in a segment somebody needs.
func (j *Journal) needed(s *segment, d *demand) (n int64, err error) {
	err = j.each(s, func(f []byte) error {
		if d.wants(f) {
			n += int64(align(len(f)))
		}
		return nil
	})
	return n, err
}

// before returns the segment before s.
func (c *catalog) before(s *segment) *segment {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, t := range c.list {
		if t == s && i > 0 {
			return c.list[i-1]
		}
	}
	return nil
}

// replace writes the next generation of a run of segments aside, n bytes of
// frames, syncs it, names it, and puts it in their place. No file that is open
// is renamed over, and the old ones go when their last reader closes.
func (j *Journal) replace(run []*segment, d *demand, n int64) error {
	r := newRewriter(j, run)
	if !j.makeWay(n + n/8 + int64(len(r.head)) + 2*footerRoom) {
		return errNoRoom
	}
	aside := filepath.Join(j.dir, asideName)
	defer j.cat.setAside(0)
	if err := errors.Join(r.write(aside, run, d), j.certain(d)); err != nil {
		return errors.Join(err, ignoreGone(j.fs.Remove(aside)))
	}
	j.cat.setNaming(r.s.name())
	defer j.cat.setNaming("")
	if err := j.fs.Rename(aside, r.s.path); err != nil {
		return errors.Join(err, ignoreGone(j.fs.Remove(aside)))
	}
	if err := j.fs.SyncDir(j.dir); err != nil {
		return errors.Join(err, ignoreGone(j.fs.Remove(r.s.path)))
	}
	gone, ok := j.cat.replace(run, r.s)
	if !ok { // some of them left meanwhile; with the rest it is as before
		return ignoreGone(j.fs.Remove(r.s.path))
	}
	j.used.Add(r.s.used)
	j.rewritten.Add(uint64(len(run)))
	for _, s := range gone {
		j.freed(s, j.cat.remove(s))
	}
	j.kickKeeper()
	return nil
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// rewriter writes one new generation.
type rewriter struct {
	j      *Journal
	s      *segment
	limit  uint64 // no frame of the run has it or more
	head   []byte
	file   fault.File
	pos    int64
	synced int64 // the file is synced up to here
	block  []byte
	first  uint64 // offset of the block's first frame
	count  uint32
	packer packer
}

func newRewriter(j *Journal, run []*segment) *rewriter {
	first, last := run[0], run[len(run)-1]
	s := newSegment(j.dir, first.base, first.serial, randomID(), first.voids)
	for _, t := range run {
		s.generation = max(s.generation, t.generation+1)
	}
	s.through = last.through
	s.named(j.dir)
	s.limit.Store(last.limit.Load())
	// What is before the first frame was passed over already, hence base - 1.
	head := appendHeadBlocks(nil, j, s, s.base-1)
	return &rewriter{j: j, s: s, limit: last.limit.Load(), head: head, block: make([]byte, blockHead, readBytes), packer: newPacker(j.compression)}
}

// write makes the file and syncs it.
func (r *rewriter) write(path string, run []*segment, d *demand) (err error) {
	r.file, err = r.j.fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.file.Close()) }()
	if err := r.put(r.head); err != nil {
		return err
	}
	for _, s := range run {
		err := r.j.each(s, func(f []byte) error {
			if !d.wants(f) {
				return nil
			}
			return r.add(f)
		})
		if err != nil {
			return err
		}
	}
	if err := r.flush(); err != nil {
		return err
	}
	r.s.facts.seal()
	if err := r.put(appendFooter(nil, r.s.facts, r.header(), r.j.epoch)); err != nil {
		return err
	}
	r.s.alloc, r.s.used = r.pos, r.pos
	r.s.end.Store(r.pos)
	return r.file.Datasync()
}

// header is that of a block: all frames of the run were synced long ago.
func (r *rewriter) header() blockHeader {
	return blockHeader{journal: r.j.id, segment: r.s.id, synced: r.limit - 1, first: r.limit}
}

// add copies one frame, whose checksum is another in another segment.
func (r *rewriter) add(f []byte) error {
	if len(r.block)+align(len(f)) > readBytes {
		if err := r.flush(); err != nil {
			return err
		}
	}
	if r.count == 0 {
		r.first = frameOffset(f)
	}
	r.count++
	at := len(r.block)
	r.block = append(r.block, f...)
	stampFrame(r.block[at:], seed(r.s.id))
	r.s.facts.add(r.block[at:], r.pos)
	r.block = append(r.block, make([]byte, align(len(f))-len(f))...)
	return nil
}

// flush writes the block.
func (r *rewriter) flush() error {
	if r.count == 0 {
		return nil
	}
	h := r.header()
	h.first, h.count, h.length = r.first, r.count, uint32(len(r.block)-blockHead)
	h.put(r.block)
	err := r.put(r.packer.pack(r.block, h))
	r.block, r.count = r.block[:blockHead], 0
	return err
}

func (r *rewriter) put(b []byte) error {
	if _, err := r.file.WriteAt(b, r.pos); err != nil {
		return err
	}
	r.pos += int64(len(b))
	r.j.cat.setAside(r.pos)
	if r.pos-r.synced < pieceBytes {
		return nil
	}
	r.synced = r.pos
	return r.file.Datasync()
}

// replace puts s in the place of a run of neighbours. It returns those of them
// that no reader has open; ok is false when one has left the list meanwhile.
func (c *catalog) replace(run []*segment, s *segment) (gone []*segment, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := -1
	for i, t := range c.list {
		if t == run[0] {
			from = i
		}
	}
	if from < 0 || from+len(run) >= len(c.list) {
		return nil, false
	}
	for i, t := range run {
		if c.list[from+i] != t {
			return nil, false
		}
	}
	list := append([]*segment{}, c.list[:from]...)
	list = append(list, s)
	c.list = append(list, c.list[from+len(run):]...)
	c.aside = 0
	for _, t := range run {
		c.bury(t)
		if t.refs == 0 {
			gone = append(gone, t)
		}
	}
	return gone, true
}

// setAside notes what the segment being rewritten takes.
func (c *catalog) setAside(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aside = n
}

// setNaming notes the file that becomes a new generation, "" for none.
func (c *catalog) setNaming(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.naming = name
}
