package journal_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

func openArchive(t testing.TB, fs fault.FS) *journal.Archive {
	t.Helper()
	a, err := journal.OpenArchive(dir, fs)
	if err != nil {
		t.Fatalf("open archive: %v", err)
	}
	return a
}

// entries prints what an archive's reader shows, one line for each entry.
func entries(t testing.TB, a *journal.Archive, from uint64) (lines []string) {
	t.Helper()
	r := a.Reader(from)
	defer r.Close()
	for {
		f, ok, err := r.Next()
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		if !ok {
			return lines
		}
		lines = append(lines, show(t, f))
	}
}

func show(t testing.TB, f journal.Frame) string {
	t.Helper()
	line := fmt.Sprintf("%d %s", f.Offset(), f.Kind())
	switch f.Kind() {
	case journal.KindMessage:
		var m message.Message
		if err := f.Message(&m); err != nil {
			t.Fatal(err)
		}
		line += fmt.Sprintf(" %s %v", m.Payload, f.Rules(nil))
	case journal.KindNumber:
		n, kind, key, err := f.Number()
		line += fmt.Sprintf(" %s %s = %d %v", kind, key, n, err)
	case journal.KindCursor:
		lane, c, err := f.Cursor()
		line += fmt.Sprintf(" %d: %d %v %v", lane, c.Low, c.Settled, err)
	case journal.KindTick:
		line += f.Time().UTC().Format(" 15:04:05")
	default:
	}
	return line
}

// archived reads the messages of an archive, by offset.
func archived(t testing.TB, a *journal.Archive, from uint64) map[uint64]string {
	t.Helper()
	got := map[uint64]string{}
	r := a.Reader(from)
	defer r.Close()
	last := uint64(0)
	for {
		f, ok, err := r.Next()
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		if !ok {
			return got
		}
		if f.Kind() == journal.KindState {
			continue
		}
		if f.Offset() <= last {
			t.Fatalf("offset %d after %d", f.Offset(), last)
		}
		last = f.Offset()
		var m message.Message
		if f.Kind() == journal.KindMessage && f.Message(&m) == nil {
			got[f.Offset()] = string(m.Payload)
		}
	}
}

// TestArchiveOfEveryKind: all that was appended is shown, decoded, with the
// state each segment begins with; and the state at the end.
func TestArchiveOfEveryKind(t *testing.T) {
	mem := fault.NewMem()
	now := time.UnixMilli(3_000)
	o := journal.Options{Dir: dir, FS: mem, MaxBytes: 1 << 20, Clock: func() time.Time { return now }}
	j := openWith(t, o)
	lane, err := j.Number("lane", "k")
	if err != nil {
		t.Fatal(err)
	}
	stored(t, j, text(t, j, "a"))
	tick, err := j.Tick()
	if err != nil {
		t.Fatal(err)
	}
	stored(t, j, tick)
	c := journal.Cursor{Low: 2, Settled: []journal.Range{{First: 3, Last: 3}}}
	if _, err := j.StoreCursor(lane, c); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = openWith(t, o)
	text(t, j, "b")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	a := openArchive(t, mem)
	want := []string{
		"1 state", "1 number lane k = 1 <nil>", "2 message a [1]", "3 tick 00:00:03",
		"4 cursor 1: 2 [{3 3}] <nil>", "5 state", "5 message b [1]",
	}
	if d := cmp.Diff(want, entries(t, a, 1)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want[5:], entries(t, a, 5)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[uint32]journal.Cursor{lane: c}, a.Cursors()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]uint32{"k": 1}, a.Names("lane")); d != "" || len(a.Names("rule")) != 0 {
		t.Error(d, a.Names("rule"))
	}
	if a.ID() != j.ID() || a.Stored() != 5 || !a.Closed() {
		t.Error(a.ID(), a.Stored(), a.Closed())
	}
}

func TestArchiveSegments(t *testing.T) {
	mem, want := written(t)
	a := openArchive(t, mem)
	infos, err := a.Segments()
	if err != nil {
		t.Fatal(err)
	}
	var messages, frames int64
	last := uint64(0)
	for i, s := range infos {
		if s.State != journal.SegmentSealed || s.First <= last || s.Last < s.First || s.Base > s.First || len(s.Damage) > 0 {
			t.Errorf("%+v after %d", s, last)
		}
		if s.FirstTime.IsZero() || s.LastTime.Before(s.FirstTime) {
			t.Errorf("times of %+v", s)
		}
		if s.File != filepath.Base(files(t, mem, ".seg")[i]) || s.Bytes != sizeOf(t, mem, filepath.Join(dir, s.File)) {
			t.Errorf("%+v", s)
		}
		last = s.Last
		messages += s.Messages
		frames += s.Frames
	}
	if messages != int64(len(want)) || frames != messages+1 || len(infos) < 3 { // and one number
		t.Errorf("%d messages, %d frames in %d segments", messages, frames, len(infos))
	}
}

// TestArchiveOfNothing: a folder without a journal is told from an empty one.
func TestArchiveOfNothing(t *testing.T) {
	mem := fault.NewMem()
	for range 2 {
		if _, err := journal.OpenArchive(dir, mem); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("open: %v", err)
		}
		if err := mem.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	open(t, mem)
	a := openArchive(t, mem)
	if got := archived(t, a, 1); len(got) != 0 || a.Stored() != 0 || a.Closed() {
		t.Fatal(got, a.Stored(), a.Closed())
	}
}

