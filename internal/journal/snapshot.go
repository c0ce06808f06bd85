package journal

import (
	"errors"
	"log/slog"
	"maps"
	"math"
	"os"
	"slices"
)

// State is what entries add up to outside the journal, such as durable
// sessions and retained messages, in shards that are stored one by one.
//
// Whoever appends an entry with deliveries, a change or a retained message
// also applies it, in the order of the offsets within each shard. When the
// journal opens it has the state do so again: Load gives back each shard's
// newest snapshot, then Apply every entry above the lowest of their applied
// offsets, once and in order; a shard skips what it has applied (C1, C5).
//
// Snapshot and Refers are called while the journal runs, from its own
// goroutine, and must not call back into it.
type State interface {
	// Shards is how many there are, always the same.
	Shards() uint32
	// Snapshot appends the shard's content to dst and returns the offset up to
	// which it has applied every entry that concerns it, and none above.
	Snapshot(shard uint32, dst []byte) (body []byte, applied uint64)
	// Load takes in what Snapshot returned. The body may be held.
	Load(shard uint32, applied uint64, body []byte) error
	// Apply takes in one entry. The frame may be held.
	Apply(f Frame) error
	// Refers reports whether the state needs the entry of an offset kept: a
	// queue or a retained message is there. What it refers to later, it refers
	// to all the time until then.
	Refers(offset uint64) bool
}

// snapshot is where the newest snapshot of a shard is.
type snapshot struct {
	offset  uint64
	applied uint64
	size    int64
}

// Sections of a snapshot frame.
const (
	secShard        = 1 // 4 bytes
	secApplied      = 2 // 8 bytes
	secSnapshotBody = 3
)

func (s snapshot) appendTo(b []byte, shard uint32) []byte {
	b = le.AppendUint32(b, shard)
	b = le.AppendUint64(b, s.offset)
	b = le.AppendUint64(b, s.applied)
	return le.AppendUint64(b, uint64(s.size))
}

func (s *state) loadSnapshot(b []byte) {
	s.snapshots[le.Uint32(b)] = snapshot{le.Uint64(b[4:]), le.Uint64(b[12:]), int64(le.Uint64(b[20:]))}
}

func (s *state) applySnapshot(f []byte) error {
	shard, applied, body, err := decodeSnapshot(f[frameHead:])
	if err != nil {
		return err
	}
	s.snapshots[shard] = snapshot{frameOffset(f), applied, int64(len(body))}
	return nil
}

func appendSnapshot(b []byte, shard uint32, applied uint64, body []byte) []byte {
	b = append(b, secShard, 4)
	b = le.AppendUint32(b, shard)
	b = append(b, secApplied, 8)
	b = le.AppendUint64(b, applied)
	return appendSectionBytes(b, secSnapshotBody, body)
}

func decodeSnapshot(b []byte) (shard uint32, applied uint64, body []byte, err error) {
	seen := false
	for len(b) > 0 {
		k, v, rest, ok := nextSection(b)
		if !ok {
			return 0, 0, nil, errMalformed
		}
		switch {
		case k == secShard && len(v) == 4:
			shard, seen = le.Uint32(v), true
		case k == secApplied && len(v) == 8:
			applied = le.Uint64(v)
		case k == secSnapshotBody:
			body = v
		}
		b = rest
	}
	if !seen {
		return 0, 0, nil, errMalformed
	}
	return shard, applied, body, nil
}

// floor is the offset up to which every shard's newest snapshot has applied
// the entries; MaxUint64 without shards.
func (s *state) floor(shards uint32) uint64 {
	low := uint64(math.MaxUint64)
	for shard := range shards {
		low = min(low, s.snapshots[shard].applied)
	}
	return low
}

func (j *Journal) shards() uint32 {
	if j.external == nil {
		return 0
	}
	return j.external.Shards()
}

// external has the state outside the journal take in its snapshots and the
// entries since. What it cannot take in is told and passed over: the journal
// always opens (I4).
func (r *recovery) external() error {
	j := r.j
	if j.external == nil {
		return nil
	}
	for _, shard := range slices.Sorted(maps.Keys(j.state.snapshots)) {
		if err := r.loadShard(shard, j.state.snapshots[shard].offset); err != nil {
			return err
		}
	}
	floor := j.state.floor(j.external.Shards())
	for _, s := range r.list {
		if s.facts.newest <= floor {
			continue
		}
		if err := r.applyAbove(s, floor); err != nil {
			return err
		}
	}
	return nil
}

