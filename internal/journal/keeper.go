package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// spareName is the file that becomes the next segment. It is not durable
// before it is renamed, and thrown away when the journal opens.
const spareName = "next.spare"

// measureTime is how often the folder is measured for what others keep in it.
const measureTime = time.Second

// keepLoop prepares segments and removes those of which nobody is owed
// anything.
func (j *Journal) keepLoop() {
	defer close(j.kept)
	tick := time.NewTicker(measureTime)
	defer tick.Stop()
	for {
		j.removeSettled()
		j.prepare()
		j.checkRoom()
		select {
		case <-j.stop:
			return
		case <-j.kick:
		case <-tick.C:
			j.measureFolder()
		}
	}
}

// kickKeeper has the keeper look again.
func (j *Journal) kickKeeper() {
	select {
	case j.kick <- struct{}{}:
	default:
	}
}

// prepare makes the next segment if there is none and the bound leaves room
// for it and for what a commit may need besides.
func (j *Journal) prepare() {
	size := j.segmentBytes
	if j.cat.hasSpare() || time.Now().Before(j.noSpare) || !j.makeWay(2*size) {
		return
	}
	j.cat.setPreparing(size)
	defer j.cat.setPreparing(0)
	path := filepath.Join(j.dir, spareName)
	if err := j.zeroFile(path, size); err != nil {
		_ = j.fs.Remove(path)
		if !errors.Is(err, ErrClosed) {
			j.failed("prepare a segment", err)
			j.noSpare = time.Now().Add(spareRetry) // filling a full disk again and again helps nobody
		}
		return
	}
	j.cat.setSpare(&spare{path, size})
}

// spareRetry is how long the keeper waits after it could not make a spare;
// meanwhile segments are made when they are due.
const spareRetry = 10 * time.Second

// zeroFile makes a file of zeros, unless the journal closes.
func (j *Journal) zeroFile(path string, size int64) error {
	f, err := j.fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(writeZeros(f, 0, size, j.stop), f.Close())
}

func (c *catalog) setPreparing(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.preparing = n
}

func (c *catalog) setSpare(s *spare) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spare, c.preparing = s, 0
}

// measureFolder counts what the folder holds beside the segments: dead
// letters, side files, whatever somebody put there. All of it counts (C7).
func (j *Journal) measureFolder() {
	list, err := j.fs.ReadDir(j.dir)
	if err != nil {
		j.failed("measure the folder", err)
		return
	}
	var n int64
	for _, e := range list {
		if e.IsDir() {
			n += j.subfolder(e.Name())
			continue
		}
		if e.Name() == spareName || e.Name() == asideName || j.cat.owns(e.Name()) {
			continue
		}
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
	}
	j.cat.mu.Lock()
	grown := n - j.cat.foreign
	j.cat.foreign = n
	j.cat.mu.Unlock()
	j.used.Add(grown)
}

// owns reports whether a file is a segment that is counted as one.
func (c *catalog) owns(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	named := func(s *segment) bool { return s.name() == name }
	return c.beginning == name || c.naming == name || slices.ContainsFunc(c.list, named) || slices.ContainsFunc(c.dying, named)
}

// begin notes the file that is becoming a segment, "" for none.
func (c *catalog) begin(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beginning = name
}
