package journal_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
)

// folderBytes is what the folder really takes.
func folderBytes(t testing.TB, fs fault.FS) (n int64) {
	t.Helper()
	list, err := fs.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
	}
	return n
}

// fillUp appends until the journal is full and returns the last offset.
func fillUp(t testing.TB, j *journal.Journal, payload string) (last uint64) {
	t.Helper()
	for {
		first, err := j.Append([]journal.Entry{{Message: textMessage(payload), Rules: []uint32{1}}})
		if errors.Is(err, journal.ErrFull) {
			return last
		}
		if err != nil {
			t.Fatal(err)
		}
		last = first
		stored(t, j, last)
	}
}

// TestFull: the folder never exceeds the bound; messages are refused at nine
// tenths of it, cursors are not, and what they free lets messages in again.
func TestFull(t *testing.T) {
	const bound = 1 << 20
	mem := fault.NewMem()
	j := openWith(t, journal.Options{Dir: dir, FS: mem, MaxBytes: bound, SegmentBytes: 32 << 10})
	lane, err := j.Number("lane", "slow")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.StoreCursor(lane, journal.Cursor{Low: 1}); err != nil {
		t.Fatal(err)
	}
	last := fillUp(t, j, strings.Repeat("f", 500))
	s := j.Stats()
	if !s.Full || s.Used < bound*8/10 || s.Used > bound*9/10 {
		t.Fatalf("%+v", s)
	}
	if n := folderBytes(t, mem); n > bound {
		t.Fatalf("%d bytes in the folder", n)
	}
	for range 600 { // many times the reserve, were it not freed
		o, err := j.StoreCursor(lane, journal.Cursor{Low: 1, Counters: make([]byte, 2000)})
		if err != nil {
			t.Fatalf("cursor refused: %v, %+v", err, j.Stats())
		}
		stored(t, j, o)
		if n := folderBytes(t, mem); n > bound {
			t.Fatalf("%d bytes in the folder", n)
		}
	}
	room := j.Room()
	if _, err := j.StoreCursor(lane, journal.Cursor{Low: last / 2}); err != nil {
		t.Fatal(err)
	}
	<-room
	text(t, j, strings.Repeat("f", 500))
	if got := read(t, j, last/2); got[last] == "" {
		t.Fatal("what is owed is gone")
	}
}

// TestFullAcrossRestart: a full journal opens, is still full, and is freed.
func TestFullAcrossRestart(t *testing.T) {
	mem := fault.NewMem()
	o := journal.Options{Dir: dir, FS: mem, MaxBytes: 1 << 20, SegmentBytes: 32 << 10}
	j := openWith(t, o)
	lane, _ := j.Number("lane", "slow")
	if _, err := j.StoreCursor(lane, journal.Cursor{Low: 1}); err != nil {
		t.Fatal(err)
	}
	last := fillUp(t, j, strings.Repeat("f", 500))
	for range 20 {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = openWith(t, o)
		fillUp(t, j, strings.Repeat("f", 500))
		if n := folderBytes(t, mem); n > o.MaxBytes {
			t.Fatalf("%d bytes in the folder", n)
		}
	}
	room := j.Room()
	if _, err := j.StoreCursor(lane, journal.Cursor{Low: last + 1}); err != nil {
		t.Fatal(err)
	}
	<-room
	text(t, j, "again")
}

// TestForeignFilesCount: what others keep in the folder counts, and when it
// goes there is room again.
func TestForeignFilesCount(t *testing.T) {
	mem := fault.NewMem()
	if err := mem.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	letters := filepath.Join(dir, "dead-letters.jsonl")
	f, err := mem.OpenFile(letters, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 960<<10), 0); err != nil {
		t.Fatal(err)
	}
	j := openWith(t, journal.Options{Dir: dir, FS: mem, MaxBytes: 1 << 20, SegmentBytes: 16 << 10})
	if _, err := j.Append([]journal.Entry{{Message: textMessage("x")}}); !errors.Is(err, journal.ErrFull) {
		t.Fatalf("append: %v", err)
	}
	room := j.Room()
	if err := mem.Remove(letters); err != nil {
		t.Fatal(err)
	}
	<-room
	text(t, j, "x")
}