func TestArchiveOfNewerVersion(t *testing.T) {
	mem, _ := written(t)
	segments := files(t, mem, ".seg")
	setVersion(t, mem, segments[len(segments)-1], 99)
	if _, err := journal.OpenArchive(dir, mem); !errors.Is(err, journal.ErrVersion) {
		t.Fatalf("open: %v", err)
	}
}

// TestArchiveOnlyReads: no lock, no write, nothing made or removed; and it
// shows what a later block says was synced, so all but the last commit.
func TestArchiveOnlyReads(t *testing.T) {
	mem := fault.NewMem()
	j := open(t, mem)
	want := map[uint64]string{}
	for i := range 20 {
		s := fmt.Sprint(i)
		o := text(t, j, s)
		stored(t, j, o)
		want[o] = s
	}
	delete(want, 20)
	await(t, func() bool { return len(files(t, mem, ".spare")) > 0 }) // the journal rests now
	image := mem.Crash(0)
	image.Watch(func(op fault.Op) {
		switch op.Kind {
		case fault.Open, fault.Read, fault.ReadDir, fault.Close, fault.Stat:
		default:
			t.Errorf("an archive did %s", op)
		}
	})
	for _, fsys := range []fault.FS{image, mem} { // after a crash, and beside the living
		a := openArchive(t, fsys)
		if d := cmp.Diff(want, archived(t, a, 1)); d != "" {
			t.Error(d)
		}
		if bad, err := a.Verify(); len(bad) > 0 || err != nil {
			t.Error(bad, err)
		}
		infos, err := a.Segments()
		if err != nil || len(infos) != 1 || infos[0].State != journal.SegmentActive || infos[0].Messages != 19 {
			t.Errorf("%+v %v", infos, err)
		}
	}
}

// await waits until something that happens in the background is so.
func await(t testing.TB, so func() bool) {
	t.Helper()
	for !so() {
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("test ended")
		}
	}
}

// TestArchiveBesideTheLiving reads again and again while a journal appends,
// rolls, and removes what its lane has passed: what is shown is right, nothing
// looks damaged, and nothing that stays is missing.
func TestArchiveBesideTheLiving(t *testing.T) {
	mem := fault.NewMem()
	j := openWith(t, journal.Options{Dir: dir, FS: mem, MaxBytes: 8 << 20, SegmentBytes: 16 << 10})
	lane, err := j.Number("lane", "l")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.StoreCursor(lane, journal.Cursor{Low: 1}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := range 3000 {
			o := text(t, j, fmt.Sprintf("%d %0300d", i, i))
			if i%50 == 49 {
				stored(t, j, o)
				if _, err := j.StoreCursor(lane, journal.Cursor{Low: o - 30}); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	highest := uint64(0)
	for rounds := 0; ; rounds++ {
		select {
		case <-ended:
			if rounds < 3 || highest == 0 {
				t.Errorf("%d rounds up to %d", rounds, highest)
			}
			return
		default:
		}
		highest = max(highest, lookBeside(t, mem, j, highest))
	}
}

func lookBeside(t *testing.T, mem *fault.Mem, j *journal.Journal, before uint64) uint64 {
	t.Helper()
	a := openArchive(t, mem)
	if a.Stored() < before || a.Stored() > j.Stored() {
		t.Errorf("stored %d, was %d, the journal's is %d", a.Stored(), before, j.Stored())
	}
	if bad, err := a.Verify(); err != nil || len(bad) > 0 {
		t.Error(bad, err)
	}
	got := archived(t, a, 1)
	low := a.Cursors()
	for o := range got {
		if o > a.Stored() {
			t.Errorf("offset %d above %d", o, a.Stored())
		}
	}
	c, _ := j.Cursor(1)
	for _, was := range low {
		if was.Low > c.Low {
			t.Errorf("the archive's cursor %d is ahead of %d", was.Low, c.Low)
		}
	}
	return a.Stored()
}

// TestArchiveRemovedWhileRead: segments that go away under a reader are passed
// by, and the rest is read.
func TestArchiveRemovedWhileRead(t *testing.T) {
	mem, want := written(t)
	a := openArchive(t, mem)
	r := a.Reader(1)
	defer r.Close()
	segments := files(t, mem, ".seg")
	var got []uint64
	for {
		f, ok, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if f.Kind() == journal.KindMessage {
			got = append(got, f.Offset())
		}
		if len(got) == 3 { // in the first one, which stays open
			for _, name := range segments[:3] {
				_ = mem.Remove(name) // the second time it is gone already
			}
		}
	}
	last := uint64(0)
	for _, o := range got {
		if o <= last || want[o] == "" {
			t.Fatal(got)
		}
		last = o
	}
	if last != uint64(len(want))+1 || len(got) < 10 || len(got) > len(want)-5 {
		t.Fatalf("read %d of %d, up to %d", len(got), len(want), last)
	}
	if infos, err := a.Segments(); err != nil || len(infos) != len(segments)-3 {
		t.Fatal(len(infos), err)
	}
	for _, name := range segments[3:] {
		if err := mem.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if got := archived(t, a, 1); len(got) != 0 {
		t.Fatal(got)
	}
}

func payloadOf(t testing.TB, f journal.Frame) string {
	t.Helper()
	var m message.Message
	if err := f.Message(&m); err != nil {
		t.Fatal(err)
	}
	return string(m.Payload)
}
