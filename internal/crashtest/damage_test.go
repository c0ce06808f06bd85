package crashtest_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
)

// A damage is what a disk did to one file between two lives.
type damage struct {
	what string
	cut  bool         // the end of the file is gone
	took map[int]bool // serials of messages in the region
}

func (d *damage) String() string { return d.what }

// frameBefore and frameAfter bound what lies between a frame's ends and its
// payload: head, sections, padding.
const (
	frameBefore = 200
	frameAfter  = 8
)

var (
	beginnings = regexp.MustCompile(`#(\d+)#`)
	endings    = regexp.MustCompile(`#/(\d+)#`)
)

// trace returns the highest offset of a message of which the disk has any
// trace, torn tails and files set aside included.
func (w *world) trace() uint64 {
	high := uint64(0)
	list, _ := w.mem.ReadDir(folder)
	for _, e := range list {
		b := w.content(folder + "/" + e.Name())
		for _, m := range beginnings.FindAllSubmatch(b, -1) {
			serial, _ := strconv.Atoi(string(m[1]))
			if g := w.bySerial[serial]; g != nil {
				high = max(high, g.id.Offset)
			}
		}
	}
	return high
}

// harm damages a segment: some bytes of it, or its end. It takes one that is
// sealed, so that nothing in it is a torn tail (C3): of the last one a
// journal can know what was synced only when it was closed in order.
func (w *world) harm() {
	seed := w.damageNext
	w.damageNext = 0
	names := w.segments()
	if !w.clean {
		names = names[:max(0, len(names)-1)]
	}
	if seed == 0 || !w.script.Harm || w.life < 4 || len(names) == 0 {
		return
	}
	random := rand.New(rand.NewPCG(seed, uint64(w.life))) // the same flips twice would mend
	i := random.IntN(len(names))
	b := w.content(names[i])
	var from, to int
	blocks := blocksOf(b)
	cut := i < len(names)-1 && len(blocks) > 2 && random.IntN(4) == 0
	switch {
	case cut:
		from, to = blocks[2]+random.IntN(len(b)-blocks[2]), len(b)
	case len(b) > 200:
		from = random.IntN(len(b) - 200)
		to = from + 1 + random.IntN(32)
	}
	if from == to {
		return
	}
	w.damage = &damage{what: fmt.Sprintf("%s, bytes %d-%d of %d, cut %t", names[i], from, to, len(b), cut), cut: cut, took: within(b, from, to)}
	w.note("damage: %s", w.damage.what)
	w.tally.damages++
	w.overwrite(names[i], b, from, to, cut, random)
}

func (w *world) overwrite(name string, b []byte, from, to int, cut bool, random *rand.Rand) {
	f, err := w.mem.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		w.fail("BUG: %v", err)
		return
	}
	defer f.Close()
	if cut {
		_ = f.Truncate(int64(from))
	} else {
		for i := from; i < to; i++ {
			b[i] ^= byte(1 + random.IntN(255))
		}
		_, _ = f.WriteAt(b[from:to], int64(from))
	}
	_ = f.Sync()
}

// blocksOf finds the blocks of a segment by their magic.
func blocksOf(b []byte) []int {
	var at []int
	for i := 0; ; i++ {
		k := bytes.Index(b[i:], []byte("PBLK"))
		if k < 0 {
			return at
		}
		i += k
		at = append(at, i)
	}
}

// within returns the serials of the messages whose frames may have bytes in a
// region.
func within(b []byte, from, to int) map[int]bool {
	took := map[int]bool{}
	begin := map[int]int{}
	for _, m := range beginnings.FindAllSubmatchIndex(b, -1) {
		serial, _ := strconv.Atoi(string(b[m[2]:m[3]]))
		begin[serial] = m[0]
		if m[0]-frameBefore < to && m[1] > from {
			took[serial] = true
		}
	}
	for _, m := range endings.FindAllSubmatchIndex(b, -1) {
		serial, _ := strconv.Atoi(string(b[m[2]:m[3]]))
		if start, ok := begin[serial]; ok && start-frameBefore < to && m[1]+frameAfter > from {
			took[serial] = true
		}
	}
	return took
}
