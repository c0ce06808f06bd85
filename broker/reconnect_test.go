package broker_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/broker/packet"
)

// keeper is a subscriber with a session that outlives its connections, which
// end in the middle of things.
type keeper struct {
	qos  byte
	r    *rand.Rand
	got  []int           // payloads, in the order they were accepted
	held map[uint16]bool // QoS 2: received and not released
	last int
}

// visit connects, takes part of what there is, and goes without a word. It
// reports whether it has seen the message called last.
func (k *keeper) visit(t *testing.T, s *broker.Server) bool {
	t.Helper()
	nc := dialTCP(t, s, 0)
	defer nc.Close()
	l := &load{nc: nc, r: newReader(nc)}
	connect := packet.Connect{ClientID: []byte("keeper")}
	sub := packet.Subscribe{ID: 1, Subscriptions: packet.AppendSubscription(nil, packet.Subscription{Filter: []byte("t"), QoS: k.qos})}
	if _, err := nc.Write(sub.AppendTo(connect.AppendTo(nil, packet.V311), packet.V311)); err != nil {
		t.Fatal(err)
	}
	_ = nc.SetReadDeadline(time.Now().Add(500 * time.Millisecond)) // what is left waits for a lost acknowledgement
	for range 1 + k.r.IntN(2000) {
		first, body, err := l.next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		} else if err != nil {
			t.Fatalf("after %d messages: %v", len(k.got), err)
		}
		out := k.take(first, body)
		if k.r.IntN(50) == 0 {
			continue // the acknowledgement is lost
		}
		if _, err := nc.Write(out); err != nil {
			return false
		}
		if n := len(k.got); n > 0 && k.got[n-1] == k.last && len(k.held) == 0 {
			return true
		}
	}
	return false
}

// take notes a packet and returns the answer.
func (k *keeper) take(first byte, body []byte) []byte {
	switch packet.TypeOf(first) {
	case packet.TypePublish:
		at := 2 + int(binary.BigEndian.Uint16(body))
		id := binary.BigEndian.Uint16(body[at:])
		n, _ := strconv.Atoi(string(body[at+2:]))
		if k.qos == 1 {
			if first&8 == 0 || len(k.got) == 0 || n > k.got[len(k.got)-1] {
				k.got = append(k.got, n) // a repeated one says so
			}
			return packet.AppendAck(nil, packet.TypePuback, id)
		}
		if !k.held[id] {
			k.held[id] = true
			k.got = append(k.got, n)
		}
		return packet.AppendAck(nil, packet.TypePubrec, id)
	case packet.TypePubrel:
		id := binary.BigEndian.Uint16(body)
		delete(k.held, id)
		return packet.AppendAck(nil, packet.TypePubcomp, id)
	}
	return nil
}

// However often its connection breaks, a session gets every message, in order,
// and at QoS 2 exactly once [MQTT-4.3.3-13], [MQTT-4.6.0-1].
func TestBreakingConnections(t *testing.T) {
	for qos := byte(1); qos <= 2; qos++ {
		t.Run(fmt.Sprint(qos), func(t *testing.T) {
			s := serve(t, broker.Options{Listeners: []broker.ListenerConfig{local()}})
			const n = 10_000
			k := &keeper{qos: qos, r: rand.New(rand.NewPCG(uint64(qos), 7)), held: map[uint16]bool{}, last: n}
			k.visit1(t, s)
			p := newLoad(t, s, "", 0)
			defer p.nc.Close()
			sent := make(chan error, 1)
			go func() { sent <- p.count("t", qos, n) }()
			for done := false; !done; {
				done = k.visit(t, s)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			var want []int
			for i := range n {
				want = append(want, i+1)
			}
			if diff := cmp.Diff(want, k.got); diff != "" {
				t.Errorf("%d messages came: %.2000s", len(k.got), diff)
			}
		})
	}
}

// visit1 makes the session and leaves.
func (k *keeper) visit1(t *testing.T, s *broker.Server) {
	t.Helper()
	p := hello(t, dialTCP(t, s, 0), &packet.Connect{ClientID: []byte("keeper")}, packet.V311)
	p.want("CONNACK Success")
	p.subscribe("t", k.qos)
	p.send(&packet.Disconnect{})
	p.want("closed")
}

// count publishes the numbers from 1 to n, each after the one before was
// acknowledged in full or a few of them together.
func (l *load) count(topic string, qos byte, n int) error {
	tokens := make(chan struct{}, benchWindow)
	done := make(chan error, 1)
	mu := new(sync.Mutex)
	go func() { done <- l.takeAcks(n, tokens, mu) }()
	for i := 1; i <= n; i++ {
		tokens <- struct{}{}
		b := pub(topic, qos, uint16(i%60_000+1), strconv.Itoa(i)).AppendTo(nil, packet.V311)
		mu.Lock()
		_, err := l.nc.Write(b)
		mu.Unlock()
		if err != nil {
			return err
		}
	}
	return <-done
}
