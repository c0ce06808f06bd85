package fault

import (
	"os"
	"syscall"
)

// datasync leaves out the metadata that reading the content does not need: on
// a file written inside its size that saves the file system's own journal.
func datasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return wrapSync(f.Name(), err)
		}
	}
}

func wrapSync(name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: "fdatasync", Path: name, Err: err}
}
