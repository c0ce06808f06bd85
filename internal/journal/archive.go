package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"

	"github.com/penstock/penstock/internal/fault"
)

// An Archive is a journal's folder as it lies on disk, to be read only. It
// takes no lock and writes nothing, so that it works beside the Penstock that
// writes the journal, and on a folder that nobody may write to. It shows what
// is certain: the entries that a later block says were synced (C3), and all
// of a journal that was closed in order. What is written meanwhile it does not
// see; what is removed meanwhile it passes by. It is not for concurrent use.
type Archive struct {
	dir     string
	fs      fault.FS
	list    []*segment // in order
	id      uint64
	certain uint64 // no offset above it is shown
	closed  bool   // the journal was closed in order
	state   *state // as of certain
}

// opens is how often an archive lists the folder again when what it wants to
// read went away meanwhile.
const opens = 10

// OpenArchive opens the journal in a folder. A nil fsys is the operating
// system's. The error wraps fs.ErrNotExist when there is no journal, and
// ErrVersion when a newer Penstock wrote it.
func OpenArchive(dir string, fsys fault.FS) (*Archive, error) {
	if fsys == nil {
		fsys = fault.OS{}
	}
	a := &Archive{dir: dir, fs: fsys}
	var err error
	for range opens {
		if err = a.relist(); err != nil {
			return nil, err
		}
		if err = a.load(); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// relist reads which segments there are.
func (a *Archive) relist() error {
	entries, err := a.fs.ReadDir(a.dir)
	if err != nil {
		return err
	}
	a.list = a.list[:0:0] // readers may hold the old one
	for _, e := range entries {
		s := parseSegment(a.dir, e.Name())
		if s == nil || e.IsDir() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		s.end.Store(info.Size())
		a.list = append(a.list, s)
	}
	if len(a.list) == 0 {
		return fmt.Errorf("open archive %s: no segment: %w", a.dir, fs.ErrNotExist)
	}
	slices.SortFunc(a.list, inOrder)
	a.list, _ = generations(a.list)
	for i, s := range a.list[:len(a.list)-1] {
		s.limit.Store(a.list[i+1].base)
	}
	return nil
}

// load finds out what is certain and what the state is then. It reads the
// newest segment, and older ones only where the state at its head is damaged.
func (a *Archive) load() error {
	last := a.list[len(a.list)-1]
	if err := a.measure(last); err != nil {
		return err
	}
	for i, s := range slices.Backward(a.list) {
		ok, err := a.hasHead(s)
		if err != nil {
			return err
		}
		if ok || i == 0 {
			return a.apply(a.list[i:])
		}
	}
	return nil
}

// measure reads the block headers of the newest segment: what one of them
// says was synced is certain. Whatever came before the segment is, too.
func (a *Archive) measure(s *segment) error {
	a.certain, a.closed = s.base-1, false
	newer := false
	err := a.walk(s, math.MaxUint64, walker{header: func(_ int64, h *blockHeader) {
		a.id = h.journal
		a.certain = max(a.certain, h.synced)
		a.closed = a.closed || h.flags&flagEnd != 0
		newer = newer || h.newer
	}})
	if newer {
		return ErrVersion
	}
	return err
}

func (a *Archive) hasHead(s *segment) (bool, error) {
	head := false // a torn one may have kept its state and lost the journal's id
	err := a.walk(s, a.certain, walker{
		header: func(_ int64, h *blockHeader) { head = head || h.flags&flagHead != 0 },
		frame: func(b []byte) error {
			if head && frameKind(b) == kindState && newState().apply(b) == nil {
				return errFound
			}
			return nil
		},
	})
	if errors.Is(err, errFound) {
		return true, nil
	}
	return false, err
}

// apply has a fresh state take in the entries of some segments.
func (a *Archive) apply(list []*segment) error {
	a.state = newState()
	for _, s := range list {
		err := a.walk(s, a.certain, walker{
			header: func(_ int64, h *blockHeader) { a.id = h.journal },
			frame: func(b []byte) error {
				_ = a.state.apply(b) // what is not understood, Verify tells
				return nil
			},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// walker is who wants to know what is in a segment; each may be nil.
type walker struct {
	header func(at int64, h *blockHeader)
	bad    func(d Damage)
	frame  func(b []byte) error
}

// walk goes through the frames of a segment up to an offset. b is valid only
// during the call it is given to.
func (a *Archive) walk(s *segment, to uint64, w walker) error {
	f, err := a.fs.OpenFile(s.path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	sc := newScan(f, s, 0, s.end.Load())
	sc.reuse = true
	sc.header = w.header
	if w.bad != nil {
		sc.bad = damageOf(s, to, w.bad)
	}
	for {
		run, err := sc.next()
		if run == nil || err != nil {
			return err
		}
		err = frames(run, func(b []byte) error {
			if !lone(frameKind(b)) && frameOffset(b) > to {
				return errBeyond
			}
			if w.frame == nil {
				return nil
			}
			return w.frame(b)
		})
		if errors.Is(err, errBeyond) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// errBeyond ends a walk at the first frame that is not certain.
var errBeyond = errors.New("not certain")

// Dir returns the folder.
func (a *Archive) Dir() string { return a.dir }

// ID returns the journal's id.
func (a *Archive) ID() uint64 { return a.id }

// Stored returns the highest offset that the archive shows.
func (a *Archive) Stored() uint64 { return a.certain }

// Closed reports whether the journal was closed in order, so that nothing in
// it is uncertain.
func (a *Archive) Closed() bool { return a.closed }

// Names returns the names of one kind that have numbers (C16).
func (a *Archive) Names(kind string) map[string]uint32 { return a.state.names(kind) }

// Load returns the state saved under a name, as of the last entry shown.
func (a *Archive) Load(kind, key string) (body []byte, ok bool) {
	v, ok := a.state.saved[numberKey{kind, key}]
	return slices.Clone(v.body), ok
}

// Keys returns the names of the saved states of a kind, sorted.
func (a *Archive) Keys(kind string) []string { return a.state.keys(kind) }

// Cursors returns all stored cursors, by the numbers of their lanes.
func (a *Archive) Cursors() map[uint32]Cursor {
	all := make(map[uint32]Cursor, len(a.state.cursors))
	for lane, c := range a.state.cursors {
		all[lane] = c.clone()
	}
	return all
}
