package journal_test

import (
	"syscall"
	"testing"
)

// mountSmall mounts a file system of 8 MiB in memory for the time of the test.
func mountSmall(t *testing.T, dir string) error {
	t.Helper()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=8m"); err != nil {
		return err
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return nil
}
