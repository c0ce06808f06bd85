package journal

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// Options is what code passes to Open. Zero values mean the defaults.
type Options struct {
	Dir          string
	MaxBytes     int64 // bound of everything in Dir; 0: 10 GiB
	Sync         Sync
	Compression  string        // CompressionNone ("" too) or CompressionZstd, of what is written from now on
	SegmentBytes int64         // 0: a 32nd of MaxBytes, at most 64 MiB
	TailBytes    int64         // memory kept for readers that keep up; 0: 64 MiB
	Keep         time.Duration // how long segments stay for replay after nobody is owed anything in them
	State        State         // what entries add up to outside the journal; nil: nothing
	// SnapshotBytes is how much log makes a snapshot of State due, at least;
	// 0: 256 MiB.
	SnapshotBytes int64
	FS            fault.FS         // nil: the operating system's
	Log           *slog.Logger     // nil: nothing is logged
	Clock         func() time.Time // nil: the system's
	// OnSync is told what each sync of a commit took, by the committer; nil: nobody.
	OnSync func(time.Duration)
}

// The defaults and bounds of Options.
const (
	maxSegment      = 64 << 20
	minSegment      = 1 << 20
	defaultTail     = 64 << 20
	defaultSnapshot = 256 << 20
	reservePart     = 10 // a tenth of MaxBytes is for what frees space (C7)
	segmentParts    = 32
)

// A Journal is the durable, append-only log. Its methods may be called
// concurrently.
type Journal struct {
	dir           string
	fs            fault.FS
	log           *slog.Logger
	clock         func() time.Time
	onSync        func(time.Duration)
	mode          Sync
	compression   string
	keep          time.Duration
	external      State
	id            uint64
	epoch         uint32
	maxBytes      int64
	limit         int64 // of messages: maxBytes without the reserve
	maxEntry      int
	segmentBytes  int64
	snapshotBytes int64
	lock          io.Closer
	opening       bool // Open may go beyond the bound by one segment

	mu          sync.Mutex
	buf         buffer        // guarded by mu, as is all down to the next blank line
	closing     bool          // nothing more is appended
	refusing    bool          // the disk fails
	room        chan struct{} // not nil: full
	roomNeed    int64         // the most that was refused since
	fullSince   time.Time
	lastError   error
	lastErrorAt time.Time
	logged      string // meaning and cause of the error logged last

	stateMu   sync.Mutex
	state     *state               // guarded by stateMu
	numbering map[numberKey]uint64 // offsets of the numbers given out in this run; guarded by stateMu

	drained *sync.Cond // of mu: the commit buffer was taken, or refusing began
	roomy   chan struct{}
	wake    chan struct{} // to the committer, capacity 1: buf.due was raised
	kick    chan struct{} // to the keeper, capacity 1: look again
	tidy    chan struct{} // to tidyLoop, capacity 1: look again
	stop    chan struct{} // closed by Close

	committed chan struct{} // closed when the committer ended
	kept      chan struct{} // closed when the keeper ended
	tidied    chan struct{} // closed when tidyLoop ended
	closeErr  error         // of the committer, after committed

	w        writer // belongs to the committer
	lastSync time.Time
	zero     *zeroing  // belongs to the keeper: the spare in the making
	noSpare  time.Time // belongs to the keeper: no segment is prepared before then
	cat      catalog
	tail     tail
	readers  readers
	waiters  waiters
	damage   damage

	used      atomic.Int64 // bytes taken in the folder, commit buffer aside
	grown     atomic.Int64 // bytes of log since the last snapshot
	rewritten atomic.Uint64
	stored    atomic.Uint64
	published atomic.Uint64 // what of stored readers find
	commits   atomic.Uint64
	syncTook  atomic.Int64
	notify    atomic.Pointer[[]func(uint64)]
	notifyMu  sync.Mutex // for those who add to notify
}

// Open opens the journal in a folder, which it makes if need be, repairs what
// a crash left, and begins a new segment in a new epoch. The error wraps
// ErrLocked when another process has the journal, ErrVersion when a newer
// Penstock wrote it, or what the file system said.
func Open(o Options) (*Journal, error) {
	j := newJournal(o)
	if err := makeDir(j.fs, j.dir); err != nil {
		return nil, err
	}
	lock, err := j.fs.Lock(filepath.Join(j.dir, lockName))
	if err != nil {
		return nil, err
	}
	j.lock = lock
	if err := j.start(); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return j, nil
}

