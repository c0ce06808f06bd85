package journal

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// writer writes blocks to the last segment. It belongs to the committer.
type writer struct {
	j      *Journal
	active *segment // nil: the next write opens one
	file   fault.File
	pos    int64 // where the next block goes
	zeroed int64 // the file holds zeros from pos up to here
	most   int64 // the active segment may grow so far
	serial uint64
	synced uint64 // the highest offset whose frame is synced
	voids  bool   // a segment was given up since the last one began
	floor  uint64 // offsets up to it that have no frame never will

	// unsynced is what was not synced yet, oldest first: written[:written] to
	// the active segment, and readers see [:shown].
	unsynced       []block
	written, shown int
	dirty          bool // something was written since the last sync
	head, foot     []byte
	packer         packer
}

// flush writes all there is and, in groups, syncs it.
func (w *writer) flush() error {
	for w.written < len(w.unsynced) {
		n := int64(len(w.unsynced[w.written].bytes()))
		if err := w.makeRoom(n); err != nil { // may settle, which moves what is left
			return err
		}
		if err := w.write(&w.unsynced[w.written]); err != nil {
			return err
		}
		w.written++
	}
	if !w.j.mode.Weak() {
		return w.sync()
	}
	w.show()
	return nil
}

// write stamps a block for the active segment and writes it.
func (w *writer) write(b *block) error {
	w.own(b)
	h := w.stamp(b)
	data := w.packer.pack(b.bytes(), h)
	w.dirty = true
	if _, err := w.file.WriteAt(data, w.pos); err != nil {
		return err
	}
	w.j.cat.wrote(w.active, b, w.pos, int64(len(data)))
	w.pos += int64(len(data))
	w.j.used.Add(int64(len(data)))
	w.j.grown.Add(int64(len(data)))
	return nil
}

// own copies a block that readers see already before it is stamped again for
// another segment.
func (w *writer) own(b *block) {
	if !b.shown {
		return
	}
	c := &chunk{data: append([]byte(nil), b.bytes()...)}
	b.chunk, b.from, b.to = c, 0, len(c.data)
}

// stamp fills the block's header and the checksums of its frames.
func (w *writer) stamp(b *block) blockHeader {
	data := b.bytes()
	h := blockHeader{
		journal: w.j.id, segment: w.active.id, synced: max(w.synced, w.floor),
		first: b.first, length: uint32(len(data) - blockHead), count: b.count,
	}
	h.put(data)
	seed := seed(w.active.id)
	for rest := data[blockHead:]; len(rest) > 0; {
		size := frameSize(rest)
		stampFrame(rest[:size], seed)
		rest = rest[align(size):]
	}
	return h
}

// sync makes what was written durable; only then readers, and those who wait,
// learn of it (C2). It is the one place where the watermark of grouped commits
// comes from.
func (w *writer) sync() error {
	if w.dirty {
		start := time.Now()
		if err := w.file.Datasync(); err != nil {
			return err
		}
		took := time.Since(start)
		w.j.syncTook.Store(int64(took))
		w.j.onSync(took)
		w.j.commits.Add(1)
		w.dirty = false
	}
	if w.written > 0 {
		w.synced = w.unsynced[w.written-1].last
	}
	w.applied(w.written) // before anybody who waits for it goes on
	w.show()
	w.settle()
	return nil
}

// show lets readers see what was written.
func (w *writer) show() {
	if w.shown < w.written {
		w.j.stored.Store(w.unsynced[w.written-1].last) // before readers see any of it (C2)
	}
	if w.active != nil {
		w.active.end.Store(w.pos)
	}
	if w.shown < w.written {
		w.j.publish(w.unsynced[w.shown:w.written])
		w.shown = w.written
	}
}

// settle forgets what was synced.
func (w *writer) settle() {
	shown := max(0, w.shown-w.written)
	n := copy(w.unsynced, w.unsynced[w.written:])
	clear(w.unsynced[n:])
	w.unsynced = w.unsynced[:n]
	w.written, w.shown = 0, shown
}