// TestSubfoldersCount: so does what is in folders of it, such as dead letters.
func TestSubfoldersCount(t *testing.T) {
	folder := t.TempDir()
	letters := filepath.Join(folder, "dead-letters", "refused-1.jsonl")
	if err := os.Mkdir(filepath.Dir(letters), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(letters, make([]byte, 960<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	j := openWith(t, journal.Options{Dir: folder, MaxBytes: 1 << 20, SegmentBytes: 16 << 10})
	if _, err := j.Append([]journal.Entry{{Message: textMessage("x")}}); !errors.Is(err, journal.ErrFull) {
		t.Fatalf("append: %v", err)
	}
	room := j.Room()
	if err := os.Remove(letters); err != nil {
		t.Fatal(err)
	}
	<-room
	text(t, j, "x")
}

func TestTooLarge(t *testing.T) {
	j := open(t, fault.NewMem())
	if _, err := j.Append([]journal.Entry{{Message: textMessage(strings.Repeat("x", 1<<20))}}); !errors.Is(err, journal.ErrTooLarge) {
		t.Fatalf("append: %v", err)
	}
	if j.Next() != 1 {
		t.Fatal("an offset was given out")
	}
	big := strings.Repeat("x", 200<<10) // many times a segment
	o := text(t, j, big)
	stored(t, j, o)
	if read(t, j, o)[o] != big {
		t.Fatal("not read back")
	}
}

// TestRemoval: segments go when every lane has passed them, also lanes that
// nobody runs any more, and a reader in the middle of one loses nothing.
func TestRemoval(t *testing.T) {
	mem := fault.NewMem()
	j := openWith(t, journal.Options{Dir: dir, FS: mem, MaxBytes: 4 << 20, SegmentBytes: 16 << 10, TailBytes: 1})
	fast, _ := j.Number("lane", "fast")
	gone, _ := j.Number("lane", "gone")
	for _, lane := range []uint32{fast, gone} {
		if _, err := j.StoreCursor(lane, journal.Cursor{Low: 1}); err != nil {
			t.Fatal(err)
		}
	}
	first := text(t, j, "first")
	var last uint64
	for i := range 2000 {
		last = text(t, j, strings.Repeat("r", 300))
		if i%5 == 0 { // small blocks, so that segments have many messages
			stored(t, j, last)
		}
	}
	stored(t, j, last)
	many := len(files(t, mem, ".seg"))
	settle := func(lane uint32) {
		o, err := j.StoreCursor(lane, journal.Cursor{Low: last + 1})
		if err != nil {
			t.Fatal(err)
		}
		stored(t, j, o)
	}
	settle(fast)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = openWith(t, journal.Options{Dir: dir, FS: mem, MaxBytes: 4 << 20, SegmentBytes: 16 << 10, TailBytes: 1})
	if n := len(files(t, mem, ".seg")); n < many {
		t.Fatalf("%d of %d segments are left, and a lane still pins them", n, many)
	}
	r := j.NewReader(1)
	defer r.Close()
	var got []uint64
	next := func() bool {
		f, ok, err := r.TryNext()
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			got = append(got, f.Offset())
		}
		return ok
	}
	for range 10 {
		next()
	}
	settle(gone)
	awaitRoom(t, j, gone, journal.Cursor{Low: last + 1}, 3)
	for next() {
	}
	if len(got) < 12 || got[0] != first || got[10] != got[9]+1 {
		t.Fatalf("read %v", got)
	}
	if n := len(files(t, mem, ".seg")); n > 3 {
		t.Fatalf("%d segments are left", n)
	}
}

// awaitSegments waits until at most so many segments are left.
func awaitSegments(t testing.TB, j *journal.Journal, most int) {
	t.Helper()
	for j.Stats().Segments > most {
		if t.Context().Err() != nil {
			t.Fatal("segments stay")
		}
		o := text(t, j, "tick") // each commit lets the keeper look
		stored(t, j, o)
	}
}

// TestDiskFullOnce: a disk that fills up while a spare is prepared stops
// nothing, and one that is full when a segment is due refuses until it is not.
func TestDiskFullOnce(t *testing.T) {
	in := fault.Inject(fault.NewMem())
	hit := in.Add(&fault.Fault{Err: syscall.ENOSPC, Short: true, When: func(op fault.Op) bool {
		return op.Kind == fault.Write && strings.HasSuffix(op.Name, ".spare")
	}})
	j := open(t, in)
	want := map[uint64]string{}
	for n := 0; n < 300 || hit.Fired() == 0; n++ {
		s := strings.Repeat("d", 400)
		o := text(t, j, s)
		want[o] = s
		stored(t, j, o)
	}
	if hit.Fired() == 0 {
		t.Fatal("the fault did not happen")
	}
	if d := cmp.Diff(want, read(t, j, 1)); d != "" {
		t.Fatal(d)
	}
}
