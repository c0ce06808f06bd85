package journal_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// trace notes the file operations that change something, the segments by
// their serial, and those of the background by nobody: they come at any time.
type trace struct {
	mu  sync.Mutex
	ops []string
}

var segmentName = regexp.MustCompile(`\d{20}-0*(\d+)-[0-9a-f]{16}`)

func (r *trace) see(op fault.Op) {
	text := segmentName.ReplaceAllString(strings.ReplaceAll(op.String(), dir+"/", ""), "$1")
	if strings.Contains(text, filepath.Base("next.spare")) {
		return
	}
	switch op.Kind {
	case fault.Read, fault.Open, fault.Stat, fault.ReadDir, fault.Mkdir, fault.Lock, fault.Close:
		return
	default:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, text)
}

func (r *trace) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := strings.Join(r.ops, "\n")
	r.ops = nil
	return text
}

// TestOperations is the script of what the journal does to the disk: nothing
// is acknowledged before the sync of what holds it, a segment is durable, name
// and head, before a block is in it, and sealed before the next begins.
func TestOperations(t *testing.T) {
	mem, r := fault.NewMem(), &trace{}
	in := fault.Inject(mem)
	// No spare: whether one is ready in time is nobody's business here.
	in.Add(&fault.Fault{Err: errIO, When: func(op fault.Op) bool { return op.Name == dir+"/next.spare" }})
	mem.Watch(r.see)
	j := openWith(t, journal.Options{Dir: dir, FS: in, MaxBytes: 1 << 20, SegmentBytes: 1024})
	step := func(name, want string) {
		t.Helper()
		if d := cmp.Diff(strings.TrimSpace(want), r.take()); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	put := func(n int) { stored(t, j, text(t, j, strings.Repeat("x", n))) }
	step("open: zeros, head twice, name", `
syncdir /
write 1.seg 0+1024
datasync 1.seg
write 1.seg 0+240
datasync 1.seg
syncdir /j`)
	put(100)
	step("append: one write, one sync", `
write 1.seg 240+216
datasync 1.seg`)
	put(600)
	step("what does not fit: the footer, sealed, then the next", `
write 1.seg 456+232
truncate 1.seg 688
datasync 1.seg
write 2.seg 0+1272
datasync 2.seg
write 2.seg 0+240
datasync 2.seg
syncdir /j
write 2.seg 240+720
datasync 2.seg`)
	hit := in.Add(&fault.Fault{Err: errIO, Times: 1, When: onSegment(fault.Datasync)})
	put(8)
	if hit.Fired() != 1 {
		t.Fatal("the fault did not happen")
	}
	step("a failed sync, here the seal's: nothing more on that segment", `
write 2.seg 960+232
truncate 2.seg 1192
write 3.void.seg 0+1024
datasync 3.void.seg
write 3.void.seg 0+240
datasync 3.void.seg
syncdir /j
write 3.void.seg 240+128
datasync 3.void.seg`)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	step("close: a block that says all was synced, the footer", `
write 3.void.seg 368+64
write 3.void.seg 432+232
truncate 3.void.seg 664
datasync 3.void.seg`)
}

// TestMovedWhileRead: with a weak sync readers have what a failed sync then
// has to move; they go on undisturbed, and the move is durable.
func TestMovedWhileRead(t *testing.T) {
	mem := fault.NewMem()
	in := fault.Inject(mem)
	j := openWith(t, journal.Options{Dir: dir, FS: in, MaxBytes: 4 << 20, SegmentBytes: 64 << 10, Sync: journal.SyncOff})
	r := j.NewReader(1)
	defer r.Close()
	done := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() { // under -race: nobody changes what it reads
		for {
			again := j.NewReader(1)
			readTotal(t, again, int(j.Published()), nil)
			again.Close()
			select {
			case <-done:
				return
			default:
			}
		}
	})
	hit := in.Add(&fault.Fault{Err: errIO, Times: 1, When: onSegment(fault.Datasync)})
	want := map[uint64]string{}
	got := map[uint64]string{}
	for i := range 500 {
		s := fmt.Sprintf("%2000d", i)
		o := text(t, j, s)
		want[o] = s
		stored(t, j, o)
		f, ok, err := r.TryNext()
		for ; !ok && err == nil; f, ok, err = r.TryNext() {
			<-r.Ready()
		}
		if err != nil || f.Offset() != o {
			t.Fatal(o, ok, err)
		}
		got[o] = s
	}
	close(done)
	others.Wait()
	if hit.Fired() != 1 {
		t.Fatal("the fault did not happen")
	}
	if d := cmp.Diff(want, read(t, j, 1)); d != "" {
		t.Fatal(d)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(10) {
		back := openWith(t, journal.Options{Dir: dir, FS: mem.Crash(seed), MaxBytes: 4 << 20, SegmentBytes: 64 << 10})
		if d := cmp.Diff(want, read(t, back, 1)); d != "" {
			t.Fatalf("seed %d: %s", seed, d)
		}
		if n := back.Stats().Damaged; n != 0 {
			t.Fatalf("seed %d: %d damaged", seed, n)
		}
	}
}

// TestAllocates: appending and reading allocate nothing but, now and then, the
// memory that blocks are carved from.
func TestAllocates(t *testing.T) {
	for _, compression := range []string{journal.CompressionNone, journal.CompressionZstd} {
		t.Run(compression, func(t *testing.T) { allocates(t, compression) })
	}
}

func allocates(t *testing.T, compression string) {
	t.Helper()
	j := openWith(t, journal.Options{Dir: t.TempDir(), MaxBytes: 1 << 30, Sync: journal.SyncOff, Compression: compression})
	e := []journal.Entry{{Message: textMessage("x"), Rules: []uint32{1, 2}}}
	append1 := func() {
		if _, err := j.Append(e); err != nil {
			t.Error(err)
		}
	}
	if n := testing.AllocsPerRun(5000, append1); n > 0 {
		t.Errorf("%v allocations per append", n)
	}
	stored(t, j, j.Next()-1)
	r := j.NewReader(1)
	defer r.Close()
	var m message.Message
	var rules []uint32
	read1 := func() {
		f, ok, err := r.TryNext()
		if !ok || err != nil || f.Message(&m) != nil {
			t.Error(ok, err)
		}
		rules = f.Rules(rules[:0])
	}
	if n := testing.AllocsPerRun(4000, read1); n > 0 {
		t.Errorf("%v allocations per read", n)
	}
}
