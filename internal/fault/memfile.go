package fault

import (
	"io"
	"io/fs"
	"path/filepath"
)

// SectorBytes is what a disk writes whole or not at all.
const SectorBytes = 512

// maxVersions bounds what is remembered of a sector written again and again
// without a sync.
const maxVersions = 4

// inode is one file: its content as programs see it, as it was when last
// synced, and what the sectors between held meanwhile. Guarded by Mem.mu.
type inode struct {
	live   []byte
	synced []byte
	dirty  map[int][][]byte // sector number -> contents written since, oldest first
}

func newInode() *inode { return &inode{dirty: map[int][][]byte{}} }

func (n *inode) write(p []byte, off int64) {
	end := int(off) + len(p)
	n.grow(end)
	copy(n.live[off:], p)
	n.mark(int(off), end)
}

func (n *inode) grow(size int) {
	if size > len(n.live) {
		n.live = append(n.live, make([]byte, size-len(n.live))...)
	}
}

// mark remembers what the sectors of live[from:to] hold now.
func (n *inode) mark(from, to int) {
	for s := from / SectorBytes; s*SectorBytes < to; s++ {
		now := append([]byte(nil), n.live[s*SectorBytes:min((s+1)*SectorBytes, len(n.live))]...)
		v := append(n.dirty[s], now)
		n.dirty[s] = v[max(0, len(v)-maxVersions):]
	}
}

func (n *inode) truncate(size int) {
	n.grow(size)
	n.live = n.live[:size:size]
}

// sync makes the dirty sectors durable. A sector that was given up by a
// failed sync is not dirty any more and stays as it was.
func (n *inode) sync() {
	for s := range n.dirty {
		n.persist(s, n.live)
	}
	n.resize(len(n.live))
	n.dirty = map[int][][]byte{}
}

// persist copies one sector of from into the durable content.
func (n *inode) persist(s int, from []byte) {
	lo, hi := s*SectorBytes, min((s+1)*SectorBytes, len(from))
	if lo >= hi {
		return
	}
	n.resize(max(hi, len(n.synced)))
	copy(n.synced[lo:hi], from[lo:hi])
}

// resize sets the durable size.
func (n *inode) resize(size int) {
	if size > len(n.synced) {
		n.synced = append(n.synced, make([]byte, size-len(n.synced))...)
	}
	n.synced = n.synced[:size]
}

type memFile struct {
	fs     *Mem
	name   string
	n      *inode
	closed bool // guarded by Mem.mu
}

func (f *memFile) do(op Op, do func() error) error {
	op.Name = f.name
	return f.fs.do(op, func() error {
		if f.closed {
			return fs.ErrClosed
		}
		return do()
	})
}

func (f *memFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.do(Op{Kind: Read, Offset: off, Size: len(p)}, func() error {
		if off < int64(len(f.n.live)) {
			n = copy(p, f.n.live[off:])
		}
		return nil
	})
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.do(Op{Kind: Write, Offset: off, Size: len(p)}, func() error {
		f.n.write(p, off)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *memFile) Sync() error { return f.sync(Sync) }

func (f *memFile) Datasync() error { return f.sync(Datasync) }

func (f *memFile) sync(k Kind) error {
	return f.do(Op{Kind: k}, func() error {
		f.n.sync()
		return nil
	})
}

// lose is what a failed sync may do: the sectors are taken for clean, so that
// no later sync makes them durable.
func (f *memFile) lose() {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.n.dirty = map[int][][]byte{}
}

func (f *memFile) Truncate(size int64) error {
	return f.do(Op{Kind: Truncate, Offset: size}, func() error {
		f.n.truncate(int(size))
		return nil
	})
}

func (f *memFile) Stat() (fs.FileInfo, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return memInfo{name: filepath.Base(f.name), size: int64(len(f.n.live))}, nil
}

func (f *memFile) Close() error {
	return f.do(Op{Kind: Close}, func() error {
		f.closed = true
		return nil
	})
}
