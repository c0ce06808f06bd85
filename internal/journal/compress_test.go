package journal_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
)

// packed writes bursts of messages that compress well, waiting for each.
func packed(t testing.TB, o journal.Options, bursts, each int) map[uint64]string {
	t.Helper()
	j := openWith(t, o)
	want := map[uint64]string{}
	for n := range bursts {
		e := make([]journal.Entry, each)
		for i := range e {
			p := fmt.Sprintf(`{"n":%d,"i":%d,"state":"running","pad":"%s"}`, n, i, strings.Repeat("abc", 60))
			e[i] = journal.Entry{Message: textMessage(p), Rules: []uint32{1}}
		}
		first, err := j.Append(e)
		if err != nil {
			t.Fatal(err)
		}
		for i := range e {
			want[first+uint64(i)] = string(e[i].Message.Payload)
		}
		stored(t, j, first+uint64(each)-1)
	}
	if d := cmp.Diff(want, read(t, j, 1)); d != "" {
		t.Fatal(d)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return want
}

func packedOptions(fs fault.FS) journal.Options {
	return journal.Options{Dir: dir, FS: fs, MaxBytes: 8 << 20, SegmentBytes: 32 << 10, Compression: journal.CompressionZstd}
}

// TestCompressed: what is stored compressed takes a fraction of the disk and
// reads back the same, from any offset, whether new blocks are compressed or
// not.
func TestCompressed(t *testing.T) {
	plain, mem := fault.NewMem(), fault.NewMem()
	o := packedOptions(plain)
	o.Compression = ""
	packed(t, o, 40, 50)
	want := packed(t, packedOptions(mem), 40, 50)
	if a, b := folderBytes(t, plain), folderBytes(t, mem); a < 4*b {
		t.Errorf("%d bytes, compressed %d", a, b)
	}
	for _, compression := range []string{journal.CompressionNone, journal.CompressionZstd, ""} {
		o := packedOptions(mem)
		o.Compression = compression
		j := openWith(t, o)
		if d := cmp.Diff(want, read(t, j, 1)); d != "" {
			t.Fatal(d)
		}
		for from := uint64(1); from < 2000; from += 333 {
			got := read(t, j, from)
			for o := range want {
				if _, ok := got[o]; ok != (o >= from) {
					t.Fatalf("from %d: %d is %v", from, o, ok)
				}
			}
		}
		e := make([]journal.Entry, 30)
		for i := range e {
			e[i] = journal.Entry{Message: textMessage(strings.Repeat("later ", i)), Rules: []uint32{1}}
		}
		first, err := j.Append(e)
		if err != nil {
			t.Fatal(err)
		}
		for i := range e {
			want[first+uint64(i)] = strings.Repeat("later ", i)
		}
		if s := j.Stats(); s.Damaged > 0 {
			t.Fatalf("%+v", s)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, archived(t, openArchive(t, mem), 1)); d != "" {
			t.Fatal(d)
		}
	}
}

// TestCompressedDamage flips one bit of a compressed journal, many times: it
// opens, misses at most what was in one block, counts that, and an archive
// tells the same.
func TestCompressedDamage(t *testing.T) {
	const each = 20
	mem := fault.NewMem()
	o := packedOptions(mem)
	o.SegmentBytes = 8 << 10
	want := packed(t, o, 60, each)
	segments := files(t, mem, ".seg")
	if len(segments) < 2 {
		t.Fatal(segments)
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		hurt := mem.Crash(0)
		name := segments[r.IntN(len(segments))]
		at, bit := r.Int64N(sizeOf(t, mem, name)), r.IntN(8)
		flip(t, hurt, name, at, bit)
		bad, err := openArchive(t, hurt).Verify()
		if err != nil {
			t.Fatal(err)
		}
		j := openWith(t, packedOptions(hurt))
		got := read(t, j, 1)
		for o, s := range want {
			back, ok := got[o]
			if ok && back != s {
				t.Fatalf("offset %d is %q", o, back)
			}
			if !ok && !tellsOf(bad, filepath.Base(name), at, o) {
				t.Fatalf("flip at %d of %s: %d is missing and %+v", at, name, o, bad)
			}
		}
		if missing := len(want) - len(got); missing > each || missing > 0 && j.Stats().Damaged == 0 {
			t.Fatalf("flip at %d of %s: %d missing, %+v", at, name, missing, j.Stats())
		}
		for o := range want {
			if o >= j.Next() {
				t.Fatalf("offset %d will be given out again", o)
			}
		}
		_ = j.Close()
	}
}

// TestCompressedTornTail cuts the last block, which is compressed, at every
// byte: all before is there, nothing is counted as damage, and no offset that
// could have been in it is given out again (C2, C3).
func TestCompressedTornTail(t *testing.T) {
	mem := fault.NewMem()
	j := openWith(t, packedOptions(mem))
	burst := func() (last uint64, size int64) {
		before := j.Stats().Used
		e := make([]journal.Entry, 300)
		for i := range e {
			e[i] = journal.Entry{Message: textMessage("the same"), Rules: []uint32{1}}
		}
		first, err := j.Append(e)
		if err != nil {
			t.Fatal(err)
		}
		stored(t, j, first+299)
		return first + 299, j.Stats().Used - before
	}
	kept, _ := burst()
	last, size := burst()
	image := mem.Crash(0)
	name := files(t, image, ".seg")[0]
	end := endOf(t, image, name)
	if size > 300*20 {
		t.Fatalf("%d bytes: not compressed", size)
	}
	for cut := end - size + 1; cut < end; cut += 3 {
		hurt := image.Crash(0)
		edit(t, hurt, name, func(f fault.File, size int64) error {
			_, err := f.WriteAt(make([]byte, size-cut), cut)
			return err
		})
		back := openWith(t, packedOptions(hurt))
		if n := len(read(t, back, 1)); n != int(kept) && n != int(last) {
			t.Fatalf("cut at %d: read %d", cut-end+size, n)
		}
		if s := back.Stats(); s.Damaged != 0 {
			t.Fatalf("a torn tail was counted as damage: %+v", s)
		}
		if cut > end-size+64 && back.Next() <= last {
			t.Fatalf("next is %d, and %d was in the torn tail", back.Next(), last)
		}
		_ = back.Close()
	}
}

// TestCompressedMoved: blocks that a failed sync moves to another segment are
// compressed anew for it, and readers that have them go on undisturbed (C4).
func TestCompressedMoved(t *testing.T) {
	mem := fault.NewMem()
	in := fault.Inject(mem)
	o := packedOptions(in)
	o.Sync, o.SegmentBytes = journal.SyncOff, 8<<10
	syncs := 0
	hit := in.Add(&fault.Fault{Err: errIO, Times: 1, When: func(op fault.Op) bool {
		if onSegment(fault.Datasync)(op) {
			syncs++
		}
		return syncs > 2 // those of the first segment's head: this is its seal
	}})
	want := packed(t, o, 30, 40)
	if hit.Fired() != 1 {
		t.Fatal("the fault did not happen")
	}
	for seed := range uint64(5) {
		o.FS = mem.Crash(seed)
		j := openWith(t, o)
		if d := cmp.Diff(want, read(t, j, 1)); d != "" || j.Stats().Damaged != 0 {
			t.Fatal(seed, d, j.Stats())
		}
	}
}

// TestCompressedSeek: a position in the middle of a compressed block passes
// for nothing.
func TestCompressedSeek(t *testing.T) {
	o := packedOptions(fault.NewMem())
	o.SegmentBytes = 4 << 20
	j, times, offsets := seekable(t, o)
	for k := 0; k < len(times); k += 61 {
		if got, want := j.Seek(timeOf(times[k])), firstAt(times, offsets, uint64(times[k]), 0); got != want {
			t.Fatalf("seek %d is %d, want %d", times[k], got, want)
		}
	}
}

// TestVersionOne: a journal from before there were compressed blocks.
func TestVersionOne(t *testing.T) {
	mem, want := written(t)
	for _, name := range files(t, mem, ".seg") {
		edit(t, mem, name, func(f fault.File, size int64) error {
			b := make([]byte, size)
			if _, err := f.ReadAt(b, 0); err != nil {
				return err
			}
			journal.SetVersions(b, journal.SegmentID(filepath.Base(name)), 1)
			_, err := f.WriteAt(b, 0)
			return err
		})
	}
	if d := cmp.Diff(want, read(t, open(t, mem), 1)); d != "" {
		t.Fatal(d)
	}
}
