package deadletter

import "hash/maphash"

// maxRecent is how many of the newest letters found at opening are known by
// id: more than a lane writes again after a crash (C15).
const maxRecent = 1 << 17

// recent knows the newest letters there were when the store was opened. A lane
// that crashed before its cursor said so writes them once more, and they must
// not be there twice.
type recent struct {
	seed maphash.Seed
	ring []recentLetter
	next int
	seqs map[uint64]uint64 // number by the id's hash, once opening is over
}

type recentLetter struct{ hash, seq uint64 }

func newRecent() *recent { return &recent{seed: maphash.MakeSeed()} }

func (r *recent) note(id []byte, seq uint64) {
	if r == nil {
		return
	}
	l := recentLetter{maphash.Bytes(r.seed, id), seq}
	if len(r.ring) < maxRecent {
		r.ring = append(r.ring, l)
		return
	}
	r.ring[r.next] = l
	r.next = (r.next + 1) % maxRecent
}

// settle ends the opening.
func (r *recent) settle() {
	r.seqs = make(map[uint64]uint64, len(r.ring))
	for i := range r.ring {
		l := r.ring[(r.next+i)%len(r.ring)]
		r.seqs[l.hash] = l.seq
	}
	r.ring = nil
}

// find returns the number of a letter that probably has the id.
func (r *recent) find(id string) (seq uint64, ok bool) {
	if len(r.seqs) == 0 {
		return 0, false
	}
	seq, ok = r.seqs[maphash.String(r.seed, id)]
	return seq, ok
}
