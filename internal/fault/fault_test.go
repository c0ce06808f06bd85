package fault_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
)

// systems is every file system, each with a folder of its own.
func systems(t *testing.T) map[string]func() (fault.FS, string) {
	t.Helper()
	return map[string]func() (fault.FS, string){
		"os":       func() (fault.FS, string) { return fault.OS{}, filepath.Join(t.TempDir(), "d") },
		"memory":   func() (fault.FS, string) { return fault.NewMem(), "/d" },
		"injected": func() (fault.FS, string) { return fault.Inject(fault.NewMem()), "/d" },
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, fsys fault.FS, name, content string) fault.File {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	_, err = f.WriteAt([]byte(content), 0)
	must(t, err)
	return f
}

// content is what a file holds; "-" when there is none.
func content(t testing.TB, fsys fault.FS, name string) string {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "-"
	}
	must(t, err)
	defer f.Close()
	info, err := f.Stat()
	must(t, err)
	b := make([]byte, info.Size())
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return string(b)
}

// TestAlike: all file systems answer alike while nothing fails.
func TestAlike(t *testing.T) {
	for name, fresh := range systems(t) {
		t.Run(name, func(t *testing.T) {
			fsys, dir := fresh()
			a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
			if _, err := fsys.Stat(a); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("stat without a folder: %v", err)
			}
			must(t, fsys.MkdirAll(dir, 0o700))
			must(t, fsys.MkdirAll(dir, 0o700))
			if _, err := fsys.OpenFile(a, os.O_RDWR, 0); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("open what is not there: %v", err)
			}
			f := create(t, fsys, a, "hello world")
			_, err := f.WriteAt([]byte("W"), 6)
			must(t, err)
			_, err = f.WriteAt([]byte("!"), 13)
			must(t, err)
			must(t, f.Datasync())
			must(t, f.Sync())
			if d := cmp.Diff("hello World\x00\x00!", content(t, fsys, a)); d != "" {
				t.Error(d)
			}
			must(t, f.Truncate(5))
			if _, err := fsys.OpenFile(a, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); !errors.Is(err, fs.ErrExist) {
				t.Errorf("create what is there: %v", err)
			}
			must(t, create(t, fsys, b, "other").Close())
			must(t, fsys.Rename(a, b))
			if n, err := f.ReadAt(bytes.Repeat([]byte{0}, 9), 0); n != 5 || !errors.Is(err, io.EOF) {
				t.Errorf("read through a rename: %d %v", n, err)
			}
			must(t, f.Close())
			if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("close twice: %v", err)
			}
			must(t, fsys.SyncDir(dir))
			list, err := fsys.ReadDir(dir)
			must(t, err)
			if len(list) != 1 || list[0].Name() != "b" || content(t, fsys, b) != "hello" {
				t.Errorf("%v, b is %q", list, content(t, fsys, b))
			}
			g, err := fsys.OpenFile(b, os.O_RDWR|os.O_TRUNC, 0)
			must(t, err)
			must(t, g.Close())
			must(t, fsys.Remove(b))
			if err := fsys.Remove(b); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("remove twice: %v", err)
			}
			if err := fsys.Rename(b, a); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("rename what is not there: %v", err)
			}
		})
	}
}

func TestLock(t *testing.T) {
	for name, fresh := range systems(t) {
		t.Run(name, func(t *testing.T) {
			fsys, dir := fresh()
			must(t, fsys.MkdirAll(dir, 0o700))
			lock := filepath.Join(dir, "lock")
			held, err := fsys.Lock(lock)
			must(t, err)
			if _, err := fsys.Lock(lock); !errors.Is(err, fault.ErrLocked) {
				t.Errorf("second lock: %v", err)
			}
			must(t, held.Close())
			held, err = fsys.Lock(lock)
			must(t, err)
			must(t, held.Close())
		})
	}
}

