package journal

import "time"

// maxPending bounds the frames in the commit buffer. It is several times what
// a disk syncs in the time of one fdatasync, so that only a disk that cannot
// follow makes appenders wait.
const maxPending = 8 << 20

// Append copies the entries into the commit buffer and gives them consecutive
// offsets from first on. It sets the ID and Received of each message. Nobody may
// count on an entry before Stored reaches its offset.
//
// The error is ErrFull when the journal may not grow, ErrTooLarge when the
// entries never fit; nothing was appended then. Append waits for a moment
// while the commit buffer is full.
func (j *Journal) Append(entries []Entry) (first uint64, err error) {
	need, wait, err := j.measure(entries)
	if err != nil {
		return 0, err
	}
	limit := j.limit
	if allFree(entries) {
		limit = j.maxBytes
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.admit(need, limit, true); err != nil {
		return 0, err
	}
	first = j.buf.next
	now := j.now()
	for i := range entries {
		j.encode(&entries[i], now)
	}
	j.raise(wait)
	return first, nil
}

// allFree reports whether all entries free space (C7).
func allFree(entries []Entry) bool {
	for i := range entries {
		if !entries[i].Frees {
			return false
		}
	}
	return true
}

// measure adds up what the entries take and how soon they are due.
func (j *Journal) measure(entries []Entry) (need int64, due urgency, err error) {
	for i := range entries {
		n := align(entries[i].sizeOf())
		if n > j.maxEntry {
			return 0, idle, ErrTooLarge
		}
		need += int64(n)
		if entries[i].NoWait {
			due = max(due, lazy)
		} else {
			due = urgent
		}
	}
	return need, due, nil
}

// encode copies one entry into the buffer. The caller holds mu.
func (j *Journal) encode(e *Entry, now int64) {
	if e.Message != nil {
		e.Message.Received = now
	}
	f, offset := j.buf.frame(e.sizeOf(), e.kind(), j.epoch)
	e.fill(f[:frameHead])
	if e.Message == nil {
		return
	}
	e.Message.ID.Journal, e.Message.ID.Epoch, e.Message.ID.Offset = j.id, j.epoch, offset
}

// now is the time of the next message: the clock's, or the last one's when
// the clock stepped back, so that it never decreases along the log (C21). The
// caller holds mu.
func (j *Journal) now() int64 {
	j.buf.received = max(j.buf.received, j.clock().UnixMilli())
	return j.buf.received
}

// appendState appends one frame that is not a message. It never waits, and
// may use the reserve. The caller does not hold mu.
func (j *Journal) appendState(k kind, body []byte, wait bool) (offset uint64, err error) {
	size := frameHead + len(body)
	if align(size) > j.maxEntry {
		return 0, ErrTooLarge
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.admit(int64(align(size)), j.maxBytes, false); err != nil {
		return 0, err
	}
	f, offset := j.buf.frame(size, k, j.epoch)
	copy(f[frameHead:], body)
	if wait {
		j.raise(urgent)
	} else {
		j.raise(lazy)
	}
	return offset, nil
}

// admit decides whether need bytes may be appended now. The caller holds mu,
// which admit gives up while it waits for the committer.
func (j *Journal) admit(need, limit int64, mayWait bool) error {
	for {
		switch {
		case j.closing:
			return ErrClosed
		case j.refusing || j.taken()+need > limit:
			j.fill(need)
			return ErrFull
		case !mayWait || j.buf.bytes < maxPending:
			return nil
		}
		j.drained.Wait()
	}
}

// taken is the space that is not to be had: what was delivered and is kept
// for replay goes when it is in the way, so it makes nobody wait (C7). The
// caller holds mu.
func (j *Journal) taken() int64 {
	return j.used.Load() - j.cat.kept.Load() + j.buf.inflight + j.buf.bytes
}

// raise tells the committer how soon a commit is due. The caller holds mu.
func (j *Journal) raise(u urgency) {
	if u <= j.buf.due {
		return
	}
	j.buf.due = u
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// fill marks the journal full. The caller holds mu.
func (j *Journal) fill(need int64) {
	if j.room == nil {
		j.room = make(chan struct{})
		j.fullSince = j.clock()
		j.kickTidy()
	}
	j.roomNeed = max(j.roomNeed, need)
}

// checkRoom tells those who wait when there is room for all that was refused.
func (j *Journal) checkRoom() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.room == nil || j.closing {
		return
	}
	if j.refusing || j.taken()+j.roomNeed > j.limit {
		return
	}
	close(j.room)
	j.room, j.roomNeed = nil, 0
	j.fullSince = time.Time{}
}

// Room returns a channel that is closed when there is room again after
// ErrFull; when there is room already, it is closed.
func (j *Journal) Room() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.room == nil {
		return j.roomy
	}
	return j.room
}
