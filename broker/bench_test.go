package broker_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// load is a raw client that costs little beside the server.
type load struct {
	nc net.Conn
	r  *bufio.Reader
}

func newLoad(b testing.TB, s *broker.Server, filter string, qos byte) *load {
	b.Helper()
	return dialLoad(b, s.Addrs()[0].String(), filter, qos)
}

func dialLoad(b testing.TB, addr, filter string, qos byte) *load {
	b.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	l := &load{nc: nc, r: bufio.NewReaderSize(nc, 32<<10)}
	out := (&packet.Connect{CleanStart: true, ClientID: []byte(nc.LocalAddr().String())}).AppendTo(nil, packet.V311)
	acks := 4
	if filter != "" {
		sub := packet.Subscribe{ID: 1, Subscriptions: packet.AppendSubscription(nil, packet.Subscription{Filter: []byte(filter), QoS: qos})}
		out = sub.AppendTo(out, packet.V311)
		acks += 5
	}
	if _, err := nc.Write(out); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(l.r, make([]byte, acks)); err != nil {
		b.Fatal(err)
	}
	return l
}

// next reads a packet; body holds only until the next one.
func (l *load) next() (first byte, body []byte, err error) {
	head, err := l.r.Peek(2)
	if err != nil {
		return 0, nil, err
	}
	first, n, k := head[0], int(head[1]&0x7f), 2
	if head[1] >= 0x80 {
		if head, err = l.r.Peek(3); err != nil {
			return 0, nil, err
		}
		n, k = n|int(head[2])<<7, 3
	}
	all, err := l.r.Peek(k + n)
	if err != nil {
		return 0, nil, err
	}
	_, err = l.r.Discard(k + n)
	return first, all[k:], err
}

// receive reads messages until there were n, answering them in batches. It
// returns how many came, which is less after a read deadline.
func (l *load) receive(n int) (got int, err error) {
	var out []byte
	for got < n {
		if len(out) > 0 && l.r.Buffered() == 0 || len(out) > 16<<10 {
			if _, err := l.nc.Write(out); err != nil {
				return got, err
			}
			out = out[:0]
		}
		first, body, err := l.next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return got, nil
		} else if err != nil {
			return got, err
		}
		switch packet.TypeOf(first) {
		case packet.TypePublish:
			got++
			at := 2 + int(binary.BigEndian.Uint16(body))
			switch first >> 1 & 3 {
			case 1:
				out = packet.AppendAck(out, packet.TypePuback, binary.BigEndian.Uint16(body[at:]))
			case 2:
				out = packet.AppendAck(out, packet.TypePubrec, binary.BigEndian.Uint16(body[at:]))
			}
		case packet.TypePubrel:
			out = packet.AppendAck(out, packet.TypePubcomp, binary.BigEndian.Uint16(body))
		}
	}
	_, err = l.nc.Write(out)
	return got, err
}

const benchWindow = 100

// publish sends n messages of 200 bytes, at QoS 1 and 2 with at most
// benchWindow of them unacknowledged.
func (l *load) publish(topic string, qos byte, n int) error {
	one := pub(topic, qos, 1, strings.Repeat("x", 200)).AppendTo(nil, packet.V311)
	idAt := 3 + 2 + len(topic)
	tokens := make(chan struct{}, benchWindow)
	done := make(chan error, 1)
	var mu sync.Mutex // the socket: PUBREL is sent beside PUBLISH
	if qos > 0 {
		go func() { done <- l.takeAcks(n, tokens, &mu) }()
	} else {
		done <- nil
	}
	var out []byte
	for i := 0; i < n; {
		out = out[:0]
		for k := 0; k < 16 && i < n; k++ {
			if qos > 0 {
				select {
				case tokens <- struct{}{}:
				default:
					if k > 0 {
						k = 16
						continue
					}
					tokens <- struct{}{}
				}
				binary.BigEndian.PutUint16(one[idAt:], uint16(i%60_000+1))
			}
			out = append(out, one...)
			i++
		}
		mu.Lock()
		_, err := l.nc.Write(out)
		mu.Unlock()
		if err != nil {
			return err
		}
	}
	return <-done
}

func (l *load) takeAcks(n int, tokens chan struct{}, mu *sync.Mutex) error {
	var out []byte
	for got := 0; got < n; {
		if len(out) > 0 && l.r.Buffered() == 0 {
			mu.Lock()
			_, err := l.nc.Write(out)
			mu.Unlock()
			if err != nil {
				return err
			}
			out = out[:0]
		}
		first, body, err := l.next()
		if err != nil {
			return err
		}
		switch packet.TypeOf(first) {
		case packet.TypePuback, packet.TypePubcomp:
			got++
			<-tokens
		case packet.TypePubrec:
			out = packet.AppendAck(out, packet.TypePubrel, binary.BigEndian.Uint16(body))
		}
	}
	return nil
}

