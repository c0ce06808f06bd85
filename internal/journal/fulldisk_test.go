package journal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
)

// fullDisk appends while the disk fills up, until entries are refused, has
// room made, and appends again: nothing that was acknowledged is lost, the
// journal goes on by itself, and it opens on the full disk too.
func fullDisk(t *testing.T, o journal.Options, fill, free func()) {
	j := openWith(t, o)
	settle(t, j, laneOf(t, j, "k"), journal.Cursor{Low: 1, Rules: []uint32{7}})
	want := map[uint64]string{}
	accepted := map[uint64]string{}
	put := func(i int) error {
		s := fmt.Sprintf("%d %s", i, strings.Repeat("f", 2000))
		offset, err := j.Append([]journal.Entry{{Message: textMessage(s), Rules: []uint32{7}}})
		if err != nil {
			return err
		}
		accepted[offset] = s
		if i%10 != 0 {
			return nil
		}
		r := j.NewReader(offset)
		defer r.Close()
		for j.Published() < offset && !j.Stats().Failing {
			select {
			case <-r.Ready():
			case <-j.Room():
			}
		}
		return nil
	}
	acknowledge := func() {
		for offset, s := range accepted {
			if offset <= j.Published() {
				want[offset] = s
			}
		}
	}
	var refused error
	for i := 0; refused == nil && i < 20_000; i++ {
		if i == 500 {
			fill()
		}
		refused = put(i)
		acknowledge()
	}
	if !errors.Is(refused, journal.ErrFull) {
		t.Fatalf("append: %v", refused)
	}
	if s := j.Stats(); !s.Full || s.FullSince.IsZero() || !errors.Is(s.LastError, syscall.ENOSPC) {
		t.Fatalf("%+v", s)
	}
	room := j.Room()
	free()
	<-room
	for i := range 100 {
		if err := put(i); err != nil {
			t.Fatalf("append after there was room: %v", err)
		}
	}
	stored(t, j, j.Next()-1)
	acknowledge()
	if d := cmp.Diff(want, read(t, j, 1)); d != "" || len(want) < 600 {
		t.Fatalf("%d acknowledged: %.2000s", len(want), d)
	}
	if s := j.Stats(); s.Full || s.Failing || s.Damaged > 0 {
		t.Errorf("%+v", s)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = openWith(t, o)
	if d := cmp.Diff(want, read(t, j, 1)); d != "" {
		t.Fatalf("after a restart: %.2000s", d)
	}
}

// TestFullDiskInjected: every write finds the disk full from some moment on.
func TestFullDiskInjected(t *testing.T) {
	in := fault.Inject(fault.OS{})
	o := journal.Options{Dir: filepath.Join(t.TempDir(), "j"), FS: in, MaxBytes: 64 << 20, SegmentBytes: 256 << 10}
	var hit *fault.Fault
	fullDisk(t, o, func() {
		hit = in.Add(&fault.Fault{Err: syscall.ENOSPC, Short: true, When: func(op fault.Op) bool { return op.Kind == fault.Write }})
	}, in.Heal)
	if hit.Fired() == 0 {
		t.Error("the fault did not happen")
	}
}

// TestFullDiskReal fills a file system of 8 MiB, where this test may make one.
func TestFullDiskReal(t *testing.T) {
	dir := t.TempDir()
	if err := mountSmall(t, dir); err != nil {
		t.Skipf("no small file system here, TestFullDiskInjected stands for it: %v", err)
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	o := journal.Options{Dir: filepath.Join(dir, "j"), MaxBytes: 64 << 20, SegmentBytes: 256 << 10}
	fullDisk(t, o, func() {}, func() {
		if err := os.Remove(ballast); err != nil {
			t.Error(err)
		}
	})
}
