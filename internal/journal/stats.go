package journal

import "time"

// Stats is a snapshot of a journal's figures.
type Stats struct {
	Bytes     int64 // what the folder takes on disk, prepared segments included
	Used      int64 // of it, what counts towards the bound of appends
	MaxBytes  int64
	Owed      int64 // at most, what of it somebody is owed: a lane, a checkpoint, the state
	Kept      int64 // what of it is kept for replay only
	Segments  int
	Rewritten uint64 // segments that were replaced by what was still owed of them, since the journal was opened
	TailBytes int64  // memory held for readers that keep up

	Stored uint64 // every offset up to it is stored
	Next   uint64 // the next offset to be given out

	Commits      uint64        // syncs of commits since the journal was opened
	LastSync     time.Duration // what the last of them took
	Damaged      uint64        // damaged regions found since the journal was opened
	DamagedBytes int64

	Full        bool      // some entry was refused and there is no room yet
	FullSince   time.Time // since when
	Failing     bool      // no segment can be written: everything is refused
	LastError   error     // of the disk, nil for none
	LastErrorAt time.Time
}

// owed returns how many segments there are and what they owe, at most.
func (c *catalog) owed(d *demand) (segments int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d.refers = nil // not asked under the lock; what it keeps is little beside the rest
	for _, s := range c.list {
		bytes += d.bytes(s.facts)
	}
	return len(c.list), bytes
}

// Stats returns the journal's figures.
func (j *Journal) Stats() Stats {
	s := Stats{
		Bytes: j.cat.allocated(), Used: j.used.Load(), MaxBytes: j.maxBytes, TailBytes: j.tail.size(),
		Stored: j.stored.Load(), Commits: j.commits.Load(), LastSync: time.Duration(j.syncTook.Load()),
	}
	s.Damaged, s.DamagedBytes = j.damage.totals()
	s.Kept, s.Rewritten = j.cat.kept.Load(), j.rewritten.Load()
	s.Segments, s.Owed = j.cat.owed(j.demand())
	j.mu.Lock()
	defer j.mu.Unlock()
	s.Next, s.Full, s.FullSince = j.buf.next, j.room != nil, j.fullSince
	s.Failing, s.LastError, s.LastErrorAt = j.refusing, j.lastError, j.lastErrorAt
	return s
}
