package fault

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Crash returns the file system as a machine may find it after the power
// failed now; m itself goes on. What was synced is there. Of what was not,
// the seed decides: each sector written since holds its old content or any it
// was given since, in no order; a file has its old size or its new one; of
// the changes of a folder since its last SyncDir the first few are kept.
func (m *Mem) Crash(seed uint64) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &crash{rand: rand.New(rand.NewPCG(seed, 0)), kept: map[*inode]*inode{}}
	out := NewMem()
	for _, name := range slices.Sorted(maps.Keys(m.dirs)) {
		out.dirs[name] = c.dir(m.dirs[name])
	}
	return out
}

// Clone returns the file system as a process finds it that is started after
// this one was killed, while the machine ran on: all that was written is
// there, and no more of it is durable than before. m itself goes on.
func (m *Mem) Clone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := NewMem()
	kept := map[*inode]*inode{}
	for name, d := range m.dirs {
		c := &memDir{live: cloneNames(d.live, kept), durable: cloneNames(d.durable, kept)}
		for _, change := range d.pending {
			c.pending = append(c.pending, cloneNames(change, kept))
		}
		out.dirs[name] = c
	}
	return out
}

func cloneNames(names map[string]*inode, kept map[*inode]*inode) map[string]*inode {
	out := make(map[string]*inode, len(names))
	for name, n := range names {
		out[name] = n.clone(kept)
	}
	return out
}

// clone copies a file once, whatever names it has; nil stays nil.
func (n *inode) clone(kept map[*inode]*inode) *inode {
	if n == nil || kept[n] != nil {
		return kept[n]
	}
	c := &inode{live: slices.Clone(n.live), synced: slices.Clone(n.synced), dirty: make(map[int][][]byte, len(n.dirty))}
	for s, versions := range n.dirty {
		c.dirty[s] = slices.Clone(versions)
	}
	kept[n] = c
	return c
}

// crash draws what one power failure leaves.
type crash struct {
	rand *rand.Rand
	kept map[*inode]*inode
}

func (c *crash) dir(d *memDir) *memDir {
	names := maps.Clone(d.durable)
	for _, change := range d.pending[:c.some(len(d.pending))] {
		change.apply(names)
	}
	out := &memDir{live: map[string]*inode{}}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		out.live[name] = c.inode(names[name])
	}
	out.durable = maps.Clone(out.live)
	return out
}

// some returns a number from 0 to n, the two ends often.
func (c *crash) some(n int) int {
	switch c.rand.IntN(3) {
	case 0:
		return 0
	case 1:
		return n
	default:
		return c.rand.IntN(n + 1)
	}
}

func (c *crash) inode(n *inode) *inode {
	if k := c.kept[n]; k != nil {
		return k
	}
	k := newInode()
	c.kept[n] = k
	k.live = append([]byte(nil), n.synced...)
	mode := c.rand.IntN(3) // all old, all new, or each as it comes
	for _, s := range slices.Sorted(maps.Keys(n.dirty)) {
		if v := c.version(n.dirty[s], mode); v != nil {
			k.grow(s*SectorBytes + len(v))
			copy(k.live[s*SectorBytes:], v)
		}
	}
	if size := len(n.live); mode == 1 || mode == 2 && c.rand.IntN(2) == 0 {
		k.truncate(size)
	} else {
		k.truncate(max(len(n.synced), min(len(k.live), size)))
	}
	k.synced = append([]byte(nil), k.live...)
	return k
}

// version picks what a sector holds after the crash; nil is its old content.
func (c *crash) version(v [][]byte, mode int) []byte {
	switch mode {
	case 0:
		return nil
	case 1:
		return v[len(v)-1]
	}
	i := c.rand.IntN(len(v) + 1)
	if i == len(v) {
		return nil
	}
	return v[i]
}
