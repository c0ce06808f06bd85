package journal_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// TestManyReadersShareMemory: 16 readers that keep up read each message once,
// all of them the very bytes that were appended, and nothing from disk, while
// segments roll and, with compression, the disk holds something else.
func TestManyReadersShareMemory(t *testing.T) {
	for _, compression := range []string{journal.CompressionNone, journal.CompressionZstd} {
		t.Run(compression, func(t *testing.T) { shareMemory(t, compression) })
	}
}

func shareMemory(t *testing.T, compression string) {
	t.Helper()
	mem := fault.NewMem()
	j := openWith(t, journal.Options{
		Dir: dir, FS: mem, MaxBytes: 64 << 20, SegmentBytes: 16 << 10, TailBytes: 1 << 20, Compression: compression,
	})
	var reads atomic.Int64
	mem.Watch(func(op fault.Op) {
		if op.Kind == fault.Read {
			reads.Add(1)
		}
	})
	const readers, rounds, each = 16, 60, 50
	var list []*journal.Reader
	for range readers {
		r := j.NewReader(1)
		defer r.Close()
		list = append(list, r)
	}
	segments := 0
	for n := range rounds {
		e := make([]journal.Entry, each)
		for i := range e {
			e[i] = journal.Entry{Message: textMessage(fmt.Sprint(n, i, strings.Repeat(" share", 100))), Rules: []uint32{1}}
		}
		first, err := j.Append(e)
		if err != nil {
			t.Fatal(err)
		}
		where := make([]atomic.Pointer[byte], each)
		var all sync.WaitGroup
		for _, r := range list {
			all.Go(func() { readBurst(t, r, first, where) })
		}
		all.Wait()
		segments = max(segments, j.Stats().Segments)
	}
	if n := reads.Load(); n != 0 {
		t.Errorf("%d reads from disk", n)
	}
	if segments < 3 {
		t.Errorf("only %d segments", segments)
	}
	again := j.NewReader(1) // far behind the tail: the disk is read after all
	defer again.Close()
	if _, ok, err := again.TryNext(); !ok || err != nil || reads.Load() == 0 {
		t.Error("the reads are not counted", ok, err)
	}
}

// readBurst reads a burst of messages and compares where their bytes are with
// what other readers found.
func readBurst(t *testing.T, r *journal.Reader, first uint64, where []atomic.Pointer[byte]) {
	var m message.Message
	for n := 0; n < len(where); {
		f, ok, err := r.TryNext()
		if err != nil {
			t.Error(err)
			return
		}
		if !ok {
			<-r.Ready()
			continue
		}
		if f.Offset() != first+uint64(n) || f.Message(&m) != nil {
			t.Errorf("offset %d, want %d", f.Offset(), first+uint64(n))
			return
		}
		p := unsafe.SliceData(m.Payload)
		if !where[n].CompareAndSwap(nil, p) && where[n].Load() != p {
			t.Errorf("offset %d is in memory twice", f.Offset())
			return
		}
		n++
	}
}

// TestMemoryIsBounded: however many readers, slow, fast and standing still,
// the journal never holds more for them than its bound, at any commit.
func TestMemoryIsBounded(t *testing.T) {
	const bound = 2 << 20
	j := openWith(t, journal.Options{Dir: dir, FS: fault.NewMem(), MaxBytes: 256 << 20, SegmentBytes: 1 << 20, TailBytes: bound})
	var most atomic.Int64
	j.NotifyStored(func(uint64) { most.Store(max(most.Load(), j.Stats().TailBytes)) }) // by the committer alone
	still := j.NewReader(1)
	defer still.Close()
	const total = 12_000
	ended := make(chan struct{})
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			r := j.NewReader(1)
			defer r.Close()
			if i%2 == 0 {
				readTotal(t, r, total, ended) // with pauses
				return
			}
			readTotal(t, r, total, nil)
		})
	}
	payload := strings.Repeat("m", 2000)
	for range total {
		text(t, j, payload)
	}
	close(ended)
	all.Wait()
	if n := most.Load(); n > bound || n < bound/2 {
		t.Errorf("up to %d bytes were held, the bound is %d", n, bound)
	}
	readTotal(t, still, total, nil)
}
