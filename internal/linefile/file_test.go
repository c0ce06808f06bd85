package linefile_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/linefile"
)

func open(t *testing.T, path string, o linefile.Options) *linefile.File {
	t.Helper()
	o.Perm = 0o600
	f, err := linefile.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func add(t *testing.T, f *linefile.File, text string) {
	t.Helper()
	if err := f.Append([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, path, want string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestOpenCutsAnIncompleteLine(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	cases := []struct{ name, before, after string }{
		{"new", "", ""},
		{"whole", "a\nb\n", "a\nb\n"},
		{"torn", "a\nb", "a\n"},
		{"only torn", "b", ""},
		{"torn line longer than a read", "a\n" + long, "a\n"},
		{"newline at the border of a read", "a\n" + long[:64<<10-1] + "\n" + long[:64<<10], "a\n" + long[:64<<10-1] + "\n"},
		{"nothing but a long torn line", long, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out")
			if err := os.WriteFile(path, []byte(c.before), 0o600); err != nil {
				t.Fatal(err)
			}
			f := open(t, path, linefile.Options{})
			if got := f.Cut(); got != int64(len(c.before)-len(c.after)) {
				t.Errorf("cut %d", got)
			}
			add(t, f, "next\n")
			content(t, path, c.after+"next\n")
			if f.Size() != int64(len(c.after)+5) {
				t.Errorf("size %d", f.Size())
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	_, err := linefile.Open(filepath.Join(dir, "none", "out"), linefile.Options{})
	if err == nil || !strings.Contains(err.Error(), "the folder "+filepath.Join(dir, "none")+" does not exist") {
		t.Errorf("missing folder: %v", err)
	}
	if _, err := linefile.Open(dir, linefile.Options{}); !errors.Is(err, linefile.ErrNotRegular) {
		t.Errorf("folder: %v", err)
	}
	path := filepath.Join(dir, "out")
	open(t, path, linefile.Options{Lock: true})
	if _, err := linefile.Open(path, linefile.Options{Lock: true}); !errors.Is(err, fault.ErrLocked) {
		t.Errorf("second writer: %v", err)
	}
}

// An append that fails half-way leaves nothing behind, whichever call failed.
func TestFailedAppendIsCutBack(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Write, fault.Datasync} {
		t.Run(string(kind), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out")
			disk := fault.Inject(fault.OS{})
			f := open(t, path, linefile.Options{FS: disk})
			add(t, f, "one\n")
			full := disk.Add(&fault.Fault{
				When: func(o fault.Op) bool { return o.Kind == kind }, Err: syscall.ENOSPC, Short: true,
			})
			for range 3 {
				if err := f.Append([]byte("two\nthree\n")); !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("append on a full disk: %v", err)
				}
				content(t, path, "one\n")
			}
			if full.Fired() != 3 {
				t.Errorf("the fault fired %d times", full.Fired())
			}
			disk.Heal()
			add(t, f, "two\n")
			content(t, path, "one\ntwo\n")
		})
	}
}

// When even cutting fails, the next append cuts first.
func TestCutIsRepeated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	disk := fault.Inject(fault.OS{})
	f := open(t, path, linefile.Options{FS: disk})
	add(t, f, "one\n")
	bad := disk.Add(&fault.Fault{
		When: func(o fault.Op) bool { return o.Kind == fault.Write || o.Kind == fault.Truncate }, Err: syscall.EIO, Short: true,
	})
	for range 2 {
		if err := f.Append([]byte("two\n")); !errors.Is(err, syscall.EIO) {
			t.Fatalf("append on a broken disk: %v", err)
		}
	}
	content(t, path, "one\ntw")
	if bad.Fired() != 3 { // write, cut; cut
		t.Errorf("the fault fired %d times", bad.Fired())
	}
	disk.Heal()
	add(t, f, "two\n")
	content(t, path, "one\ntwo\n")
}

func TestReopenFollowsARotation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	f := open(t, path, linefile.Options{Lock: true})
	add(t, f, "one\n")
	if err := f.Reopen(); err != nil { // nothing was moved
		t.Fatal(err)
	}
	add(t, f, "two\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	add(t, f, "three\n")
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	add(t, f, "four\n")
	content(t, path+".1", "one\ntwo\nthree\n")
	content(t, path, "four\n")
}

func TestReopenFailsAndTheOldFileStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	disk := fault.Inject(fault.OS{})
	f := open(t, path, linefile.Options{FS: disk})
	add(t, f, "one\n")
	disk.Add(&fault.Fault{When: func(o fault.Op) bool { return o.Kind == fault.Open }, Err: syscall.EMFILE})
	if err := f.Reopen(); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("reopen: %v", err)
	}
	add(t, f, "two\n")
	content(t, path, "one\ntwo\n")
}

// A log rotator that copies and truncates leaves no hole.
func TestTruncatedByOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	f := open(t, path, linefile.Options{})
	add(t, f, "one\n")
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	add(t, f, "two\n")
	content(t, path, "two\n")
}

// After a power failure every confirmed line is there, and whole lines only
// once the file is open again.
func TestCrashKeepsWhatWasConfirmed(t *testing.T) {
	for seed := range uint64(200) {
		disk := fault.NewMem()
		if err := disk.MkdirAll("/d", 0o700); err != nil {
			t.Fatal(err)
		}
		f, err := linefile.Open("/d/out", linefile.Options{FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		add(t, f, "one\n")
		add(t, f, "two\n")
		inject := fault.Inject(disk)
		g, err := linefile.Open("/d/out", linefile.Options{FS: inject})
		if err != nil {
			t.Fatal(err)
		}
		inject.Add(&fault.Fault{When: func(o fault.Op) bool { return o.Kind != fault.Write }, Err: syscall.EIO})
		if err := g.Append([]byte("three\nfour\n")); err == nil { // written, never synced
			t.Fatal("append was confirmed")
		}
		after := disk.Crash(seed)
		h, err := linefile.Open("/d/out", linefile.Options{FS: after})
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, h.Size())
		file, err := after.OpenFile("/d/out", os.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		if s := string(got); !strings.HasPrefix(s, "one\ntwo\n") || !strings.HasSuffix(s, "\n") {
			t.Fatalf("seed %d: %q", seed, s)
		}
	}
}

// A line that a killed process wrote and never synced is durable once the file
// was opened: whoever finds it may count on it.
func TestOpenMakesLinesDurable(t *testing.T) {
	m := fault.NewMem()
	if err := m.MkdirAll("/d", 0o700); err != nil {
		t.Fatal(err)
	}
	f := open(t, "/d/out", linefile.Options{FS: m})
	add(t, f, "a\n")
	raw, err := m.OpenFile("/d/out", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.WriteAt([]byte("b\n"), 2); err != nil {
		t.Fatal(err)
	}
	killed := m.Clone()
	open(t, "/d/out", linefile.Options{FS: killed})
	for seed := range uint64(20) {
		if got := open(t, "/d/out", linefile.Options{FS: killed.Crash(seed)}).Size(); got != 4 {
			t.Fatalf("seed %d: %d bytes are left, want 4", seed, got)
		}
	}
}
