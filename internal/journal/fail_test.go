package journal_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
)

var errIO = syscall.EIO

// onSegment tells operations of a kind on segments.
func onSegment(k fault.Kind) func(fault.Op) bool {
	return func(op fault.Op) bool { return op.Kind == k && strings.HasSuffix(op.Name, ".seg") }
}

// TestFailedSyncMovesOn fails one write or sync: the entries go into a new
// segment at the same offsets, nothing is tried again on the old one, and a
// crash right after the acknowledgement loses nothing (C4).
func TestFailedSyncMovesOn(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Datasync, fault.Write} {
		t.Run(string(kind), func(t *testing.T) {
			mem := fault.NewMem()
			in := fault.Inject(mem)
			j := open(t, in)
			want := map[uint64]string{}
			put := func(s string) {
				o := text(t, j, s)
				want[o] = s
				stored(t, j, o)
			}
			put("before")
			broken := files(t, mem, ".seg")[0]
			hit := in.Add(&fault.Fault{Err: errIO, Times: 1, Short: true, When: onSegment(kind)})
			half := kind == fault.Write // the write that fails writes half
			mem.Watch(func(op fault.Op) {
				if hit.Fired() == 0 || op.Name != broken {
					return
				}
				switch op.Kind {
				case fault.Write, fault.Sync, fault.Datasync, fault.Truncate, fault.Rename:
					if half {
						half = false
						return
					}
					t.Errorf("the failed segment was used again: %v", op)
				default:
				}
			})
			put("during")
			if hit.Fired() != 1 {
				t.Fatal("the fault did not happen")
			}
			put("after")
			mem.Watch(nil)
			for seed := range uint64(20) {
				back := open(t, mem.Crash(seed))
				if d := cmp.Diff(want, read(t, back, 1)); d != "" {
					t.Fatalf("seed %d: %s", seed, d)
				}
				if n := back.Stats().Damaged; n != 0 {
					t.Fatalf("seed %d: %d damaged", seed, n)
				}
				_ = back.Close()
			}
			if d := cmp.Diff(want, read(t, j, 1)); d != "" {
				t.Fatal(d)
			}
			if s := j.Stats(); !errors.Is(s.LastError, errIO) || s.Failing {
				t.Fatalf("%+v", s)
			}
		})
	}
}

// TestDiskGone has every sync fail for a while: appends are refused, the
// watermark stands still, and once the disk is back all that was accepted is
// stored and appends go on by themselves.
func TestDiskGone(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		synctest.Test(t, func(t *testing.T) {
			in := fault.Inject(fault.NewMem())
			j, err := journal.Open(journal.Options{Dir: dir, FS: in, MaxBytes: 1 << 20, SegmentBytes: 16 << 10})
			if err != nil {
				t.Fatal(err)
			}
			first := text(t, j, "stored")
			synctest.Wait()
			hit := in.Add(&fault.Fault{Err: errno, When: func(op fault.Op) bool {
				return op.Kind == fault.Datasync || op.Kind == fault.Write
			}})
			last := text(t, j, "accepted")
			synctest.Wait()
			if s := j.Stats(); !s.Failing || !s.Full || s.Stored != first || !errors.Is(s.LastError, errno) {
				t.Fatalf("%+v", s)
			}
			if _, err := j.Append([]journal.Entry{{Message: textMessage("refused")}}); !errors.Is(err, journal.ErrFull) {
				t.Fatalf("append: %v", err)
			}
			room := j.Room()
			<-time.After(10 * time.Second) // of the bubble's clock
			if hit.Fired() < 10 {
				t.Fatalf("%d attempts in 10 s", hit.Fired())
			}
			in.Heal()
			<-room
			if got := j.Stored(); got != last {
				t.Fatalf("stored %d, want %d", got, last)
			}
			text(t, j, "again")
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestDiskGoneAtClose: Close ends although nothing can be written, and says so.
func TestDiskGoneAtClose(t *testing.T) {
	in := fault.Inject(fault.NewMem())
	j := open(t, in)
	in.Add(&fault.Fault{Err: errIO, When: func(op fault.Op) bool { return op.Kind == fault.Datasync }})
	text(t, j, "x")
	if err := j.Close(); !errors.Is(err, errIO) {
		t.Fatalf("close: %v", err)
	}
}

// TestOpenErrors: what the file system refuses is what Open says.
func TestOpenErrors(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Mkdir, fault.Lock, fault.ReadDir, fault.Open, fault.Write, fault.Datasync, fault.SyncDir} {
		t.Run(string(kind), func(t *testing.T) {
			mem := fault.NewMem()
			in := fault.Inject(mem)
			hit := in.Add(&fault.Fault{Err: syscall.EACCES, When: func(op fault.Op) bool { return op.Kind == kind }})
			_, err := journal.Open(journal.Options{Dir: dir, FS: in})
			if !errors.Is(err, syscall.EACCES) || hit.Fired() == 0 {
				t.Fatalf("open: %v, fired %d", err, hit.Fired())
			}
			in.Heal()
			open(t, in) // and nothing it left is in the way
		})
	}
}

func TestLocked(t *testing.T) {
	for name, o := range map[string]journal.Options{
		"memory": {Dir: dir, FS: fault.NewMem()},
		"system": {Dir: filepath.Join(t.TempDir(), "new", "folder")},
	} {
		t.Run(name, func(t *testing.T) {
			j := openWith(t, o)
			if _, err := journal.Open(o); !errors.Is(err, journal.ErrLocked) {
				t.Fatalf("second open: %v", err)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			openWith(t, o)
		})
	}
}

// TestNewerVersion: a journal of a later version is left alone.
func TestNewerVersion(t *testing.T) {
	fs, _ := written(t)
	segments := files(t, fs, ".seg")
	setVersion(t, fs, segments[len(segments)-1], 3)
	if _, err := journal.Open(journal.Options{Dir: dir, FS: fs}); !errors.Is(err, journal.ErrVersion) {
		t.Fatalf("open: %v", err)
	}
	if got := files(t, fs, ".seg"); len(got) != len(segments) {
		t.Fatal(fmt.Sprint(got))
	}
}

func setVersion(t *testing.T, fs fault.FS, name string, version byte) {
	t.Helper()
	edit(t, fs, name, func(f fault.File, _ int64) error {
		b := make([]byte, 64)
		if _, err := f.ReadAt(b, 0); err != nil {
			return err
		}
		journal.SetVersion(b, journal.SegmentID(filepath.Base(name)), version)
		_, err := f.WriteAt(b, 0)
		return err
	})
}
