package pipelines

// deadlines is a heap of shards by deadline; each knows its place.
type deadlines []*shard

func (d deadlines) before(i, j int) bool { return d[i].deadline.Before(d[j].deadline) }

func (d deadlines) swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].heapAt, d[j].heapAt = i, j
}

func (d *deadlines) push(s *shard) {
	s.heapAt = len(*d)
	*d = append(*d, s)
	d.up(s.heapAt)
}

func (d *deadlines) remove(s *shard) {
	last := len(*d) - 1
	at := s.heapAt
	d.swap(at, last)
	(*d)[last] = nil
	*d = (*d)[:last]
	if at < last {
		d.down(at)
		d.up(at)
	}
}

func (d deadlines) up(i int) {
	for i > 0 && d.before(i, (i-1)/2) {
		d.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (d deadlines) down(i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(d); c++ {
			if d.before(c, least) {
				least = c
			}
		}
		if least == i {
			return
		}
		d.swap(i, least)
		i = least
	}
}
