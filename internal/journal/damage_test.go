package journal_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
)

// files lists the folder's files with a suffix, in order.
func files(t testing.TB, fs fault.FS, suffix string) []string {
	t.Helper()
	list, err := fs.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		if strings.HasSuffix(e.Name(), suffix) {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names
}

// edit changes a file in place and makes the change durable.
func edit(t testing.TB, fs fault.FS, name string, change func(f fault.File, size int64) error) {
	t.Helper()
	f, err := fs.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if err := change(f, info.Size()); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// flip flips one bit of a file.
func flip(t testing.TB, fs fault.FS, name string, at int64, bit int) {
	t.Helper()
	edit(t, fs, name, func(f fault.File, _ int64) error {
		var b [1]byte
		if _, err := f.ReadAt(b[:], at); err != nil {
			return err
		}
		b[0] ^= 1 << bit
		_, err := f.WriteAt(b[:], at)
		return err
	})
}

func sizeOf(t testing.TB, fs fault.FS, name string) int64 {
	t.Helper()
	info, err := fs.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// written returns a closed journal of several segments and what is in it.
func written(t testing.TB) (*fault.Mem, map[uint64]string) {
	t.Helper()
	fs := fault.NewMem()
	j := openWith(t, journal.Options{Dir: dir, FS: fs, MaxBytes: 1 << 20, SegmentBytes: 8 << 10})
	want := map[uint64]string{}
	if _, err := j.Number("rule", "keep"); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		s := fmt.Sprintf("%d %0300d", i, i)
		last := text(t, j, s)
		want[last] = s
		stored(t, j, last)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return fs, want
}

// TestBitFlips flips one bit somewhere in the log, many times. The journal
// opens, misses at most the one frame that was hit, counts the damage, keeps a
// copy of it, and gives out no offset again.
func TestBitFlips(t *testing.T) {
	fs, want := written(t)
	segments := files(t, fs, ".seg")
	r := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		name := segments[r.IntN(len(segments))]
		at, bit := r.Int64N(sizeOf(t, fs, name)), r.IntN(8)
		t.Run(fmt.Sprintf("%s-%d-%d", filepath.Base(name)[:20], at, bit), func(t *testing.T) {
			hurt := fs.Crash(0)
			flip(t, hurt, name, at, bit)
			checkDamaged(t, hurt, want, 1)
		})
	}
}

// checkDamaged opens a journal of which at most so many frames may be missing.
func checkDamaged(t *testing.T, fs fault.FS, want map[uint64]string, most int) {
	t.Helper()
	j := openWith(t, journal.Options{Dir: dir, FS: fs, MaxBytes: 1 << 20, SegmentBytes: 8 << 10})
	got := read(t, j, 1)
	missing := 0
	for o, s := range want {
		switch back, ok := got[o]; {
		case !ok:
			missing++
		case back != s:
			t.Errorf("offset %d is %q", o, back)
		}
	}
	if len(got)+missing != len(want) {
		t.Errorf("read %d, missing %d of %d", len(got), missing, len(want))
	}
	if missing > most {
		t.Errorf("missing %d, want at most %d", missing, most)
	}
	if s := j.Stats(); missing > 0 && s.Damaged == 0 {
		t.Errorf("missing %d and no damage counted", missing)
	}
	if s := j.Stats(); s.Damaged > 0 && len(files(t, fs, ".damaged")) == 0 {
		t.Error("no side file")
	}
	for o := range want {
		if o >= j.Next() {
			t.Errorf("offset %d will be given out again", o)
		}
	}
	if n := j.Names("rule")["keep"]; n != 1 {
		t.Errorf("number is %d", n)
	}
}

// TestWholeSectorsGone zeroes a sector, and fills one with noise: all frames
// outside it are still read.
func TestWholeSectorsGone(t *testing.T) {
	fs, want := written(t)
	for i, name := range files(t, fs, ".seg") {
		size := sizeOf(t, fs, name)
		for at := int64(0); at+fault.SectorBytes < size; at += 3 * fault.SectorBytes {
			for _, noise := range []byte{0, 0xa5} {
				t.Run(fmt.Sprintf("%d-%d-%d", i, at, noise), func(t *testing.T) {
					hurt := fs.Crash(0)
					edit(t, hurt, name, func(f fault.File, _ int64) error {
						b := make([]byte, fault.SectorBytes)
						for i := range b {
							b[i] = noise
						}
						_, err := f.WriteAt(b, at)
						return err
					})
					checkDamaged(t, hurt, want, 3)
				})
			}
		}
	}
}

// TestSegmentGone removes a segment in the middle: what is in the others is
// read.
func TestSegmentGone(t *testing.T) {
	fs, want := written(t)
	segments := files(t, fs, ".seg")
	if err := fs.Remove(segments[1]); err != nil {
		t.Fatal(err)
	}
	j := openWith(t, journal.Options{Dir: dir, FS: fs, MaxBytes: 1 << 20})
	got := read(t, j, 1)
	if len(got) == 0 || len(got) == len(want) {
		t.Fatalf("read %d of %d", len(got), len(want))
	}
	for o, s := range got {
		if want[o] != s {
			t.Errorf("offset %d is %q", o, s)
		}
	}
}

// TestTruncatedLastBlock cuts the log at every byte of its last block, as a
// crash before it was synced may. All before is there, nothing is counted as
// damage, and what comes after has new offsets.
func TestTruncatedLastBlock(t *testing.T) {
	fs := fault.NewMem()
	j := open(t, fs)
	want := map[uint64]string{}
	for i := range 5 {
		s := fmt.Sprint("kept ", i)
		last := text(t, j, s)
		want[last] = s
		stored(t, j, last)
	}
	before := j.Stats().Used
	last := text(t, j, "the last block")
	stored(t, j, last)
	size := j.Stats().Used - before
	image := fs.Crash(0) // a crash: no end block
	_ = j.Close()
	name := files(t, image, ".seg")[0]
	end := endOf(t, image, name)
	for cut := end - size; cut < end; cut++ {
		hurt := image.Crash(0)
		edit(t, hurt, name, func(f fault.File, size int64) error {
			_, err := f.WriteAt(make([]byte, size-cut), cut)
			return err
		})
		checkTruncated(t, hurt, want, last, cut == end-size)
	}
}

// endOf is where the zeros at a file's end begin.
func endOf(t testing.TB, fs fault.FS, name string) (end int64) {
	t.Helper()
	edit(t, fs, name, func(f fault.File, size int64) error {
		b := make([]byte, size)
		_, err := f.ReadAt(b, 0)
		end = int64(len(strings.TrimRight(string(b), "\x00"))+7) &^ 7
		return err
	})
	return end
}

func checkTruncated(t *testing.T, fs fault.FS, want map[uint64]string, last uint64, nothing bool) {
	t.Helper()
	j := open(t, fs)
	defer j.Close()
	got := read(t, j, 1)
	delete(got, last) // padding may be all that was cut
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	if s := j.Stats(); s.Damaged != 0 {
		t.Fatalf("a torn tail was counted as damage: %+v", s)
	}
	if !nothing && j.Next() <= last {
		t.Fatalf("next is %d, and %d was in the torn tail", j.Next(), last)
	}
	o := text(t, j, "new")
	stored(t, j, o)
	if got := read(t, j, o); got[o] != "new" {
		t.Fatal(got)
	}
}

// TestFakeFrames stores payloads that look like frames and blocks and damages
// what is around them: none is taken for one.
func TestFakeFrames(t *testing.T) {
	fs := fault.NewMem()
	j := open(t, fs)
	first := text(t, j, strings.Repeat("z", 64))
	stored(t, j, first)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	var fake []byte
	edit(t, fs, files(t, fs, ".seg")[0], func(f fault.File, size int64) error {
		fake = make([]byte, size)
		_, err := f.ReadAt(fake, 0)
		return err
	})
	j = open(t, fs) // another segment: another id
	want := map[uint64]string{first: strings.Repeat("z", 64)}
	for range 8 {
		o := text(t, j, string(fake))
		stored(t, j, o)
		want[o] = string(fake)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	name := files(t, fs, ".seg")[1]
	for at := int64(600); at < sizeOf(t, fs, name)-128; at += 200 {
		hurt := fs.Crash(0)
		flip(t, hurt, name, at, 3)
		j := open(t, hurt)
		for o, s := range read(t, j, 1) {
			if want[o] != s {
				t.Fatalf("flip at %d: offset %d is %q", at, o, s)
			}
		}
		_ = j.Close()
	}
}

// TestUnreadable has the disk refuse one page of a sealed segment: the rest
// is read, and what could not be read is counted.
func TestUnreadable(t *testing.T) {
	fs, want := written(t)
	in := fault.Inject(fs)
	j := openWith(t, journal.Options{Dir: dir, FS: in, MaxBytes: 1 << 20})
	name := files(t, fs, ".seg")[1]
	bad := in.Add(&fault.Fault{Err: errIO, When: func(op fault.Op) bool {
		return op.Kind == fault.Read && op.Name == name && op.Offset <= 4096 && op.Offset+int64(op.Size) > 4096
	}})
	got := read(t, j, 1)
	if bad.Fired() == 0 {
		t.Fatal("the fault did not happen")
	}
	if n := len(want) - len(got); n == 0 || n > 30 {
		t.Fatalf("%d missing", n)
	}
	if j.Stats().Damaged == 0 {
		t.Fatal("not counted")
	}
}