// applied has the state take in the first n blocks.
func (w *writer) applied(n int) {
	for i := range w.unsynced[:n] {
		if b := &w.unsynced[i]; b.state {
			w.j.apply(b.bytes()[blockHead:]) // whose header may not be written yet
		}
	}
}

// makeRoom sees to it that n bytes fit the active segment, or another one.
func (w *writer) makeRoom(n int64) error {
	if w.active != nil && w.pos+n+w.footRoom() <= w.zeroed {
		return nil
	}
	if w.active != nil && w.mayGrow(n) {
		// No spare is ready: beyond the zeros a sync is slower, yet sooner
		// done than zeroing here would be.
		w.zeroed = w.pos + n + w.footRoom()
		w.j.cat.grew(w.active, w.zeroed)
		return nil
	}
	return w.roll(n)
}

func (w *writer) mayGrow(n int64) bool {
	n += w.footRoom()
	return w.pos+n <= w.most && !w.j.cat.hasSpare() && w.j.makeWay(n)
}

// footRoom is the room that the active segment's footer is going to take.
func (w *writer) footRoom() int64 { return footerRoom + w.active.facts.room }

// roll seals the active segment and begins another with room for n bytes.
func (w *writer) roll(n int64) error {
	if err := w.seal(); err != nil {
		return err
	}
	return w.begin(n)
}

// seal ends the active segment: with its footer, cut to what it holds, and
// synced in every mode (C3), so that whatever is bad in it later is damage.
func (w *writer) seal() error {
	if w.active == nil {
		return nil
	}
	if err := w.writeFooter(); err != nil {
		return err
	}
	if err := w.file.Truncate(w.pos); err != nil {
		return err
	}
	w.dirty = true
	if err := w.sync(); err != nil {
		return err
	}
	s := w.active
	w.active, w.file = nil, nil
	w.j.cat.resize(s, w.pos)
	return w.j.release(s)
}

// writeFooter appends the footer. Without room for it, which only a segment
// that was never meant to be sealed may lack, opening reads the segment.
func (w *writer) writeFooter() error {
	s := w.active
	w.foot = appendFooter(w.foot[:0], s.facts, w.header(s), w.j.epoch)
	n := int64(len(w.foot))
	if grown := w.pos + n - w.zeroed; grown > 0 && !w.j.makeWay(grown) {
		return nil
	}
	if _, err := w.file.WriteAt(w.foot, w.pos); err != nil {
		return err
	}
	w.pos += n
	w.j.used.Add(n)
	w.j.cat.ended(s, w.pos, n)
	return nil
}

// header is the header of a block without entries.
func (w *writer) header(s *segment) blockHeader {
	synced := max(w.synced, w.floor)
	first := synced + 1
	if w.written > 0 {
		first = w.unsynced[w.written-1].last + 1
	}
	return blockHeader{journal: w.j.id, segment: s.id, synced: synced, first: first}
}

// abandon gives the active segment up after a failed write or sync: nothing
// is tried again on it (C4). What was not synced goes to the next one.
func (w *writer) abandon() {
	s := w.active
	w.active, w.file = nil, nil
	w.written, w.dirty = 0, false
	if s == nil {
		return
	}
	w.voids = true
	w.j.used.Add(w.j.cat.fail(s))
	_ = w.j.release(s) // the file is given up already
}

// begin opens a segment with room for n bytes: its name, its head twice, both
// durable before anything relies on them.
func (w *writer) begin(n int64) error {
	w.serial++ // a serial whose file may exist is not used again, or the rest of a failed one could void it
	s := newSegment(w.j.dir, w.base(), w.serial, randomID(), w.voids)
	w.head = appendHeadBlocks(w.head[:0], w.j, s, max(w.synced, w.floor))
	head := w.head
	w.j.cat.begin(s.name())
	defer w.j.cat.begin("")
	size, err := w.openFile(s, int64(len(head))+n+footerRoom)
	if err != nil {
		return err
	}
	if err := w.writeHead(s, head); err != nil {
		w.discard(s)
		return err
	}
	s.refs, s.file, s.alloc, s.used = 1, w.file, size, int64(len(head))
	s.end.Store(int64(len(head)))
	w.j.used.Add(s.used)
	w.active, w.pos, w.zeroed = s, int64(len(head)), size
	w.dirty, w.voids = false, false
	w.most = max(size, w.j.segmentBytes)
	w.j.cat.add(s)
	w.j.kickKeeper()
	w.j.kickTidy()
	return nil
}

