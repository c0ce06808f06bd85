package broker_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// wantAll is a journal, and a rule that wants everything stored.
type wantAll struct{ *journal.Journal }

func (wantAll) Want(_ string, dst []uint32) (rules []uint32, ack message.Ack, record bool) {
	return append(dst, 1), message.Ack{Level: message.AckStored}, false
}

func (w wantAll) Append(entries []journal.Entry, _ uint64) (uint64, error) {
	return w.Journal.Append(entries)
}

func (wantAll) Generation() uint64 { return 0 }

func (wantAll) Await(offset uint64, _ []uint32, done func(uint64, bool)) { done(offset, true) }

// Clients come, go, take each other's sessions over and talk nonsense, all at
// once; then the server still serves, and nothing is left behind.
func TestChurn(t *testing.T) {
	j, err := journal.Open(journal.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}()
	t.Run("clients", func(t *testing.T) {
		s := serve(t, broker.Options{Listeners: []broker.ListenerConfig{local()}, Intake: wantAll{j}, QueueMessages: 100})
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), 1))
				for range 25 {
					live(s, r)
				}
			})
		}
		wg.Wait()
		p := hello(t, dialTCP(t, s, 0), &packet.Connect{CleanStart: true}, packet.V5)
		p.want("CONNACK Success")
		p.send(pub("alive", 1, 1, "x"))
		if got := p.next(); got != "PUBACK 1" {
			t.Errorf("got %s", got)
		}
	})
}

// live is the life of one connection.
func live(s *broker.Server, r *rand.Rand) {
	nc, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		return
	}
	defer nc.Close()
	v := []packet.Version{packet.V31, packet.V311, packet.V5}[r.IntN(3)]
	c := packet.Connect{ClientID: fmt.Appendf(nil, "c%d", r.IntN(8)), CleanStart: r.IntN(3) == 0}
	expiry(uint32(r.IntN(3)))(&c)
	if r.IntN(2) == 0 {
		withWill("w", "x", uint32(r.IntN(2)))(&c)
	}
	drained, reads := make(chan struct{}), 1+r.IntN(64)
	go func() {
		defer close(drained)
		buf := make([]byte, 4096)
		for range reads {
			_ = nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if _, err := nc.Read(buf); err != nil {
				return
			}
		}
	}()
	out := c.AppendTo(nil, v)
	for range r.IntN(60) {
		out = appendRandom(out, rand.New(rand.NewPCG(r.Uint64(), 2)), v)
	}
	for len(out) > 0 {
		n := min(len(out), 1+r.IntN(2000))
		if _, err := nc.Write(out[:n]); err != nil {
			break
		}
		out = out[n:]
	}
	<-drained
}

// appendRandom appends one packet, now and then a broken one.
func appendRandom(b []byte, r *rand.Rand, v packet.Version) []byte {
	id, topic := uint16(1+r.IntN(20)), fmt.Sprintf("%c/%d", "tttsdwr"[r.IntN(7)], r.IntN(3))
	switch r.IntN(12) {
	case 0:
		f := []string{"#", "t/+", "t/1", "$share/g/t/#", "w"}[r.IntN(5)]
		return (&packet.Subscribe{ID: id, Subscriptions: packet.AppendSubscription(nil, packet.Subscription{Filter: []byte(f), QoS: byte(r.IntN(3))})}).AppendTo(b, v)
	case 1:
		return (&packet.Unsubscribe{ID: id, Filters: packet.AppendFilter(nil, "#")}).AppendTo(b, v)
	case 2:
		return packet.AppendAck(b, packet.Type(4+r.IntN(4)), id)
	case 3:
		return (&packet.Pingreq{}).AppendTo(b, v)
	case 4:
		if r.IntN(20) == 0 {
			return append(b, 0)
		}
		return b
	default:
		m := pub(topic, byte(r.IntN(3)), id, fmt.Sprint(r.Uint64()))
		m.Retain, m.Dup = r.IntN(5) == 0, m.QoS > 0 && r.IntN(4) == 0
		return m.AppendTo(b, v)
	}
}

// Whatever bytes a client sends, the server neither panics nor hangs.
func FuzzServer(f *testing.F) {
	for v := packet.V31; v <= packet.V5; v++ {
		r := rand.New(rand.NewPCG(1, uint64(v)))
		for range 20 {
			var b []byte
			for range 10 {
				b = appendRandom(b, r, v)
			}
			f.Add(byte(v), b, byte(7))
		}
	}
	f.Fuzz(func(t *testing.T, version byte, b []byte, cut byte) {
		synctest.Test(t, func(t *testing.T) {
			l := newFakeLog()
			h := newHouse(t, broker.Options{MaxPacket: 1000, ReceiveMaximum: 5, Intake: l})
			p := h.connect(packet.V31+packet.Version(version%3), "a", resume)
			for len(b) > 0 {
				n := min(len(b), 1+int(cut))
				if _, err := p.nc.Write(b[:n]); err != nil {
					break
				}
				b = b[n:]
				l.store(l.Stored() + 1)
				if l.Stored()%3 == 0 {
					l.deliverAll(l.Stored()%2 == 0)
				}
			}
			synctest.Wait()
			l.store(1 << 60)
			l.deliverAll(true)
			p.close()
			h.stop()
		})
	})
}
