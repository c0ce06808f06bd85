package journal

import (
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
	defer j.dropZeroing()
	for look := true; ; {
		if look {
			j.removeSettled()
		}
		j.prepare()
		j.checkRoom()
		look = true
		select {
		case <-j.stop:
			return
		case <-j.kick:
		case <-j.resume():
			look = false
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
