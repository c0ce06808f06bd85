package journal

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// A Reader goes through the stored messages in order. It is not for
// concurrent use; Close may be called when TryNext is not running.
type Reader struct {
	j    *Journal
	data []byte // the run being read: whole valid items from pos on
	pos  int
	next uint64 // the lowest offset not read yet
	// kinds has a bit for each kind that TryNext returns.
	kinds uint64

	chunk   *chunk   // the run is in memory
	segment *segment // the run is from disk
	scan    *scan

	at     atomic.Uint64 // next, now and then, for those who keep memory for readers
	signal chan struct{} // capacity 1: more may have been stored
	closed bool
}

// NewReader returns a reader of the messages from an offset on.
func (j *Journal) NewReader(from uint64) *Reader {
	r := &Reader{j: j, next: max(from, 1), kinds: 1 << kindMessage, signal: make(chan struct{}, 1)}
	r.at.Store(r.next)
	j.readers.add(r)
	return r
}

// Ready returns a channel that receives when more may have been stored. The
// watermark moves first, then TryNext finds what is below it, then Ready and
// those of NotifyStored are told.
func (r *Reader) Ready() <-chan struct{} { return r.signal }

// Next returns the offset from which on TryNext looks for the next message.
func (r *Reader) Next() uint64 { return r.next }

// TryNext returns the next stored message; ok is false when there is none
// yet. Damage is stepped over, counted and logged (I4). An error, such as too
// many open files, loses nothing: the next call tries again.
func (r *Reader) TryNext() (f Frame, ok bool, err error) {
	for {
		for r.pos+8 <= len(r.data) {
			b := r.data[r.pos:]
			size := le.Uint32(b)
			if size == blockMagic {
				r.pos += blockHead
				continue
			}
			r.pos += align(int(size))
			offset := frameOffset(b)
			if r.kinds&(1<<b[20]) == 0 || offset < r.next {
				continue
			}
			r.next = offset + 1
			return Frame{b: b[:size:size], journal: r.j.id}, true, nil
		}
		if more, err := r.refill(); !more {
			return Frame{}, false, err
		}
	}
}

// refill finds the next run, in memory if it is there. more is false when
// nothing more is stored.
func (r *Reader) refill() (more bool, err error) {
	if r.closed {
		return false, ErrClosed
	}
	r.at.Store(r.next)
	if r.chunk != nil {
		if done, more := r.refillChunk(); done {
			return more, nil
		}
	}
	if c := r.j.tail.find(r.next); c != nil {
		r.toMemory(c)
		return len(r.data) > 0, nil
	}
	if r.next > r.j.stored.Load() {
		return false, nil
	}
	return r.refillDisk()
}

// refillChunk goes on in memory; done is false when the chunk that follows
// was let go.
func (r *Reader) refillChunk() (done, more bool) {
	final := r.chunk.final.Load() // before end: what is added in between is seen next time
	if end := int(r.chunk.end.Load()); end > r.pos {
		r.data = r.chunk.data[:end]
		return true, true
	} else if final == 0 || int64(end) < final {
		return true, false
	}
	next, wait := r.j.tail.after(r.chunk)
	switch {
	case wait:
		return true, false
	case next != nil:
		r.toMemory(next)
		return true, len(r.data) > 0
	}
	r.chunk, r.data, r.pos = nil, nil, 0
	return false, false
}

func (r *Reader) toMemory(c *chunk) {
	r.leaveDisk()
	r.chunk, r.data, r.pos = c, c.data[:c.end.Load()], 0
}

func (r *Reader) leaveDisk() {
	if r.segment == nil {
		return
	}
	_ = r.j.release(r.segment) // closing what was only read
	r.segment, r.scan = nil, nil
}

// refillDisk reads the next run of the segments.
func (r *Reader) refillDisk() (more bool, err error) {
	runtime.Gosched() // a reader that is behind gives way to those who append (C19)
	r.data, r.pos = nil, 0
	for {
		if r.segment == nil {
			s, at, err := r.j.cat.find(r.next)
			if s == nil || err != nil {
				return false, err
			}
			r.enter(s, at)
		}
		last := !r.j.cat.hasAfter(r.segment) // before end: then end is final
		r.scan.end, r.scan.limit = r.segment.end.Load(), r.segment.limit.Load()
		run, err := r.scan.next()
		if err != nil || run != nil {
			r.data = run
			return run != nil, err
		}
		if last {
			return false, nil
		}
		s, err := r.j.cat.after(r.segment)
		if err != nil {
			return false, err
		}
		r.leaveDisk()
		r.enter(s, 0)
	}
}

func (r *Reader) enter(s *segment, at int64) {
	r.segment = s
	r.scan = newScan(s.file, s, at, s.end.Load())
	r.scan.bad = func(from, to int64, last uint64, _ *item) {
		r.j.setAside(s, from, to, last+1, asideDamage)
	}
}

// Close ends the reader and gives its segment free.
func (r *Reader) Close() {
	r.closed = true
	r.leaveDisk()
	r.data, r.chunk = nil, nil
	r.j.readers.remove(r)
}

// readers is every open reader of a journal.
type readers struct {
	mu   sync.Mutex
	list []*Reader
}

func (s *readers) add(r *Reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, r)
}

func (s *readers) remove(r *Reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range s.list {
		if x == r {
			s.list = append(s.list[:i], s.list[i+1:]...)
			return
		}
	}
}

// needed is the lowest offset a reader still wants; all when there is none.
func (s *readers) needed(stored uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	low := stored + 1
	for _, r := range s.list {
		low = min(low, r.at.Load())
	}
	return low
}

// ready wakes the readers.
func (s *readers) ready() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.list {
		select {
		case r.signal <- struct{}{}:
		default:
		}
	}
}

// waiters is who waits for one offset to be stored.
type waiters struct {
	count atomic.Int64
	mu    sync.Mutex
	list  []waiter
}

type waiter struct {
	offset uint64
	done   chan struct{}
}

func (w *waiters) add(offset uint64) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	done := make(chan struct{})
	w.list = append(w.list, waiter{offset, done})
	w.count.Add(1)
	return done
}

func (w *waiters) notify(stored uint64) {
	if w.count.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	rest := w.list[:0]
	for _, x := range w.list {
		if x.offset <= stored {
			close(x.done)
			w.count.Add(-1)
			continue
		}
		rest = append(rest, x)
	}
	w.list = rest
}

// wait returns when an offset is stored.
func (j *Journal) wait(offset uint64) error {
	done := j.waiters.add(offset)
	j.waiters.notify(j.published.Load()) // it may be stored already
	select {
	case <-done:
		return nil
	case <-j.committed:
	}
	if j.stored.Load() >= offset {
		return nil
	}
	return ErrClosed
}
