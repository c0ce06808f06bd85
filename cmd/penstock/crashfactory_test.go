package main_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/internal/factory"
)

// A crashFactory is the devices of the crash tests with a gate in front of them.
type crashFactory struct {
	t        *testing.T
	counters factory.Counters
	wg       sync.WaitGroup

	mu      sync.Mutex
	allowed int // guarded by mu: messages of each device that may leave
	limit   int // guarded by mu: messages of each device, 0 for no end
}

func startFactory(t *testing.T) *crashFactory {
	t.Helper()
	return &crashFactory{t: t}
}

// start connects the devices: QoS 1 and 2 over each protocol version.
func (f *crashFactory) start(addr string) {
	ctx, cancel := context.WithCancel(f.t.Context())
	f.t.Cleanup(func() {
		cancel()
		f.wg.Wait()
	})
	versions := []packet.Version{packet.V31, packet.V311, packet.V5}
	for i := range crashDevices {
		d := factory.NewDevice(factory.Options{
			Addr: addr, ClientID: "dev-" + strconv.Itoa(i), Version: versions[i%3], QoS: byte(1 + i%2),
		}, &f.counters, f.source(i))
		f.wg.Go(func() {
			if err := d.Run(ctx); err != nil && ctx.Err() == nil {
				f.t.Errorf("device %d: %v", i, err)
			}
		})
	}
}

// source gives one device its numbered messages, as far as the gate allows:
// one in ten is filtered, one in a hundred is not JSON.
func (f *crashFactory) source(device int) factory.Source {
	seq := 0
	topic := "plant/dev" + strconv.Itoa(device)
	return func() (factory.Message, time.Duration, bool) {
		f.mu.Lock()
		open, over := seq < f.allowed, f.limit > 0 && seq == f.limit
		f.mu.Unlock()
		if over {
			return factory.Message{}, 0, false
		}
		if !open {
			return factory.Message{}, 2 * time.Millisecond, false
		}
		m := factory.Message{Topic: topic, Payload: crashPayload(seq)}
		seq++
		return m, 0, true
	}
}

func crashPayload(seq int) []byte {
	switch {
	case seq%100 == 50:
		return fmt.Appendf(nil, `{"seq": %d, "state": `, seq)
	case seq%10 == 5:
		return fmt.Appendf(nil, `{"seq": %d, "state": "idle"}`, seq)
	}
	return fmt.Appendf(nil, `{"seq": %d, "state": "run", "pad": %q}`, seq, strings.Repeat("x", 150))
}

// delivered says whether the message with this number leaves for Kafka.
func delivered(seq int) bool { return seq%100 != 50 && seq%10 != 5 }

// allow opens the gate until n messages of all devices together.
func (f *crashFactory) allow(n int) *crashFactory {
	f.mu.Lock()
	f.allowed = n / crashDevices
	f.mu.Unlock()
	return f
}

// finish lets the devices send what is allowed and then end; it returns how
// many messages that is for each.
func (f *crashFactory) finish() int {
	f.mu.Lock()
	f.limit = f.allowed
	f.mu.Unlock()
	f.wait()
	return f.limit
}

// waitAcked waits until n messages have been acknowledged.
func (f *crashFactory) waitAcked(n int64) {
	f.t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for f.counters.Acked.Load() < n {
		if time.Now().After(deadline) {
			f.t.Fatalf("%d messages acknowledged, waited for %d", f.counters.Acked.Load(), n)
		}
		<-tick.C
	}
}

// wait waits until every device has everything acknowledged.
func (f *crashFactory) wait() { f.wg.Wait() }
