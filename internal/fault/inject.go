package fault

import (
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
)

// A Fault makes operations fail. A test asks Fired afterwards, so that it
// does not pass because the fault never happened.
type Fault struct {
	When  func(Op) bool // which operations; nil: all
	Err   error         // what they return
	Times int           // how many of them; 0: all until removed
	// Short: a write first writes half of its bytes.
	Short bool

	fired atomic.Int64
}

// Fired reports how many operations the fault made fail.
func (f *Fault) Fired() int { return int(f.fired.Load()) }

// take reports whether op fails by f. The injector calls it one at a time.
func (f *Fault) take(op Op) bool {
	if f.Times > 0 && f.Fired() >= f.Times || f.When != nil && !f.When(op) {
		return false
	}
	f.fired.Add(1)
	return true
}

// An Injector is a file system some of whose operations fail.
type Injector struct {
	under FS

	mu     sync.Mutex
	faults []*Fault // guarded by mu
}

// Inject returns fs with no fault yet.
func Inject(under FS) *Injector { return &Injector{under: under} }

// Add adds a fault and returns it.
func (i *Injector) Add(f *Fault) *Fault {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults = append(i.faults, f)
	return f
}

// Heal removes all faults.
func (i *Injector) Heal() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults = nil
}

// check returns the fault that op meets, nil for none.
func (i *Injector) check(op Op) *Fault {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, f := range i.faults {
		if f.take(op) {
			return f
		}
	}
	return nil
}

func (i *Injector) do(op Op, f func() error) error {
	if hit := i.check(op); hit != nil {
		return &fs.PathError{Op: string(op.Kind), Path: op.Name, Err: hit.Err}
	}
	return f()
}

// OpenFile opens a file whose operations meet the faults too.
func (i *Injector) OpenFile(name string, flag int, perm fs.FileMode) (f File, err error) {
	err = i.do(Op{Kind: Open, Name: name}, func() error {
		f, err = i.under.OpenFile(name, flag, perm)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &injectedFile{i, name, f}, nil
}

// Rename renames a file.
func (i *Injector) Rename(from, to string) error {
	return i.do(Op{Kind: Rename, Name: from, To: to}, func() error { return i.under.Rename(from, to) })
}

// Remove removes a file.
func (i *Injector) Remove(name string) error {
	return i.do(Op{Kind: Remove, Name: name}, func() error { return i.under.Remove(name) })
}

// ReadDir lists a folder.
func (i *Injector) ReadDir(name string) (list []fs.DirEntry, err error) {
	err = i.do(Op{Kind: ReadDir, Name: name}, func() error {
		list, err = i.under.ReadDir(name)
		return err
	})
	return list, err
}

// MkdirAll makes a folder.
func (i *Injector) MkdirAll(name string, perm fs.FileMode) error {
	return i.do(Op{Kind: Mkdir, Name: name}, func() error { return i.under.MkdirAll(name, perm) })
}

// SyncDir syncs a folder.
func (i *Injector) SyncDir(name string) error {
	return i.do(Op{Kind: SyncDir, Name: name}, func() error { return i.under.SyncDir(name) })
}

// Stat describes a file.
func (i *Injector) Stat(name string) (info fs.FileInfo, err error) {
	err = i.do(Op{Kind: Stat, Name: name}, func() error {
		info, err = i.under.Stat(name)
		return err
	})
	return info, err
}

// Lock takes a lock file.
func (i *Injector) Lock(name string) (c io.Closer, err error) {
	err = i.do(Op{Kind: Lock, Name: name}, func() error {
		c, err = i.under.Lock(name)
		return err
	})
	return c, err
}

type injectedFile struct {
	i    *Injector
	name string
	File
}

func (f *injectedFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.i.do(Op{Kind: Read, Name: f.name, Offset: off, Size: len(p)}, func() error {
		n, err = f.File.ReadAt(p, off)
		return err
	})
	return n, err
}

func (f *injectedFile) WriteAt(p []byte, off int64) (int, error) {
	op := Op{Kind: Write, Name: f.name, Offset: off, Size: len(p)}
	hit := f.i.check(op)
	if hit == nil {
		return f.File.WriteAt(p, off)
	}
	n := 0
	if hit.Short {
		n, _ = f.File.WriteAt(p[:len(p)/2], off)
	}
	return n, &fs.PathError{Op: string(op.Kind), Path: f.name, Err: hit.Err}
}

func (f *injectedFile) Sync() error { return f.sync(Sync, f.File.Sync) }

func (f *injectedFile) Datasync() error { return f.sync(Datasync, f.File.Datasync) }

// sync loses what was dirty when it fails, as kernels do.
func (f *injectedFile) sync(k Kind, sync func() error) error {
	hit := f.i.check(Op{Kind: k, Name: f.name})
	if hit == nil {
		return sync()
	}
	if m, ok := f.File.(interface{ lose() }); ok {
		m.lose()
	}
	return &fs.PathError{Op: string(k), Path: f.name, Err: hit.Err}
}

func (f *injectedFile) Truncate(size int64) error {
	return f.i.do(Op{Kind: Truncate, Name: f.name, Offset: size}, func() error { return f.File.Truncate(size) })
}
