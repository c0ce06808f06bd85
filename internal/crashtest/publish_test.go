package crashtest_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// A given is a message that the journal gave an offset, and what its publisher
// was promised.
type given struct {
	serial int
	topic  int
	size   int // of the padding
	qos    byte
	packet uint16 // at QoS 2
	noWait bool
	stored bool // the publisher waits for the stored watermark (I1)

	deliveries []journal.Delivery // its places in the queues of durable sessions

	id   message.ID
	life int
	fate fate
	// of is what became of it for each lane; the last is the audit.
	of [len(lanes) + 1]claim
}

// A fate is whether a message is in the log for good.
type fate int

const (
	unsure fate = iota // of this life
	kept
	gone // a crash took it, and nobody had been told that it was stored
)

// A claim is what damage of the disk made of what a lane was owed.
type claim int

const (
	owed    claim = iota
	void          // taken before the lane's stored cursor had it: nobody counts it
	counted       // taken after: it stays counted, though a cursor may leave it out
)

// settled reports whether a lane with this cursor is done with the message.
func (g *given) settled(lane int, c journal.Cursor) bool {
	return g.of[lane] == counted || g.of[lane] == owed && covers(c, g.id.Offset)
}

func (g *given) client() string { return fmt.Sprintf("p%d", g.serial%6) }

// publishers are how the six publishers send: at QoS 0, 1 or 2, and waiting
// for what is stored or not.
var publishers = [...]struct {
	qos    byte
	stored bool
}{{1, true}, {1, true}, {2, true}, {2, true}, {1, false}, {0, false}}

// compose makes n messages of random topics and sizes.
func (w *world) compose(n, size int, random *rand.Rand) []*given {
	list := make([]*given, n)
	for i := range list {
		w.serial++
		p := publishers[w.serial%len(publishers)]
		g := &given{
			serial: w.serial, topic: random.IntN(len(topics)), qos: p.qos, stored: p.stored,
			noWait: p.qos == 0, life: w.life,
		}
		if size > 0 {
			g.size = random.IntN(size)
		}
		if p.qos == 2 {
			g.packet = uint16(w.serial)
		}
		list[i] = g
	}
	return list
}

// rulesOf are the numbers of the rules that want a message.
func (w *world) rulesOf(g *given) []uint32 {
	var numbers []uint32
	for _, r := range topics[g.topic].rules {
		numbers = append(numbers, w.numbers[r])
	}
	return numbers
}

func (w *world) entry(g *given) journal.Entry {
	m := &message.Message{
		Client: g.client(), User: "u", Topic: topics[g.topic].name, QoS: g.qos, Retain: g.serial%7 == 0,
		Payload: payload(g.serial, g.size),
	}
	if g.serial%5 == 0 {
		m.Properties.UserProperties = []message.UserProperty{{Name: "n", Value: fmt.Sprint(g.serial)}}
	}
	return journal.Entry{Message: m, Rules: w.rulesOf(g), PacketID: g.packet, NoWait: g.noWait, Deliveries: g.deliveries}
}

// send appends messages in one call and reports whether the journal took them.
func (w *world) send(list []*given) bool {
	entries := make([]journal.Entry, len(list))
	for i, g := range list {
		entries[i] = w.entry(g)
	}
	first, err := w.append(entries)
	if errors.Is(err, journal.ErrFull) {
		return false
	}
	if err != nil {
		w.fail("append: %v", err)
		return false
	}
	for i, g := range list {
		g.id = entries[i].Message.ID
		if g.id.Offset != first+uint64(i) || g.id.Epoch != w.journal.Epoch() || g.id.Journal != w.journal.ID() {
			w.fail("C2: message %d has id %v, offset %d of epoch %d was given out", g.serial, g.id, first+uint64(i), w.journal.Epoch())
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range list {
		if other := w.byID[g.id]; other != nil {
			w.failLocked("C2: id %v is that of messages %d and %d", g.id, other.serial, g.serial)
		}
		w.byID[g.id] = g
		w.bySerial[g.serial] = g
		w.given = append(w.given, g)
	}
	return true
}

func (w *world) publishFew(s step) {
	random := s.random()
	list := w.compose(1+s.N, []int{0, 60, 200, 3000}[random.IntN(4)], random)
	for _, g := range list {
		w.address(g, random)
	}
	w.note("publish %d: %s", len(list), w.outcome(list, w.send(list)))
}

// publishBurst has several publishers append at a time.
func (w *world) publishBurst(s step) {
	random := s.random()
	var all []*given
	var wg sync.WaitGroup
	for range 2 + s.Who {
		list := w.compose(1+s.N/2, 100, random)
		all = append(all, list...)
		wg.Go(func() { w.send(list) })
	}
	wg.Wait()
	w.note("burst of %d publishers: messages %d-%d", 2+s.Who, all[0].serial, all[len(all)-1].serial)
}

// publishLarge fills a segment, so that the journal rolls.
func (w *world) publishLarge(s step) {
	random := s.random()
	list := w.compose(3+s.N, int(w.script.Segment/3), random)
	w.note("roll, publish %d: %s", len(list), w.outcome(list, w.send(list)))
}

func (w *world) outcome(list []*given, ok bool) string {
	if !ok {
		return "refused"
	}
	return fmt.Sprintf("messages %d-%d at %d", list[0].serial, list[len(list)-1].serial, list[0].id.Offset)
}

func (s step) random() *rand.Rand { return rand.New(rand.NewPCG(s.Seed, uint64(s.Kind))) }
