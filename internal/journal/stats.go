package journal

import "time"

// Stats is a snapshot of a journal's figures.
type Stats struct {
	Bytes     int64 // what the folder takes on disk, prepared segments included
	Used      int64 // of it, what counts towards the bound of appends
	MaxBytes  int64
	Segments  int
	TailBytes int64 // memory held for readers that keep up

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

// Stats returns the journal's figures.
func (j *Journal) Stats() Stats {
	s := Stats{
		Bytes: j.cat.allocated(), Used: j.used.Load(), MaxBytes: j.maxBytes, TailBytes: j.tail.size(),
		Stored: j.stored.Load(), Commits: j.commits.Load(), LastSync: time.Duration(j.syncTook.Load()),
	}
	s.Damaged, s.DamagedBytes = j.damage.totals()
	j.cat.mu.Lock()
	s.Segments = len(j.cat.list)
	j.cat.mu.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	s.Next, s.Full, s.FullSince = j.buf.next, j.room != nil, j.fullSince
	s.Failing, s.LastError, s.LastErrorAt = j.refusing, j.lastError, j.lastErrorAt
	return s
}