// loadShard finds the snapshot at an offset and loads it.
func (r *recovery) loadShard(shard uint32, offset uint64) error {
	found := false
	for _, s := range r.list {
		if s.base > offset || s.facts.high < offset || found {
			continue
		}
		err := r.from(s, offset, func(f []byte) error {
			if frameOffset(f) < offset {
				return nil
			}
			_, applied, body, err := decodeSnapshot(f[frameHead:])
			if found = frameKind(f) == kindSnapshot && frameOffset(f) == offset && err == nil; found {
				r.tell(offset, r.j.external.Load(shard, applied, body))
			}
			return errFound
		})
		if err != nil && !errors.Is(err, errFound) {
			return err
		}
	}
	if !found {
		r.tell(offset, errMalformed)
	}
	return nil
}

// applyAbove applies the entries with state of one segment.
func (r *recovery) applyAbove(s *segment, floor uint64) error {
	return r.from(s, s.facts.firstState(floor), func(f []byte) error {
		if frameOffset(f) > floor && hasState(f) {
			r.tell(frameOffset(f), r.j.external.Apply(Frame{b: f, journal: r.j.id}))
		}
		return nil
	})
}

// firstState is an offset at or below that of the first frame with state above
// floor.
func (x *facts) firstState(floor uint64) uint64 {
	for _, m := range x.states {
		if m.offset > floor && m.kind != kindSnapshot {
			return m.offset
		}
	}
	return floor + 1
}

// hasState reports whether a frame changes the state outside the journal.
func hasState(f []byte) bool {
	return frameKind(f) == kindChange || frameKind(f) == kindMessage && peek(f).stateful
}

// tell logs what the state outside the journal could not take in.
func (r *recovery) tell(offset uint64, err error) {
	if err != nil {
		r.j.log.Error("journal state not understood", slog.Uint64("offset", offset), slog.Any("err", err))
	}
}

// from calls f for the frames of a segment from about an offset on.
func (r *recovery) from(s *segment, offset uint64, f func(b []byte) error) error {
	file, err := r.j.fs.OpenFile(s.path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	return newScan(file, s, s.facts.position(offset), s.end.Load()).walk(func(_ int64, b []byte) error { return f(b) })
}

// snapshotDue reports whether enough log came together since the last
// snapshot for another, or the journal is full of it, and some of it is state.
func (j *Journal) snapshotDue() bool {
	if j.external == nil {
		return false
	}
	j.stateMu.Lock()
	floor, size := j.state.floor(j.external.Shards()), int64(0)
	for _, s := range j.state.snapshots {
		size += s.size
	}
	j.stateMu.Unlock()
	if j.grown.Load() < max(j.snapshotBytes, 4*size) && !j.full() {
		return false
	}
	return j.cat.newestState() > floor
}

// full reports whether some entry was refused and there is no room yet.
func (j *Journal) full() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.room != nil
}

// snapshot stores the state outside the journal, shard by shard while traffic
// runs. A crash in between leaves some shards with the newer, some with the
// older one: each says what it has applied (C5).
func (j *Journal) snapshot() error {
	logged := j.grown.Load()
	var body, frame []byte
	for shard := range j.external.Shards() {
		var applied uint64
		body, applied = j.external.Snapshot(shard, body[:0])
		frame = appendSnapshot(frame[:0], shard, applied, body)
		offset, err := j.appendState(kindSnapshot, frame, true)
		if err != nil {
			return err
		}
		if err := j.wait(offset); err != nil {
			return err
		}
	}
	j.grown.Add(-logged)
	return nil
}

// newestState is the offset of the newest entry with state.
func (c *catalog) newestState() (offset uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.list {
		offset = max(offset, s.facts.newest)
	}
	return offset
}

// above is the size of the segments with entries above an offset.
func (c *catalog) above(floor uint64) (n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.list {
		if s.facts.high > floor {
			n += s.used
		}
	}
	return n
}
