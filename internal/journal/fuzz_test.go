package journal_test

import (
	"bytes"
	"os"
	"runtime"
	"testing"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// image is a small segment as it lies on disk, and its id.
func image(t testing.TB, compression string) (b []byte, id uint64) {
	t.Helper()
	fs := fault.NewMem()
	j := openWith(t, journal.Options{Dir: dir, FS: fs, MaxBytes: 1 << 20, SegmentBytes: 16 << 10, Compression: compression})
	lane, _ := j.Number("lane", "k")
	m := textMessage("payload")
	m.Properties.UserProperties = []message.UserProperty{{Name: "a", Value: "b"}}
	m.Properties.HasMessageExpiry = true
	if compression != "" {
		m.Payload = bytes.Repeat([]byte("payload "), 300)
	}
	if _, err := j.Append([]journal.Entry{{Message: m, Rules: []uint32{1, 2}}}); err != nil {
		t.Fatal(err)
	}
	stored(t, j, 2)
	c := journal.Cursor{Low: 1, Settled: []journal.Range{{First: 2, Last: 2}}, Counters: []byte{1}}
	if _, err := j.StoreCursor(lane, c); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	name := files(t, fs, ".seg")[0]
	f, err := fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	b = make([]byte, sizeOf(t, fs, name))
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	const want = 7
	journal.Restamp(b, want)
	return b, want
}

// FuzzSegment goes through any bytes as a segment: no panic, no frame outside
// the input, and memory in proportion to it.
func FuzzSegment(f *testing.F) {
	b, id := image(f, "")
	f.Add(b, true)
	f.Add(b[:len(b)/2], false)
	b, _ = image(f, journal.CompressionZstd)
	f.Add(b, true)
	f.Add(bytes.Repeat([]byte("PBLK\x01\x00\x40\x00"), 20), true)
	f.Fuzz(func(t *testing.T, b []byte, restamp bool) {
		if restamp {
			b = bytes.Clone(b)
			journal.Restamp(b, id)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		total := 0
		var m message.Message
		_, err := journal.ScanAll(b, 1, id, func(frame []byte) {
			total += len(frame)
			fr := journal.FrameOf(frame)
			fr.Rules(nil)
			fr.PacketID()
			_ = fr.Message(&m)
		})
		runtime.ReadMemStats(&after)
		// A compressed block says how much is in it, up to a bound, and memory
		// for one of them is held at a time.
		packed := bytes.Count(b, []byte("PBLK"))
		if err != nil || total > len(b)+packed*journal.MaxPacked {
			t.Fatal(err, total, len(b))
		}
		most := uint64(64*len(b)) + 1<<20
		if packed > 0 {
			most += 2 * journal.MaxPacked
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > most {
			t.Fatalf("%d bytes allocated for %d", used, len(b))
		}
	})
}

// FuzzState decodes any bytes as the entries of the state; what is accepted
// encodes to something that decodes to the same.
func FuzzState(f *testing.F) {
	b, id := image(f, "")
	_, _ = journal.ScanAll(b, 1, id, func(frame []byte) { f.Add(frame[20], bytes.Clone(frame[24:])) })
	const kindState = 2
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		once, err := journal.ApplyState(kind, body)
		if err != nil {
			return
		}
		if len(once) > 64*len(body)+1024 {
			t.Fatalf("%d bytes of state from %d", len(once), len(body))
		}
		twice, err := journal.ApplyState(kindState, once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%v\n%x\n%x", err, once, twice)
		}
	})
}
