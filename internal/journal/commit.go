package journal

import (
	"errors"
	"io/fs"
	"log/slog"
	"runtime"
	"time"
)

// lingerTime is how long a commit that nobody waits for waits for company.
const lingerTime = 2 * time.Millisecond

// retryTime is how long the committer waits between attempts to begin a
// segment after the disk failed (C4).
const retryTime = time.Second

// commitLoop takes what was appended, writes and syncs it, and tells those who
// wait, until the journal closes.
func (j *Journal) commitLoop() {
	defer close(j.committed)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	for many := false; ; {
		if many {
			// Those whom the last commit woke append now, and join this one:
			// twice the entries per sync, measured, where any timed wait costs
			// more than it brings. One writer alone is never waited for.
			runtime.Gosched()
		}
		blocks, ok := j.await(timer)
		if !ok {
			return
		}
		many = len(blocks) > 1 || len(blocks) == 1 && blocks[0].count > 1
		err := j.commit(blocks)
		j.mu.Lock()
		j.buf.giveBack(blocks)
		j.drained.Broadcast()
		j.mu.Unlock()
		if err != nil { // only when closing
			j.closeErr = err
			return
		}
		j.checkRoom()
	}
}

// await waits for something to commit. No blocks: the interval's sync is due.
// ok is false when the journal closes and nothing is left.
func (j *Journal) await(timer *time.Timer) (blocks []block, ok bool) {
	lingered := false
	for {
		j.mu.Lock()
		due, closing := j.buf.due, j.closing
		if due == urgent || due != idle && (lingered || closing) {
			blocks = j.buf.take()
			j.mu.Unlock()
			return blocks, true
		}
		j.mu.Unlock()
		if closing {
			return nil, false
		}
		switch fired := j.doze(timer, due); {
		case fired && due == lazy:
			lingered = true
		case fired:
			return nil, true
		}
	}
}

// doze waits for a wake-up, the end of a linger or the interval's sync; it
// reports whether the time was up.
func (j *Journal) doze(timer *time.Timer, due urgency) (fired bool) {
	var limit <-chan time.Time
	switch {
	case due == lazy:
		timer.Reset(lingerTime)
		limit = timer.C
	case j.mode > 0 && j.w.dirty:
		timer.Reset(max(0, time.Duration(j.mode)-time.Since(j.lastSync)))
		limit = timer.C
	}
	select {
	case <-j.wake:
		timer.Stop()
		return false
	case <-j.stop:
		timer.Stop()
		return false
	case <-limit:
		return true
	}
}

// commit makes blocks durable, however many segments that takes. An error
// means that the journal closes with the blocks not stored.
func (j *Journal) commit(blocks []block) error {
	w := &j.w
	w.unsynced = append(w.unsynced, blocks...)
	for attempt := 0; ; attempt++ {
		err := j.attempt()
		if err == nil {
			j.recovered()
			return nil
		}
		w.abandon()
		if errors.Is(err, errNoRoom) {
			// What frees space may be among what cannot be written: cursors say
			// what was delivered durably, stored or not.
			w.applied(len(w.unsynced))
			j.removeSure()
		}
		if attempt == 0 {
			j.failed("move unsynced entries to another segment", err)
			continue
		}
		j.refuse(err)
		select {
		case <-time.After(retryTime):
		case <-j.stop:
			if err := j.attempt(); err != nil {
				return err
			}
			return nil
		}
	}
}

// attempt writes and, if it is due, syncs.
func (j *Journal) attempt() error {
	if err := j.w.flush(); err != nil {
		return err
	}
	if j.mode <= 0 || time.Since(j.lastSync) < time.Duration(j.mode) {
		return nil
	}
	if err := j.w.sync(); err != nil {
		return err
	}
	j.lastSync = time.Now()
	return nil
}

// failed notes an error of the disk; it is logged when what it means or its
// cause changes.
func (j *Journal) failed(what string, err error) {
	key := what + ": " + cause(err)
	j.mu.Lock()
	known := j.logged == key
	j.logged = key
	j.lastError, j.lastErrorAt = err, j.clock()
	j.mu.Unlock()
	if !known {
		j.log.Error("journal write failed", slog.String("reason", what), slog.Any("err", err))
	}
}

// cause is the text of an error without the file it happened to, which
// differs with every attempt.
func cause(err error) string {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Op + ": " + path.Err.Error()
	}
	return err.Error()
}

// refuse has appenders get ErrFull until a segment can be written again.
func (j *Journal) refuse(err error) {
	j.failed("refuse entries until a segment can be written", err)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.refusing = true
	j.fill(0)
	j.drained.Broadcast()
}

// recovered ends a refusal.
func (j *Journal) recovered() {
	j.mu.Lock()
	was := j.refusing
	j.refusing = false
	j.logged = ""
	j.mu.Unlock()
	if was {
		j.log.Info("journal writes again")
	}
}

// publish lets readers see blocks and moves the watermark. It belongs to the
// committer.
func (j *Journal) publish(blocks []block) {
	stored := blocks[len(blocks)-1].last
	needed := j.readers.needed(stored)
	for i := range blocks {
		b := &blocks[i]
		j.tail.add(b.chunk, needed)
		b.chunk.end.Store(int64(b.to))
		b.shown = true
	}
	j.published.Store(stored)
	j.readers.ready()
	j.waiters.notify(stored)
	if list := j.notify.Load(); list != nil {
		for _, f := range *list {
			f(stored)
		}
	}
}