// flow runs b.N messages from publishers to subscribers and reports what got
// through per second, and what the whole process allocated per message.
func flow(b *testing.B, o broker.Options, qos byte, publishers, subscribers int) {
	o.Listeners = []broker.ListenerConfig{local()}
	flowThrough(b, serve(b, o).Addrs()[0].String(), qos, publishers, subscribers)
}

// flowThrough is flow through any broker.
func flowThrough(b *testing.B, addr string, qos byte, publishers, subscribers int) {
	b.Helper()
	var subs, pubs []*load
	for range subscribers {
		subs = append(subs, dialLoad(b, addr, "load/#", qos))
	}
	for range publishers {
		pubs = append(pubs, dialLoad(b, addr, "", 0))
	}
	each := max(1, b.N/publishers)
	var failed atomic.Value
	run := func(n int) (received int64) {
		var sending, receiving sync.WaitGroup
		var got atomic.Int64
		for _, l := range subs {
			receiving.Go(func() {
				n, err := l.receive(n * publishers)
				got.Add(int64(n))
				if err != nil {
					failed.Store(err)
				}
			})
		}
		for i, l := range pubs {
			sending.Go(func() {
				if err := l.publish(fmt.Sprintf("load/%d", i), qos, n); err != nil {
					failed.Store(err)
				}
			})
		}
		sending.Wait()
		for _, l := range subs { // QoS 0 may be dropped on a machine that has no time for us
			_ = l.nc.SetReadDeadline(time.Now().Add(5 * time.Second))
		}
		receiving.Wait()
		for _, l := range subs {
			_ = l.nc.SetReadDeadline(time.Time{})
		}
		return got.Load()
	}
	run(2 * benchWindow) // warm
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	received := run(each)
	b.StopTimer()
	runtime.ReadMemStats(&after)
	if err := failed.Load(); err != nil {
		b.Fatal(err)
	}
	n := float64(each * publishers)
	if subscribers == 0 {
		received = int64(n)
	}
	b.ReportMetric(float64(received)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(n*float64(max(1, subscribers))-float64(received), "lost")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/n, "allocs/msg")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/n, "B/msg")
	for _, l := range append(subs, pubs...) {
		_ = l.nc.Close()
	}
}

// The same through mosquitto, in the same run: what counts is the ratio.
func BenchmarkMosquittoFanInQoS0(b *testing.B)  { flowThrough(b, mosquitto(b), 0, 10, 1) }
func BenchmarkMosquittoFanInQoS1(b *testing.B)  { flowThrough(b, mosquitto(b), 1, 10, 1) }
func BenchmarkMosquittoFanOutQoS0(b *testing.B) { flowThrough(b, mosquitto(b), 0, 1, 50) }

func BenchmarkFanInQoS0(b *testing.B)  { flow(b, broker.Options{}, 0, 10, 1) }
func BenchmarkFanInQoS1(b *testing.B)  { flow(b, broker.Options{}, 1, 10, 1) }
func BenchmarkFanInQoS2(b *testing.B)  { flow(b, broker.Options{}, 2, 10, 1) }
func BenchmarkFanOutQoS0(b *testing.B) { flow(b, broker.Options{}, 0, 1, 50) }
func BenchmarkFanOutQoS1(b *testing.B) { flow(b, broker.Options{}, 1, 1, 50) }

// Every message is wanted by a rule and acknowledged once it is synced.
func BenchmarkStoredQoS1(b *testing.B) {
	for _, publishers := range []int{10, 100} {
		b.Run(fmt.Sprint(publishers), func(b *testing.B) {
			j, err := journal.Open(journal.Options{Dir: b.TempDir(), MaxBytes: 8 << 30})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = j.Close() })
			flow(b, broker.Options{Intake: wantAll{j}}, 1, publishers, 0)
		})
	}
}

// Every message is acknowledged once it is synced and its outcome is known,
// which here it is at once: what the second wait costs.
func BenchmarkDeliveredQoS1(b *testing.B) {
	j, err := journal.Open(journal.Options{Dir: b.TempDir(), MaxBytes: 8 << 30})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = j.Close() })
	flow(b, broker.Options{Intake: wantDelivered{wantAll{j}}}, 1, 10, 0)
}

// wantDelivered is wantAll with a rule that says delivered.
type wantDelivered struct{ wantAll }

func (wantDelivered) Want(_ string, dst []uint32) (rules []uint32, ack message.Ack, record bool) {
	return append(dst, 1), message.Ack{Level: message.AckDelivered}, false
}

func newReader(nc net.Conn) *bufio.Reader { return bufio.NewReaderSize(nc, 32<<10) }