// makeDir makes a folder, private, and its name and those above it durable:
// what is synced in a folder that is gone after a power failure is gone too.
func makeDir(fsys fault.FS, dir string) error {
	_, err := fsys.Stat(dir)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(fsys, parent); err != nil {
			return err
		}
	}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return fsys.SyncDir(parent)
}

const lockName = "journal.lock"

func newJournal(o Options) *Journal {
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultBytes
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = min(maxSegment, max(minSegment, o.MaxBytes/segmentParts))
	}
	if o.TailBytes == 0 {
		o.TailBytes = defaultTail
	}
	if o.SnapshotBytes == 0 {
		o.SnapshotBytes = defaultSnapshot
	}
	if o.FS == nil {
		o.FS = fault.OS{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.OnSync == nil {
		o.OnSync = func(time.Duration) {}
	}
	j := &Journal{
		dir: o.Dir, fs: o.FS, log: o.Log, clock: o.Clock, onSync: o.OnSync, mode: o.Sync, maxBytes: o.MaxBytes,
		compression: o.Compression, keep: o.Keep, external: o.State, snapshotBytes: o.SnapshotBytes,
		limit: o.MaxBytes - o.MaxBytes/reservePart, segmentBytes: o.SegmentBytes,
		maxEntry: int(min(maxFrame, o.MaxBytes/4)),
		state:    newState(), numbering: map[numberKey]uint64{},
		roomy: make(chan struct{}), wake: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		stop: make(chan struct{}), committed: make(chan struct{}), kept: make(chan struct{}),
		tidied: make(chan struct{}), tidy: make(chan struct{}, 1),
		lastSync: time.Now(),
	}
	close(j.roomy)
	j.drained = sync.NewCond(&j.mu)
	j.cat.fs, j.tail.bound, j.w.j = o.FS, o.TailBytes, j
	j.w.packer = newPacker(o.Compression)
	j.damage.seen = map[string]bool{}
	return j
}

// start recovers, begins the first segment of this epoch and the
// goroutines of the journal.
func (j *Journal) start() error {
	if err := j.recover(); err != nil {
		return err
	}
	j.opening = true
	if err := j.w.begin(0); err != nil {
		j.closeFiles()
		return err
	}
	j.opening = false
	j.stored.Store(j.w.floor)
	j.published.Store(j.w.floor)
	go j.commitLoop()
	go j.keepLoop()
	go j.tidyLoop()
	return nil
}

// Close stores what was appended, ends the log in order and lets go of the
// folder. Readers find nothing more. The error says that not all was stored.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closing {
		j.mu.Unlock()
		return ErrClosed
	}
	j.closing = true
	j.drained.Broadcast()
	j.mu.Unlock()
	close(j.stop)
	<-j.committed
	<-j.kept
	<-j.tidied
	err := j.closeErr
	if err == nil {
		err = j.w.finish()
	}
	j.closeFiles()
	return errors.Join(err, j.lock.Close())
}

// closeFiles closes what the journal itself has open; a reader's segment is
// closed by the reader.
func (j *Journal) closeFiles() {
	if s := j.w.active; s != nil {
		j.w.active = nil
		_ = j.release(s)
	}
	if sp := j.cat.takeSpare(0); sp != nil {
		_ = j.fs.Remove(sp.path)
	}
}

// ID returns the journal's id, drawn when it was created.
func (j *Journal) ID() uint64 { return j.id }

// Epoch returns how many times the journal has been opened.
func (j *Journal) Epoch() uint32 { return j.epoch }

// Stored returns the watermark: every offset up to it is stored (C2).
func (j *Journal) Stored() uint64 { return j.stored.Load() }

// Next returns the next offset to be given out.
func (j *Journal) Next() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.next
}

// NotifyStored has f called with the new watermark after each time it moved,
// by the committer: f must not block and not call back into Append.
func (j *Journal) NotifyStored(f func(stored uint64)) {
	j.notifyMu.Lock()
	defer j.notifyMu.Unlock()
	var list []func(uint64)
	if old := j.notify.Load(); old != nil {
		list = append(list, *old...)
	}
	list = append(list, f)
	j.notify.Store(&list)
}
