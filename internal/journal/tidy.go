package journal

import (
	"errors"
	"time"
)

// tidyTime is how often the journal looks whether a snapshot or the rewriting
// of a segment is due, besides after each segment.
const tidyTime = time.Second

// tidyLoop stores snapshots and rewrites segments. It is not the keeper, which
// must never wait: its work may.
func (j *Journal) tidyLoop() {
	defer close(j.tidied)
	tick := time.NewTicker(tidyTime)
	defer tick.Stop()
	for {
		if j.snapshotDue() {
			if err := j.snapshot(); err != nil && !errors.Is(err, ErrClosed) {
				j.failed("store a snapshot", err)
			}
		}
		j.rewriteDue()
		select {
		case <-j.stop:
			return
		case <-j.tidy:
		case <-tick.C:
		}
	}
}

// kickTidy has the loop look again.
func (j *Journal) kickTidy() {
	select {
	case j.tidy <- struct{}{}:
	default:
	}
}
