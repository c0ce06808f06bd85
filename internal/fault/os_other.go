//go:build !linux

package fault

import "os"

// datasync is Sync where there is no fdatasync; on macOS that is F_FULLFSYNC.
func datasync(f *os.File) error { return f.Sync() }
