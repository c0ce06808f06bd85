package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/penstock/penstock/internal/fault"
)

// damage is what was found bad in this run, so that it is told and counted
// once however many readers meet it.
type damage struct {
	mu    sync.Mutex
	seen  map[string]bool
	count uint64
	bytes int64
}

// note reports whether a place is new. A torn tail is not damage: it is told
// and not counted.
func (d *damage) note(place string, size int64, counts bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen[place] {
		return false
	}
	d.seen[place] = true
	if counts {
		d.count++
		d.bytes += size
	}
	return true
}

func (d *damage) totals() (count uint64, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count, d.bytes
}

// Why a region is set aside: the suffixes of side files.
const (
	asideDamage = "damaged"
	asideTail   = "tail"
)

// setAside copies a bad region of a segment into a side file, counts and logs
// it; the segment keeps it (I4). Offset is the first one that may be missing.
func (j *Journal) setAside(s *segment, from, to int64, offset uint64, why string) {
	name := fmt.Sprintf("%s.%d.%s", s.name(), from, why)
	counts := why != asideTail
	if !j.damage.note(name, to-from, counts) {
		return
	}
	err := j.copyAside(s, from, to, filepath.Join(j.dir, name))
	attrs := []any{slog.String("file", name), slog.Uint64("offset", offset), slog.Int64("count", to-from), slog.Any("err", err)}
	if counts {
		j.log.Error("journal damage set aside", attrs...)
		return
	}
	j.log.Warn("torn journal tail set aside", attrs...)
}

// copyAside writes the region, in pieces, unless an earlier run did or the
// bound leaves no room.
func (j *Journal) copyAside(s *segment, from, to int64, path string) error {
	if _, err := j.fs.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if j.cat.allocated()+to-from > j.maxBytes {
		return errNoRoom
	}
	src, err := j.fs.OpenFile(s.path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := j.fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = copyRegion(dst, src, from, to)
	j.cat.addForeign(to - from)
	j.used.Add(to - from)
	return errors.Join(err, dst.Close(), j.fs.SyncDir(j.dir))
}

// addForeign counts a side file.
func (c *catalog) addForeign(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.foreign += n
}

func copyRegion(dst, src fault.File, from, to int64) error {
	buf := make([]byte, min(readBytes, to-from))
	for at := from; at < to; at += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), to-at)]
		if err := readFull(src, b, at); err != nil {
			return err
		}
		if _, err := dst.WriteAt(b, at-from); err != nil {
			return err
		}
	}
	return dst.Sync()
}