// TestCrashKeepsWhatWasSynced, whatever the seed, and shows each way in which
// what was not synced may come out.
func TestCrashKeepsWhatWasSynced(t *testing.T) {
	m := fault.NewMem()
	must(t, m.MkdirAll("/d", 0o700))
	old := bytes.Repeat([]byte("o"), 4*fault.SectorBytes)
	f := create(t, m, "/d/kept", string(old))
	must(t, f.Sync())
	must(t, m.SyncDir("/d"))
	for _, c := range "123" {
		_, err := f.WriteAt(bytes.Repeat([]byte{byte(c)}, 2*fault.SectorBytes), 2*fault.SectorBytes)
		must(t, err)
	}
	must(t, create(t, m, "/d/new", "x").Sync())
	must(t, m.Rename("/d/new", "/d/renamed"))
	seen := map[string]bool{}
	for seed := range uint64(300) {
		c := m.Crash(seed)
		got := content(t, c, "/d/kept")
		if len(got) != len(old) || got[:2*fault.SectorBytes] != string(old[:2*fault.SectorBytes]) {
			t.Fatalf("seed %d: synced bytes are lost", seed)
		}
		a, b := got[2*fault.SectorBytes:3*fault.SectorBytes], got[3*fault.SectorBytes:]
		if a != string(bytes.Repeat([]byte(a[:1]), fault.SectorBytes)) {
			t.Fatalf("seed %d: a sector is torn", seed)
		}
		seen["sectors "+a[:1]+b[:1]] = true
		seen["names "+content(t, c, "/d/new")+content(t, c, "/d/renamed")] = true
		if d := cmp.Diff(got, content(t, m.Crash(seed), "/d/kept")); d != "" {
			t.Fatalf("seed %d comes out in two ways: %s", seed, d)
		}
	}
	for _, want := range []string{
		"sectors oo", "sectors 33", "sectors o3", "sectors 3o", "sectors 12", "sectors 21",
		"names --", "names x-", "names -x",
	} {
		if !seen[want] {
			t.Errorf("never seen: %s", want)
		}
	}
	if seen["names xx"] {
		t.Error("a rename left both names")
	}
}

// TestFailedSyncLoses: what a failed sync lost, a later one does not bring
// back, although programs still read it.
func TestFailedSyncLoses(t *testing.T) {
	m := fault.NewMem()
	in := fault.Inject(m)
	must(t, in.MkdirAll("/d", 0o700))
	f := create(t, in, "/d/f", "old")
	must(t, f.Sync())
	must(t, in.SyncDir("/d"))
	hit := in.Add(&fault.Fault{Err: syscall.EIO, Times: 1, When: func(op fault.Op) bool { return op.Kind == fault.Datasync }})
	_, err := f.WriteAt([]byte("new"), 0)
	must(t, err)
	if err := f.Datasync(); !errors.Is(err, syscall.EIO) || hit.Fired() != 1 {
		t.Fatalf("%v, fired %d", err, hit.Fired())
	}
	must(t, f.Datasync())
	if content(t, in, "/d/f") != "new" || content(t, m.Crash(1), "/d/f") != "old" {
		t.Fatalf("%q, after a crash %q", content(t, in, "/d/f"), content(t, m.Crash(1), "/d/f"))
	}
}

