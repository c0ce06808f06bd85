package journal

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io/fs"
)

// Names of internals for the tests of the byte layout.

// SetVersion writes another version into the first block of a segment image.
func SetVersion(b []byte, segment uint64, version byte) {
	b[4] = version
	le.PutUint32(b[60:], blockSum(b, segment))
}

// SetVersions writes another version into every block of a segment image.
func SetVersions(b []byte, segment uint64, version byte) {
	for at := 0; at+blockHead <= len(b); at += 8 {
		if _, _, ok := parseBlock(b[at:], segment); ok {
			SetVersion(b[at:], segment, version)
		}
	}
}

// SegmentID is the id in a segment's file name.
func SegmentID(name string) uint64 { return parseSegment("", name).id }

// ScanAll goes through a segment image as recovery does; it calls f for every
// frame and returns how many bad regions there were.
func ScanAll(b []byte, base, id uint64, f func(frame []byte)) (bad int, err error) {
	s := newSegment("", base, 1, id, false)
	sc := newScan(bytes.NewReader(b), s, 0, int64(len(b)))
	sc.reuse = true
	sc.bad = func(int64, int64, uint64, *item) { bad++ }
	for {
		run, err := sc.next()
		if run == nil || err != nil {
			return bad, err
		}
		_ = frames(run, func(b []byte) error {
			f(b)
			return nil
		})
	}
}

// Restamp repairs the checksums of a segment image, so that fuzzing reaches
// what is behind them.
func Restamp(b []byte, id uint64) {
	for at := 0; at+8 <= len(b); {
		switch {
		case le.Uint32(b[at:]) == blockMagic && len(b)-at >= blockHead:
			le.PutUint64(b[at+16:], id)
			at += restampBody(b[at:], id)
		case frameFits(b[at:]) && align(frameSize(b[at:])) <= len(b)-at:
			stampFrame(b[at:at+frameSize(b[at:])], seed(id))
			at += align(frameSize(b[at:]))
		default:
			at += 8
		}
	}
}

// restampBody repairs the checksums of a block and returns how far to go on.
func restampBody(b []byte, id uint64) int {
	n := blockHead
	h := blockHeader{length: le.Uint32(b[40:])}
	if size := h.packed(); b[5]&flagZstd != 0 && size <= int64(len(b)) {
		n = int(size)
		le.PutUint32(b[52:], crc32.Update(seed(id), castagnoli, b[blockHead:blockHead+int(h.length)]))
	}
	le.PutUint32(b[60:], blockSum(b, id))
	return n
}

// MaxPacked is what a compressed block may unpack to.
const MaxPacked = maxPacked

// FrameOf is a Frame of raw bytes, as a scan finds them.
func FrameOf(b []byte) Frame { return Frame{b: b} }

// ApplyState has a fresh state take in the sections of a frame of a kind and
// returns what it encodes to afterwards.
func ApplyState(k byte, body []byte) (encoded []byte, err error) {
	f := make([]byte, frameHead, frameHead+len(body))
	f = append(f, body...)
	putFrameHead(f, len(f), 1, 1, kind(k))
	s := newState()
	err = s.apply(f)
	return s.appendTo(nil), err
}

// Published is how far readers find what is stored.
func (j *Journal) Published() uint64 { return j.published.Load() }

// CursorOf decodes a cursor frame; false when it is of another kind.
func CursorOf(frame []byte) (Cursor, bool) {
	if frameKind(frame) != kindCursor {
		return Cursor{}, false
	}
	_, c, err := decodeCursor(frame[frameHead:])
	return c, err == nil
}

// FooterOf is what the footer of a segment image says, as text.
func FooterOf(b []byte, name string) string {
	x, _, _ := readFooter(memory{bytes.NewReader(b)}, parseSegment("", name), int64(len(b)))
	return describe(x)
}

// FactsOf is what is in a segment image, as text.
func FactsOf(b []byte, name string) string {
	x := newFacts()
	s := parseSegment("", name)
	_ = newScan(bytes.NewReader(b), s, 0, int64(len(b))).walk(func(at int64, f []byte) error {
		x.add(f, at)
		return nil
	})
	return describe(x)
}

func describe(x *facts) string {
	if x == nil {
		return "nil"
	}
	y := *x
	y.known, y.room, y.recent = nil, 0, 0
	return fmt.Sprintf("%+v", y)
}

// Footer decodes the sections of a footer and encodes them again.
func Footer(body []byte) ([]byte, error) {
	x, err := decodeFacts(body)
	if err != nil {
		return nil, err
	}
	return x.appendTo(nil), nil
}

type memory struct{ *bytes.Reader }

func (memory) WriteAt([]byte, int64) (int, error) { return 0, nil }
func (memory) Close() error                       { return nil }
func (memory) Sync() error                        { return nil }
func (memory) Datasync() error                    { return nil }
func (memory) Truncate(int64) error               { return nil }
func (memory) Stat() (fs.FileInfo, error)         { return nil, nil }

// Tidy returns when the journal has looked once more whether a snapshot or the
// rewriting of a segment is due.
func (j *Journal) Tidy() {
	for range 3 { // taken by a turn that may have begun before; by the next one; which has then ended
		select {
		case j.tidy <- struct{}{}:
		case <-j.tidied:
		}
	}
}

// FactsAdder returns a function that adds the entry's frame to a segment's
// facts.
func FactsAdder(e *Entry) func() {
	f := make([]byte, e.sizeOf())
	putFrameHead(f, len(f), 1, 1, e.kind())
	e.fill(f[:frameHead])
	x := newFacts()
	return func() { x.add(f, 0) }
}
