package journal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// TestArchiveDamage flips bits of a closed journal: Verify tells file, place
// and offsets of what cannot be read, the reader shows all the rest, and the
// journal itself, opened afterwards, finds the same.
func TestArchiveDamage(t *testing.T) {
	whole, want := written(t)
	for i, name := range files(t, whole, ".seg") {
		for at := int64(20); at < sizeOf(t, whole, name); at += 997 {
			hurt := whole.Crash(0)
			flip(t, hurt, name, at, i%8)
			a := openArchive(t, hurt)
			bad, err := a.Verify()
			if err != nil {
				t.Fatal(err)
			}
			got := archived(t, a, 1)
			for o, s := range want {
				back, ok := got[o]
				if ok && back != s {
					t.Fatalf("offset %d is %q", o, back)
				}
				if !ok && !tellsOf(bad, filepath.Base(name), at, o) {
					t.Fatalf("flip at %d of %s: %d is missing and %+v", at, name, o, bad)
				}
			}
			if len(bad) == 0 && len(got) != len(want) {
				t.Fatalf("flip at %d of %s: read %d of %d, %+v", at, name, len(got), len(want), bad)
			}
		}
	}
}

// tellsOf reports whether damage of that file and place names the offset.
func tellsOf(bad []journal.Damage, file string, at int64, offset uint64) bool {
	for _, d := range bad {
		if d.File == file && d.From <= at && at < d.To && d.First <= offset && offset <= d.Last {
			return d.Reason != ""
		}
	}
	return false
}

// TestArchiveTornTail: what a crash tore is not damage, and the archive shows
// nothing of it.
func TestArchiveTornTail(t *testing.T) {
	mem := fault.NewMem()
	j := open(t, mem)
	var size int64
	for i := range 9 {
		before := j.Stats().Used
		stored(t, j, text(t, j, fmt.Sprint(i)))
		size = j.Stats().Used - before
	}
	name := files(t, mem, ".seg")[0]
	image := mem.Crash(0)
	end := endOf(t, image, name)
	for cut := end - 90; cut < end; cut += 7 {
		hurt := image.Crash(0)
		edit(t, hurt, name, func(f fault.File, size int64) error {
			_, err := f.WriteAt([]byte(strings.Repeat("\xff", int(end-cut))), cut)
			return err
		})
		a := openArchive(t, hurt)
		if bad, err := a.Verify(); err != nil || len(bad) > 0 {
			t.Fatal(bad, err)
		}
		want := 8 // of the ninth nobody said that it was synced
		if cut < end-size+64 {
			want = 7 // the header that said so of the eighth is torn
		}
		if got := archived(t, a, 1); len(got) != want {
			t.Fatal(cut, got)
		}
	}
}

// TestArchiveAfterFailedSync: what was moved to another segment is shown once.
func TestArchiveAfterFailedSync(t *testing.T) {
	mem := fault.NewMem()
	in := fault.Inject(mem)
	j := openWith(t, journal.Options{Dir: dir, FS: in, MaxBytes: 4 << 20, SegmentBytes: 64 << 10, Sync: journal.SyncOff})
	hit := in.Add(&fault.Fault{Err: errIO, Times: 1, When: onSegment(fault.Datasync)})
	want := map[uint64]string{}
	for i := range 100 {
		s := fmt.Sprintf("%2000d", i)
		o := text(t, j, s)
		want[o] = s
		stored(t, j, o)
	}
	if hit.Fired() != 1 {
		t.Fatal("the fault did not happen")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	a := openArchive(t, mem)
	if d := cmp.Diff(want, archived(t, a, 1)); d != "" {
		t.Error(d)
	}
	infos, err := a.Segments()
	if err != nil || infos[0].State != journal.SegmentVoid {
		t.Errorf("%+v %v", infos, err)
	}
	if bad, err := a.Verify(); err != nil || len(bad) > 0 {
		t.Error(bad, err)
	}
}

// FuzzArchive opens a folder with any bytes as a segment, and with a good one
// beside it: no panic, nothing above what is certain, and nothing is written.
func FuzzArchive(f *testing.F) {
	b, id := image(f, "")
	f.Add(b, true)
	f.Add(b[:len(b)/2], true)
	f.Add(b, false)
	b, _ = image(f, journal.CompressionZstd)
	f.Add(b, true)
	f.Fuzz(func(t *testing.T, b []byte, restamp bool) {
		if restamp {
			b = append([]byte(nil), b...)
			journal.Restamp(b, id)
		}
		mem := fault.NewMem()
		if err := mem.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			name := filepath.Join(dir, fmt.Sprintf("%020d-%010d-%016x.seg", 1+i*5, i, id))
			file, err := mem.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := file.WriteAt(b, 0); err != nil {
				t.Fatal(err)
			}
		}
		a, err := journal.OpenArchive(dir, mem)
		if err != nil {
			return
		}
		lookAll(t, a)
	})
}

func lookAll(t *testing.T, a *journal.Archive) {
	t.Helper()
	if _, err := a.Verify(); err != nil {
		t.Fatal(err)
	}
	a.Cursors()
	a.Names("lane")
	if o := a.Seek(time.UnixMilli(1)); o > a.Stored()+1 {
		t.Fatal(o, a.Stored())
	}
	r := a.Reader(1)
	defer r.Close()
	var m message.Message
	for {
		f, ok, err := r.Next()
		if err != nil || !ok {
			return
		}
		if f.Kind() != journal.KindState && f.Offset() > a.Stored() {
			t.Fatal(f.Offset(), a.Stored())
		}
		_ = f.Message(&m)
		_, _, _ = f.Cursor()
		_, _, _, _ = f.Number()
		f.Received()
	}
}
