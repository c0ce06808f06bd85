package deadletter

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/fault"
)

// An entry is a letter's place in its segment: 16 bytes for each letter there is.
type entry struct {
	delta uint32 // its number, from the segment's first
	at    uint32 // where its line begins
	size  uint32 // of the line, the newline included
	group uint32 // index of its group
}

// A span is a line's place in a file.
type span struct {
	at   int64
	size int64 // the newline included
}

// A segment is one file of letters, with what became of them.
type segment struct {
	part  *part
	first uint64 // numbers in it are at or above
	gen   uint32

	size    int64 // confirmed bytes of the letters' file
	changes int64 // and of the changes' file
	entries []entry
	gone    []uint64        // a bit for each entry: removed
	updates map[uint32]span // by index in entries: the line of changes that stands for older attempts

	live      int   // letters not removed
	liveBytes int64 // their lines, and those of updates

	// file stays open for a reader that has no say over the folder; nil: open it anew.
	file, changesFile fault.File
	// unreadable: the file could not be read; nobody touches it.
	unreadable bool
}

func (g *segment) name() string {
	return fmt.Sprintf("%s-%020d-%d", g.part.name, g.first, g.gen)
}

func (g *segment) path() string { return filepath.Join(g.part.dir, g.name()+lettersSuffix) }

func (g *segment) changesPath() string { return filepath.Join(g.part.dir, g.name()+changesSuffix) }

// The ends of the names of files.
const (
	lettersSuffix = ".jsonl"
	changesSuffix = ".changes"
	stagedSuffix  = ".tmp" // being written; worth nothing after a crash
)

// parseName reads `<part>-<first>-<generation>`.
func parseName(name string) (part string, first uint64, gen uint32, ok bool) {
	name, generation := cutLast(name, "-")
	part, number := cutLast(name, "-")
	first, err := strconv.ParseUint(number, 10, 64)
	n, err2 := strconv.ParseUint(generation, 10, 32)
	ok = err == nil && err2 == nil && len(number) == 20 && first > 0 && (part == refusedName || part == ruleErrorsName)
	return part, first, uint32(n), ok
}

func cutLast(s, sep string) (before, after string) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i+len(sep):]
}

// last returns the highest number in the segment, first-1 for none.
func (g *segment) last() uint64 {
	if n := len(g.entries); n > 0 {
		return g.first + uint64(g.entries[n-1].delta)
	}
	return g.first - 1
}

func (g *segment) seq(i int) uint64 { return g.first + uint64(g.entries[i].delta) }

// from returns the index of the first entry numbered seq or higher.
func (g *segment) from(seq uint64) int {
	i, _ := slices.BinarySearchFunc(g.entries, seq, func(e entry, seq uint64) int {
		switch at := g.first + uint64(e.delta); {
		case at < seq:
			return -1
		case at > seq:
			return 1
		}
		return 0
	})
	return i
}

// find returns the index of letter seq, if it is there and not removed.
func (g *segment) find(seq uint64) (int, bool) {
	i := g.from(seq)
	return i, i < len(g.entries) && g.seq(i) == seq && !g.isGone(i)
}

func (g *segment) isGone(i int) bool { return g.gone[i/64]&(1<<(i%64)) != 0 }

// add enters a letter at the end.
func (g *segment) add(seq uint64, at, size int64, group uint32) {
	if len(g.entries)%64 == 0 {
		g.gone = append(g.gone, 0)
	}
	g.entries = append(g.entries, entry{uint32(seq - g.first), uint32(at), uint32(size), group})
	g.live++
	g.liveBytes += size
	g.part.groups.count(group, 1, size)
}

// drop marks a letter as removed.
func (g *segment) drop(i int) {
	g.gone[i/64] |= 1 << (i % 64)
	e := g.entries[i]
	g.live--
	g.liveBytes -= int64(e.size) + g.updates[uint32(i)].size
	g.part.groups.count(e.group, -1, -int64(e.size))
	delete(g.updates, uint32(i))
}

// update notes the line of changes that stands for a letter's older attempts.
func (g *segment) update(i int, s span) {
	if g.updates == nil {
		g.updates = make(map[uint32]span)
	}
	g.liveBytes += s.size - g.updates[uint32(i)].size
	g.updates[uint32(i)] = s
}

// forget takes all letters out of the figures: the segment goes.
func (g *segment) forget() {
	for i := range g.entries {
		if !g.isGone(i) {
			g.drop(i)
		}
	}
}

// bytes is what the segment takes on disk.
func (g *segment) bytes() int64 { return g.size + g.changes }

// halfDead reports whether writing it anew would give back at least half.
func (g *segment) halfDead() bool { return !g.unreadable && 2*g.liveBytes < g.bytes() }

// full reports whether letters up to number next no longer fit.
func (g *segment) full(limit int64, next uint64) bool {
	return g.size >= limit || next-g.first >= 1<<31 || g.size >= 1<<31
}
