package fault

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Mem is a file system in memory that knows what of it is durable: the
// content of a file up to its last sync, the names of a folder up to its last
// SyncDir. The zero value is not ready; use NewMem.
type Mem struct {
	mu    sync.Mutex
	dirs  map[string]*memDir
	locks map[string]bool
	watch func(Op)
	// All fields are guarded by mu.
}

// memDir is one folder: the names as they are, as they were when last synced,
// and the changes between in order.
type memDir struct {
	live, durable map[string]*inode
	pending       []dirChange
}

// dirChange sets names to files in one step; nil removes a name.
type dirChange map[string]*inode

// NewMem returns a file system with an empty root folder.
func NewMem() *Mem {
	m := &Mem{dirs: map[string]*memDir{}, locks: map[string]bool{}}
	_ = m.MkdirAll(string(filepath.Separator), 0)
	return m
}

// Watch has f called after every operation that succeeded, from the goroutine
// that did it and without any lock held: f may call Crash.
func (m *Mem) Watch(f func(Op)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watch = f
}

func (m *Mem) done(op Op) {
	m.mu.Lock()
	f := m.watch
	m.mu.Unlock()
	if f != nil {
		f(op)
	}
}

// do runs one operation under the lock and tells the watcher if it succeeded.
func (m *Mem) do(op Op, f func() error) error {
	m.mu.Lock()
	err := f()
	m.mu.Unlock()
	if err != nil {
		return &fs.PathError{Op: string(op.Kind), Path: op.Name, Err: err}
	}
	m.done(op)
	return nil
}

// dir returns the folder a name is in and the name inside it.
func (m *Mem) dir(name string) (*memDir, string, error) {
	folder, base := filepath.Split(filepath.Clean(name))
	d := m.dirs[filepath.Clean(folder)]
	if d == nil {
		return nil, "", fs.ErrNotExist
	}
	return d, base, nil
}

func (d *memDir) change(c dirChange) {
	c.apply(d.live)
	d.pending = append(d.pending, c)
}

func (c dirChange) apply(names map[string]*inode) {
	for name, n := range c {
		if n == nil {
			delete(names, name)
			continue
		}
		names[name] = n
	}
}

// OpenFile opens a file.
func (m *Mem) OpenFile(name string, flag int, _ fs.FileMode) (File, error) {
	var n *inode
	err := m.do(Op{Kind: Open, Name: name}, func() (err error) {
		n, err = m.open(name, flag)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &memFile{fs: m, name: name, n: n}, nil
}

func (m *Mem) open(name string, flag int) (*inode, error) {
	d, base, err := m.dir(name)
	if err != nil {
		return nil, err
	}
	n := d.live[base]
	switch {
	case n == nil && flag&os.O_CREATE == 0:
		return nil, fs.ErrNotExist
	case n != nil && flag&os.O_EXCL != 0:
		return nil, fs.ErrExist
	case n == nil:
		n = newInode()
		d.change(dirChange{base: n})
	case flag&os.O_TRUNC != 0:
		n.truncate(0)
	}
	return n, nil
}

// Rename renames a file.
func (m *Mem) Rename(from, to string) error {
	return m.do(Op{Kind: Rename, Name: from, To: to}, func() error {
		d, base, err := m.dir(from)
		if err != nil {
			return err
		}
		d2, base2, err := m.dir(to)
		if err != nil {
			return err
		}
		n := d.live[base]
		if n == nil {
			return fs.ErrNotExist
		}
		if d != d2 {
			return fmt.Errorf("between folders: %w", fs.ErrInvalid)
		}
		d.change(dirChange{base: nil, base2: n})
		return nil
	})
}

// Remove removes a file; whoever has it open keeps its content.
func (m *Mem) Remove(name string) error {
	return m.do(Op{Kind: Remove, Name: name}, func() error {
		d, base, err := m.dir(name)
		if err != nil {
			return err
		}
		if d.live[base] == nil {
			return fs.ErrNotExist
		}
		d.change(dirChange{base: nil})
		return nil
	})
}

// ReadDir lists a folder.
func (m *Mem) ReadDir(name string) ([]fs.DirEntry, error) {
	var list []fs.DirEntry
	err := m.do(Op{Kind: ReadDir, Name: name}, func() error {
		d := m.dirs[filepath.Clean(name)]
		if d == nil {
			return fs.ErrNotExist
		}
		for _, base := range slices.Sorted(maps.Keys(d.live)) {
			list = append(list, fs.FileInfoToDirEntry(memInfo{name: base, size: int64(len(d.live[base].live))}))
		}
		return nil
	})
	return list, err
}

// MkdirAll makes a folder and those above it, durable at once.
func (m *Mem) MkdirAll(name string, _ fs.FileMode) error {
	return m.do(Op{Kind: Mkdir, Name: name}, func() error {
		for name = filepath.Clean(name); m.dirs[name] == nil; name = filepath.Dir(name) {
			m.dirs[name] = &memDir{live: map[string]*inode{}, durable: map[string]*inode{}}
		}
		return nil
	})
}

// SyncDir makes a folder's names durable.
func (m *Mem) SyncDir(name string) error {
	return m.do(Op{Kind: SyncDir, Name: name}, func() error {
		d := m.dirs[filepath.Clean(name)]
		if d == nil {
			return fs.ErrNotExist
		}
		d.durable, d.pending = maps.Clone(d.live), nil
		return nil
	})
}

// Stat describes a file or a folder.
func (m *Mem) Stat(name string) (fs.FileInfo, error) {
	var info memInfo
	err := m.do(Op{Kind: Stat, Name: name}, func() error {
		if m.dirs[filepath.Clean(name)] != nil {
			info = memInfo{name: filepath.Base(name), dir: true}
			return nil
		}
		d, base, err := m.dir(name)
		if err != nil {
			return err
		}
		n := d.live[base]
		if n == nil {
			return fs.ErrNotExist
		}
		info = memInfo{name: base, size: int64(len(n.live))}
		return nil
	})
	return info, err
}

// Lock takes a lock.
func (m *Mem) Lock(name string) (io.Closer, error) {
	err := m.do(Op{Kind: Lock, Name: name}, func() error {
		if m.locks[name] {
			return ErrLocked
		}
		m.locks[name] = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &memLock{m, name}, nil
}

type memLock struct {
	m    *Mem
	name string
}

func (l *memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	delete(l.m.locks, l.name)
	return nil
}

type memInfo struct {
	name string
	size int64
	dir  bool
}

func (i memInfo) Name() string     { return i.name }
func (i memInfo) Size() int64      { return i.size }
func (i memInfo) IsDir() bool      { return i.dir }
func (memInfo) ModTime() time.Time { return time.Time{} }
func (memInfo) Sys() any           { return nil }

func (i memInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}