// TestInject: each operation fails when asked to, as often as asked to, and
// does nothing then.
func TestInject(t *testing.T) {
	calls := map[fault.Kind]func(fault.FS, fault.File) error{
		fault.Open: func(fsys fault.FS, _ fault.File) error {
			_, err := fsys.OpenFile("/d/f", os.O_RDWR, 0)
			return err
		},
		fault.Read:     func(_ fault.FS, f fault.File) error { _, err := f.ReadAt(make([]byte, 2), 0); return err },
		fault.Write:    func(_ fault.FS, f fault.File) error { _, err := f.WriteAt([]byte("1234"), 0); return err },
		fault.Sync:     func(_ fault.FS, f fault.File) error { return f.Sync() },
		fault.Datasync: func(_ fault.FS, f fault.File) error { return f.Datasync() },
		fault.Truncate: func(_ fault.FS, f fault.File) error { return f.Truncate(2) },
		fault.Rename:   func(fsys fault.FS, _ fault.File) error { return fsys.Rename("/d/f", "/d/f") },
		fault.Remove:   func(fsys fault.FS, _ fault.File) error { return fsys.Remove("/d/f") },
		fault.ReadDir:  func(fsys fault.FS, _ fault.File) error { _, err := fsys.ReadDir("/d"); return err },
		fault.Mkdir:    func(fsys fault.FS, _ fault.File) error { return fsys.MkdirAll("/d", 0) },
		fault.SyncDir:  func(fsys fault.FS, _ fault.File) error { return fsys.SyncDir("/d") },
		fault.Stat:     func(fsys fault.FS, _ fault.File) error { _, err := fsys.Stat("/d/f"); return err },
		fault.Lock:     func(fsys fault.FS, _ fault.File) error { _, err := fsys.Lock("/d/l"); return err },
	}
	for kind, call := range calls {
		t.Run(string(kind), func(t *testing.T) {
			in := fault.Inject(fault.NewMem())
			must(t, in.MkdirAll("/d", 0o700))
			f := create(t, in, "/d/f", "abcd")
			hit := in.Add(&fault.Fault{Err: syscall.ENOSPC, Times: 2, Short: true, When: func(op fault.Op) bool { return op.Kind == kind }})
			for range 2 {
				if err := call(in, f); !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("err = %v", err)
				}
			}
			want := "abcd"
			if kind == fault.Write {
				want = "12cd"
			}
			in.Heal()
			if got := content(t, in, "/d/f"); got != want || hit.Fired() != 2 {
				t.Fatalf("%q, fired %d", got, hit.Fired())
			}
			in.Add(hit) // spent
			if err := call(in, f); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestOps(t *testing.T) {
	m := fault.NewMem()
	must(t, m.MkdirAll("/d", 0o700))
	var got []string
	m.Watch(func(op fault.Op) { got = append(got, op.String()) })
	f := create(t, m, "/d/f", "abc")
	must(t, f.Truncate(1))
	must(t, f.Datasync())
	must(t, m.Rename("/d/f", "/d/g"))
	want := []string{"open /d/f", "write /d/f 0+3", "truncate /d/f 1", "datasync /d/f", "rename /d/f /d/g"}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
}

// TestClone: what was written is there, and not more of it durable.
func TestClone(t *testing.T) {
	m := fault.NewMem()
	must(t, m.MkdirAll("/d", 0o700))
	f := create(t, m, "/d/f", "old")
	must(t, f.Sync())
	must(t, m.SyncDir("/d"))
	_, err := f.WriteAt([]byte("new"), 0)
	must(t, err)
	must(t, create(t, m, "/d/g", "x").Sync())
	must(t, m.Rename("/d/g", "/d/h"))
	c := m.Clone()
	_, err = f.WriteAt([]byte("own"), 0)
	must(t, err)
	must(t, m.Remove("/d/h"))
	if content(t, c, "/d/f") != "new" || content(t, c, "/d/h") != "x" || content(t, c, "/d/g") != "-" {
		t.Errorf("%q %q %q", content(t, c, "/d/f"), content(t, c, "/d/h"), content(t, c, "/d/g"))
	}
	seen := map[string]bool{}
	for seed := range uint64(50) {
		after := c.Crash(seed)
		seen[content(t, after, "/d/f")+content(t, after, "/d/g")+content(t, after, "/d/h")] = true
	}
	for _, want := range []string{"old--", "new--", "oldx-", "old-x"} {
		if !seen[want] {
			t.Errorf("never seen: %s of %v", want, seen)
		}
	}
}
