package journal_test

import (
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
)

// A slowSpare is a file system on which a spare takes its time: to be renamed a
// second, to be written two.
type slowSpare struct{ fault.FS }

func (s slowSpare) Rename(from, to string) error {
	<-time.After(time.Second)
	return s.FS.Rename(from, to)
}

func (s slowSpare) OpenFile(name string, flag int, perm fs.FileMode) (fault.File, error) {
	f, err := s.FS.OpenFile(name, flag, perm)
	if err == nil && strings.HasSuffix(name, ".spare") {
		f = slowFile{f}
	}
	return f, err
}

type slowFile struct{ fault.File }

func (f slowFile) WriteAt(b []byte, at int64) (int, error) {
	<-time.After(2 * time.Second)
	return f.File.WriteAt(b, at)
}

// The zeros of a spare never go into the one that became a segment, however
// long that takes to get its name.
func TestSpareLeavesSegmentsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := slowSpare{fault.NewMem()}
		o := journal.Options{Dir: dir, FS: mem, MaxBytes: 1 << 20, SegmentBytes: 16 << 10}
		j, err := journal.Open(o)
		must(t, err)
		var want []uint64
		for range 40 { // several segments
			offset := text(t, j, strings.Repeat("x", 1000))
			stored(t, j, offset)
			want = append(want, offset)
			<-time.After(700 * time.Millisecond)
		}
		must(t, j.Close())
		j, err = journal.Open(o)
		must(t, err)
		if got := read(t, j, 1); len(got) != len(want) || j.Stats().Damaged > 0 {
			t.Errorf("%d of %d messages are there, %d regions damaged", len(got), len(want), j.Stats().Damaged)
		}
		must(t, j.Close())
	})
}

// TestSpareGivesWay: while commits come one after the other, a spare is made
// only as fast as it will be needed; when nothing comes, it is finished at
// once, and it is there when the segment is full.
func TestSpareGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 8 << 20
		mem := fault.NewMem()
		j, err := journal.Open(journal.Options{Dir: dir, FS: mem, MaxBytes: 256 << 20, SegmentBytes: size})
		must(t, err)
		<-time.After(time.Second) // of the bubble's clock: the first spare is ready
		var zeros, grown atomic.Int64
		mem.Watch(func(op fault.Op) {
			switch {
			case op.Kind == fault.Write && strings.HasSuffix(op.Name, ".spare"):
				zeros.Add(int64(op.Size))
			case op.Kind == fault.Write && op.Offset+int64(op.Size) > size:
				grown.Add(1)
			}
		})
		payload := strings.Repeat("z", 10_000)
		fill := func(bytes int64) {
			for before := j.Stats().Used; j.Stats().Used-before < bytes; {
				stored(t, j, text(t, j, payload))
			}
		}
		fill(1<<20 + 1) // the first segment, which has few zeros, gives way to the spare
		zeros.Store(0)
		before := j.Stats().Used
		for range 8000 { // small ones: time enough to zero everything
			stored(t, j, text(t, j, "small"))
		}
		if n, most := zeros.Load(), 2*(j.Stats().Used-before)+3<<20; n > most || n == 0 || most > size {
			t.Fatalf("%d bytes were zeroed, more than %d", n, most)
		}
		<-time.After(time.Second)
		if n := zeros.Load(); n < size {
			t.Fatalf("at rest only %d bytes were zeroed", n)
		}
		fill(3 * size)
		if grown.Load() != 0 || j.Stats().Segments < 4 {
			t.Fatalf("%d writes beyond the zeros, %+v", grown.Load(), j.Stats())
		}
		must(t, j.Close())
		if got := files(t, mem, ".spare"); len(got) != 0 {
			t.Fatal(got)
		}
	})
}
