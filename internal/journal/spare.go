package journal

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// spareRetry is how long the keeper waits after it could not make a spare;
// meanwhile segments are made when they are due.
const spareRetry = 10 * time.Second

const (
	// idlePiece is how much is zeroed at once while there is time: a commit that
	// comes meanwhile waits for no more than that.
	idlePiece = 256 << 10
	// zeroPause is how long zeroing stands back while commits come.
	zeroPause = 10 * time.Millisecond
)

// A zeroing is a spare in the making. It belongs to the keeper.
type zeroing struct {
	file   fault.File
	path   string
	at     int64 // all before is zeros, synced
	size   int64
	stored uint64 // the watermark at the last look
}

// prepare makes the next segment, piece by piece, if there is none and the
// bound leaves room for it and for what a commit may need besides.
func (j *Journal) prepare() {
	if j.zero == nil && !j.beginSpare() {
		return
	}
	err := j.zeroSome(j.zero)
	switch {
	case err != nil:
		j.dropZeroing()
		if !errors.Is(err, ErrClosed) {
			j.failSpare(err)
		}
	case j.zero.at == j.zero.size:
		if err := j.zero.file.Close(); err != nil {
			j.dropZeroing()
			j.failSpare(err)
			return
		}
		j.cat.setSpare(&spare{j.zero.path, j.zero.size})
		j.zero = nil
	}
}

// beginSpare opens the file of a new spare, if one is due.
func (j *Journal) beginSpare() bool {
	size := j.segmentBytes
	if j.cat.hasSpare() || time.Now().Before(j.noSpare) || !j.makeWay(2*size) {
		return false
	}
	path := filepath.Join(j.dir, spareName)
	f, err := j.fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		j.failSpare(err)
		return false
	}
	j.cat.setPreparing(size)
	j.zero = &zeroing{file: f, path: path, size: size}
	return true
}

// zeroSome goes on with a spare until it is done, or far enough for now: the
// sync of a piece and that of a commit get in each other's way, so that while
// commits come it is only twice as fast as the segment being written fills up.
func (j *Journal) zeroSome(z *zeroing) error {
	for z.at < z.size {
		piece := int64(idlePiece)
		if z.at <= j.cat.zerosDue(z.size) {
			piece = firstBytes
		} else if stored := j.stored.Load(); stored != z.stored {
			z.stored = stored
			return nil
		}
		to := min(z.size, z.at+piece)
		if err := writeZeros(z.file, z.at, to, j.stop); err != nil {
			return err
		}
		z.at = to
	}
	return nil
}

// zerosDue is how much of a spare should be there by now: all of it when the
// segment being written is half full.
func (c *catalog) zerosDue(size int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.list) == 0 {
		return size
	}
	s := c.list[len(c.list)-1]
	return firstBytes + int64(2*float64(size)*float64(s.end.Load())/float64(max(1, s.alloc)))
}

// resume is when to go on with a spare; never when there is none in the making.
func (j *Journal) resume() <-chan time.Time {
	if j.zero == nil {
		return nil
	}
	return time.After(zeroPause)
}

// dropZeroing gives up the spare in the making, if there is one.
func (j *Journal) dropZeroing() {
	if j.zero == nil {
		return
	}
	_ = j.zero.file.Close() // nothing in it is wanted
	_ = j.fs.Remove(j.zero.path)
	j.zero = nil
	j.cat.setPreparing(0)
}

func (j *Journal) failSpare(err error) {
	j.failed("prepare a segment", err)
	j.noSpare = time.Now().Add(spareRetry) // filling a full disk again and again helps nobody
}
