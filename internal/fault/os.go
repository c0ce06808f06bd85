package fault

import (
	"io"
	"io/fs"
	"os"
)

// OS is the operating system's file system.
type OS struct{}

// OpenFile opens a file.
func (OS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Rename renames a file.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove removes a file.
func (OS) Remove(name string) error { return os.Remove(name) }

// ReadDir lists a folder.
func (OS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// MkdirAll makes a folder and those above it.
func (OS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }

// Stat describes a file.
func (OS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// SyncDir syncs a folder.
func (OS) SyncDir(name string) error { return syncDir(name) }

// Lock takes a lock file.
func (OS) Lock(name string) (io.Closer, error) { return lock(name) }

type osFile struct{ *os.File }

func (f osFile) Datasync() error { return datasync(f.File) }
