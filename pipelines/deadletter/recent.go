package deadletter

import "hash/maphash"

// maxRecent is how many of the newest letters are known by id: more than a
// lane writes again after a crash (C15).
const maxRecent = 1 << 17

// recent knows the newest letters by id. A lane that ended before its cursor
// covered a letter writes it once more, and it must not be there twice.
type recent struct {
	seed maphash.Seed
	ring []recentLetter
	next int               // in a full ring: the oldest
	seqs map[uint64]uint64 // number by the id's hash
}

type recentLetter struct{ hash, seq uint64 }

func newRecent() *recent {
	return &recent{seed: maphash.MakeSeed(), seqs: make(map[uint64]uint64)}
}

func (r *recent) note(id []byte, seq uint64) {
	if r == nil { // a view adds nothing
		return
	}
	l := recentLetter{maphash.Bytes(r.seed, id), seq}
	r.seqs[l.hash] = seq
	if len(r.ring) < maxRecent {
		r.ring = append(r.ring, l)
		return
	}
	old := r.ring[r.next]
	if r.seqs[old.hash] == old.seq {
		delete(r.seqs, old.hash)
	}
	r.ring[r.next] = l
	r.next = (r.next + 1) % maxRecent
}

// find returns the number of a letter that probably has the id.
func (r *recent) find(id string) (seq uint64, ok bool) {
	seq, ok = r.seqs[maphash.String(r.seed, id)]
	return seq, ok
}
