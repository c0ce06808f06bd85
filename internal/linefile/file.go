// Package linefile is a file of lines to which whole lines are added durably:
// the dead letters, the output of a file sink.
//
// Every line ends with a newline, so that a line without one is the torn end of
// an append that never finished. Open cuts it; an append that fails cuts what
// it wrote before the next one begins. What Append confirmed survives a power
// failure.
package linefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/penstock/penstock/internal/fault"
)

// ErrNotRegular says that the path is a device, a pipe or a folder, which
// cannot be cut or synced.
var ErrNotRegular = errors.New("not a regular file")

// Options is what Open needs beside the path.
type Options struct {
	FS   fault.FS // nil: the operating system's
	Perm fs.FileMode
	// Lock takes `<path>.lock`, so that two writers cannot cut one another's lines.
	Lock bool
}

// A File is owned by one goroutine at a time.
type File struct {
	path string
	o    Options
	file fault.File
	lock io.Closer // nil without Options.Lock
	torn bool      // an append failed: cut to good before anything else
	good int64     // the size up to which all is confirmed
	cut  int64     // bytes of a torn line that Open or Reopen cut
}

// Open opens or creates the file and cuts an incomplete last line. Its folder
// must exist.
func Open(path string, o Options) (*File, error) {
	if o.FS == nil {
		o.FS = fault.OS{}
	}
	f := &File{path: path, o: o}
	if err := f.takeLock(); err != nil {
		return nil, err
	}
	if err := f.open(); err != nil {
		return nil, errors.Join(err, f.dropLock())
	}
	return f, nil
}

func (f *File) takeLock() error {
	if !f.o.Lock {
		return nil
	}
	lock, err := f.o.FS.Lock(f.path + ".lock")
	if errors.Is(err, fault.ErrLocked) {
		return fmt.Errorf("open %s: another sink or process writes to it: %w", f.path, err)
	}
	if err != nil {
		return f.explain(err)
	}
	f.lock = lock
	return nil
}

func (f *File) dropLock() error {
	if f.lock == nil {
		return nil
	}
	return f.lock.Close()
}

// explain says what an error of opening means: a file that would be created is
// missing only when its folder is.
func (f *File) explain(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open %s: the folder %s does not exist: %w", f.path, filepath.Dir(f.path), err)
	}
	return fmt.Errorf("open %s: %w", f.path, err)
}

// open opens the path and takes over f when all went well.
func (f *File) open() error {
	if info, err := f.o.FS.Stat(f.path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("open %s: %w", f.path, ErrNotRegular)
	}
	file, err := f.o.FS.OpenFile(f.path, os.O_RDWR|os.O_CREATE, f.o.Perm)
	if err != nil {
		return f.explain(err)
	}
	size, cut, err := repair(file)
	if err == nil {
		// The name of a new file must survive a power failure like its content.
		err = f.o.FS.SyncDir(filepath.Dir(f.path))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("open %s: %w", f.path, err), file.Close())
	}
	f.file, f.good, f.cut, f.torn = file, size, cut, false
	return nil
}

// repair cuts a last line without a newline and returns the size then and how
// much was cut.
func repair(file fault.File) (size, cut int64, err error) {
	info, err := file.Stat()
	if err != nil {
		return 0, 0, err
	}
	size, err = endOfLines(file, info.Size())
	if err != nil {
		return 0, 0, err
	}
	if size < info.Size() {
		if err := file.Truncate(size); err != nil {
			return 0, 0, fmt.Errorf("cut incomplete last line: %w", err)
		}
	}
	// Lines of a process that was killed may be there without being durable.
	return size, info.Size() - size, file.Sync()
}

// endOfLines returns the offset behind the last newline below size.
func endOfLines(r io.ReaderAt, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for size > 0 {
		from := max(0, size-int64(len(buf)))
		part := buf[:size-from]
		if _, err := r.ReadAt(part, from); err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("read last line: %w", err)
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			return from + int64(i) + 1, nil
		}
		size = from
	}
	return 0, nil
}

// Append adds p, whole lines, and syncs them. After an error none of p is in
// the file, or will be when the next Append begins.
func (f *File) Append(p []byte) error {
	if err := f.settle(); err != nil {
		return err
	}
	// Until the sync confirmed them, these bytes are a torn end. A failed sync
	// is not repeated: the kernel may have dropped the pages it could not
	// write, so they are cut and written anew.
	f.torn = true
	if _, err := f.file.WriteAt(p, f.good); err != nil {
		return errors.Join(fmt.Errorf("append to line file: %w", err), f.settle())
	}
	if err := f.file.Datasync(); err != nil {
		return errors.Join(fmt.Errorf("sync line file: %w", err), f.settle())
	}
	f.torn = false
	f.good += int64(len(p))
	return nil
}

// settle brings the file to whole lines: it cuts what a failed append left, or
// takes the size that somebody else made (a log rotator that truncates).
func (f *File) settle() error {
	if f.torn {
		if err := f.file.Truncate(f.good); err != nil {
			return fmt.Errorf("cut failed append: %w", err)
		}
		f.torn = false
	}
	info, err := f.file.Stat()
	if err != nil {
		return fmt.Errorf("stat line file: %w", err)
	}
	f.good = info.Size()
	return nil
}

// Reopen opens the path again, which a log rotator may have moved away, and
// closes the file written so far. After an error that one stays in use.
func (f *File) Reopen() error {
	if f.torn {
		if err := f.settle(); err != nil {
			return err
		}
	}
	old := f.file
	if err := f.open(); err != nil {
		return err
	}
	if err := old.Close(); err != nil {
		return fmt.Errorf("close line file: %w", err)
	}
	return nil
}

// Size returns how many bytes are confirmed.
func (f *File) Size() int64 { return f.good }

// Cut returns how many bytes of an incomplete line the last Open or Reopen cut.
func (f *File) Cut() int64 { return f.cut }

// Path returns the path.
func (f *File) Path() string { return f.path }

// Close closes the file, cutting what a failed append left.
func (f *File) Close() error {
	var errs []error
	if f.torn {
		errs = append(errs, f.settle())
	}
	return errors.Join(append(errs, f.file.Close(), f.dropLock())...)
}
