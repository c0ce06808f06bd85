// Package fault is the file system as the durable parts of Penstock see it,
// and the ways it fails them.
//
// OS is the real one. Mem lives in memory and can crash: Crash returns the
// file system a machine would find after the power failed at that moment, in
// which only what was synced is certain. Inject wraps any of them and makes
// chosen operations fail, and says whether they did.
package fault

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// ErrLocked says that another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// FS is what the journal, the dead letters and the file sink need of a file
// system. Names are paths as package path/filepath makes them.
type FS interface {
	// OpenFile opens a file with the flags of package os.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Rename gives a file another name in one step, replacing what had it.
	Rename(from, to string) error
	Remove(name string) error
	// ReadDir lists a folder sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	MkdirAll(name string, perm fs.FileMode) error
	// SyncDir makes the names in a folder durable: those of new and renamed
	// files, and the absence of removed ones.
	SyncDir(name string) error
	Stat(name string) (fs.FileInfo, error)
	// Lock takes the lock file of that name until it is closed or the process
	// ends. The error wraps ErrLocked when another process has it.
	Lock(name string) (io.Closer, error)
}

// File is an open file. ReadAt and WriteAt may be called concurrently.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes content and metadata durable, Datasync the content and the
	// size. After an error the content is in an unknown state: what was not
	// durable before may be lost although a later call succeeds.
	Sync() error
	Datasync() error
	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
}

// Kind names an operation.
type Kind string

// The operations.
const (
	Open     Kind = "open"
	Read     Kind = "read"
	Write    Kind = "write"
	Sync     Kind = "sync"
	Datasync Kind = "datasync"
	Truncate Kind = "truncate"
	Close    Kind = "close"
	Rename   Kind = "rename"
	Remove   Kind = "remove"
	ReadDir  Kind = "readdir"
	Mkdir    Kind = "mkdir"
	SyncDir  Kind = "syncdir"
	Stat     Kind = "stat"
	Lock     Kind = "lock"
)

// An Op is one call on a file system or a file of it.
type Op struct {
	Kind   Kind
	Name   string // the file or folder
	To     string // Rename: the new name
	Offset int64  // Read, Write: where; Truncate: the new size
	Size   int    // Read, Write: bytes asked for
}

// String returns the operation as the tests' scripts print it.
func (o Op) String() string {
	switch o.Kind {
	case Read, Write:
		return fmt.Sprintf("%s %s %d+%d", o.Kind, o.Name, o.Offset, o.Size)
	case Truncate:
		return fmt.Sprintf("%s %s %d", o.Kind, o.Name, o.Offset)
	case Rename:
		return fmt.Sprintf("%s %s %s", o.Kind, o.Name, o.To)
	default:
		return fmt.Sprintf("%s %s", o.Kind, o.Name)
	}
}
