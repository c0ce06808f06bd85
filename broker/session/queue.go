package session

// queue is a ring of deliveries that wait to be sent, first in, first out.
type queue struct {
	ring []Delivery // length is 0 or a power of two
	head int
	n    int
}

// Rings of up to smallRing deliveries stay for reuse when they become empty.
const smallRing = 1024

func (q *queue) push(d Delivery) {
	if q.n == len(q.ring) {
		ring := make([]Delivery, max(8, 2*len(q.ring)))
		k := copy(ring, q.ring[q.head:])
		copy(ring[k:], q.ring[:q.head])
		q.ring, q.head = ring, 0
	}
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = d
	q.n++
}

// front returns the next delivery; the queue is not empty.
func (q *queue) front() *Delivery { return &q.ring[q.head] }

func (q *queue) drop() {
	q.ring[q.head] = Delivery{}
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	if q.n == 0 && len(q.ring) > smallRing {
		*q = queue{}
	}
}

func (q *queue) each(f func(*Delivery)) {
	for i := range q.n {
		f(&q.ring[(q.head+i)&(len(q.ring)-1)])
	}
}