// base is the first offset the next segment may hold; frames of earlier ones
// from there on are void.
func (w *writer) base() uint64 { return w.synced + 1 }

// appendHeadBlocks appends a segment's first two blocks, which are alike: one
// damaged sector does not cost the state.
func appendHeadBlocks(b []byte, j *Journal, s *segment, synced uint64) []byte {
	b = append(b, make([]byte, blockHead+frameHead)...)
	b = j.appendHead(b)
	size := len(b) - blockHead
	b = append(b, make([]byte, align(size)-size)...)
	f := b[blockHead:]
	putFrameHead(f, size, s.base, j.epoch, kindState)
	stampFrame(f[:size], seed(s.id))
	h := blockHeader{
		flags: flagHead, journal: j.id, segment: s.id, synced: synced,
		first: s.base, length: uint32(len(f)), count: 1,
	}
	h.put(b)
	return append(b, b...)
}

// openFile makes the file: the spare when there is one, else a new one with a
// few zeros. It returns the file's size.
func (w *writer) openFile(s *segment, need int64) (int64, error) {
	if sp := w.j.cat.takeSpare(need); sp != nil {
		err := w.j.fs.Rename(sp.path, s.path)
		w.j.cat.took() // only now may the keeper make another under the same name
		if err != nil {
			return 0, err
		}
		f, err := w.j.fs.OpenFile(s.path, os.O_RDWR, 0)
		w.file = f
		return sp.size, err
	}
	size := max(need, min(w.j.segmentBytes, firstBytes))
	if !w.j.opening && !w.j.makeWay(size) {
		if size = need; !w.j.makeWay(size) {
			return 0, errNoRoom
		}
	}
	f, err := w.j.fs.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	w.file = f
	if err := writeZeros(f, 0, size, nil); err != nil {
		w.discard(s)
		return 0, err
	}
	return size, nil
}

// firstBytes is how much of a segment that was not prepared is zeroed before
// it is used.
const firstBytes = 1 << 20

func (w *writer) writeHead(s *segment, head []byte) error {
	if _, err := w.file.WriteAt(head, 0); err != nil {
		return err
	}
	if err := w.file.Datasync(); err != nil {
		return err
	}
	return w.j.fs.SyncDir(filepath.Dir(s.path))
}

// discard removes a segment that could not be begun. If that fails too, the
// file counts as foreign, and opening finds nothing in it.
func (w *writer) discard(s *segment) {
	_ = w.file.Close()
	_ = w.j.fs.Remove(s.path)
	w.file = nil
}

// finish seals the log for good with a block without frames, which says that
// all before it was synced: what is found bad later is damage, not a tail.
func (w *writer) finish() error {
	if w.active == nil {
		return errors.New("no segment could be written")
	}
	if err := w.sync(); err != nil {
		return err
	}
	b := make([]byte, blockHead)
	h := w.header(w.active)
	h.flags = flagEnd
	h.put(b)
	if _, err := w.file.WriteAt(b, w.pos); err != nil {
		return err
	}
	w.pos += blockHead
	w.dirty = true
	return w.seal()
}

// writeZeros fills [from, to) of a file and syncs it piece by piece, so that
// no large sync holds up the commits of others; stop ends it early.
func writeZeros(f fault.File, from, to int64, stop <-chan struct{}) error {
	zeros := make([]byte, min(firstBytes, max(0, to-from)))
	for at := from; at < to; at += int64(len(zeros)) {
		select {
		case <-stop:
			return ErrClosed
		default:
		}
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), to-at)], at); err != nil {
			return err
		}
		if err := f.Datasync(); err != nil {
			return err
		}
	}
	return nil
}

func randomID() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return le.Uint64(b[:])
}
