package journal_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
)

// TestArchiveOfRewritten: beside a journal that rewrites its segments for a
// lane that wants little, an archive shows all that the lane is owed, nothing
// as damage, and the generations as what they are; a reader that was in the
// middle meanwhile misses nothing of it.
func TestArchiveOfRewritten(t *testing.T) {
	for _, compression := range []string{journal.CompressionNone, journal.CompressionZstd} {
		t.Run(compression, func(t *testing.T) { archiveRewritten(t, compression) })
	}
}

func archiveRewritten(t *testing.T, compression string) {
	t.Helper()
	mem := fault.NewMem()
	j := openWith(t, journal.Options{Dir: dir, FS: mem, MaxBytes: 16 << 20, SegmentBytes: 32 << 10, Compression: compression})
	dead, live := laneOf(t, j, "dead"), laneOf(t, j, "live")
	settle(t, j, dead, journal.Cursor{Low: 1, Rules: []uint32{7}})
	settle(t, j, live, journal.Cursor{Low: 1, Rules: []uint32{8}})
	owed := map[uint64]string{}
	early := openArchive(t, mem)
	var last uint64
	traffic := func(rounds int) {
		for n := range rounds {
			e := make([]journal.Entry, 50)
			for i := range e {
				e[i] = journal.Entry{Message: textMessage(fmt.Sprintf("%d %d %s", n, i, strings.Repeat("w", 300))), Rules: []uint32{8}}
			}
			e[n%50].Rules = []uint32{7, 8}
			first, err := j.Append(e)
			if err != nil {
				t.Fatal(err)
			}
			owed[first+uint64(n%50)] = string(e[n%50].Message.Payload)
			last = first + 49
			stored(t, j, last)
		}
	}
	traffic(60)
	middle := openArchive(t, mem)
	r := middle.Reader(1)
	defer r.Close()
	got := readSome(t, r, 40)
	settle(t, j, live, journal.Cursor{Low: last + 1, Rules: []uint32{8}})
	rewritten := func() (n int) {
		for _, name := range files(t, mem, ".seg") {
			if strings.Count(name, ".") > 1 {
				n++
			}
		}
		return n
	}
	for rewritten() == 0 || j.Stats().Segments > 8 {
		traffic(1)
		settle(t, j, live, journal.Cursor{Low: last + 1, Rules: []uint32{8}})
	}
	maps.Copy(got, readSome(t, r, 1<<30))
	a := openArchive(t, mem)
	bad, err := a.Verify()
	if err != nil || len(bad) > 0 || len(r.Damage()) > 0 {
		t.Fatal(bad, r.Damage(), err)
	}
	now := archived(t, a, 1)
	for o, s := range owed {
		if o <= a.Stored() && now[o] != s {
			t.Fatalf("owed %d is %q", o, now[o])
		}
		if o <= middle.Stored() && got[o] != s {
			t.Fatalf("the reader that was in the middle has %q for %d", got[o], o)
		}
	}
	infos, err := a.Segments()
	n := 0
	for _, s := range infos {
		if s.State == journal.SegmentRewritten && s.Generation > 0 {
			n++
		}
	}
	if err != nil || n == 0 {
		t.Fatalf("%+v %v", infos, err)
	}
	if first := a.Seek(time.UnixMilli(1)); now[first] == "" || first > early.Stored()+100 {
		t.Fatalf("seek: %d", first)
	}
}

// readSome reads up to so many messages of an archive.
func readSome(t *testing.T, r *journal.ArchiveReader, most int) map[uint64]string {
	t.Helper()
	got := map[uint64]string{}
	for len(got) < most {
		f, ok, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if f.Kind() == journal.KindMessage {
			got[f.Offset()] = payloadOf(t, f)
		}
	}
	return got
}
