package factory

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/broker/packet"
)

// A Plan says what a whole factory does.
type Plan struct {
	Addr    string
	Devices int
	Rate    float64 // messages a second of each device
}

// A Factory is many devices at work.
type Factory struct {
	Counters Counters
	stopping atomic.Bool
	wg       sync.WaitGroup
	mu       sync.Mutex
	errs     []error // guarded by mu
}

// Start connects the devices of a plan, at QoS 1 and 2 over each version of
// MQTT, and lets them publish until Stop or until ctx ends.
func Start(ctx context.Context, p Plan) *Factory {
	f := &Factory{}
	versions := []packet.Version{packet.V31, packet.V311, packet.V5}
	for i := range p.Devices {
		o := Options{Addr: p.Addr, ClientID: fmt.Sprintf("machine-%d", i), Version: versions[i%len(versions)], QoS: byte(1 + i%2)}
		d := NewDevice(o, &f.Counters, f.machine(i, p.Rate))
		f.wg.Go(func() { f.note(d.Run(ctx)) })
	}
	return f
}

func (f *Factory) note(err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errs = append(f.errs, err)
}

// Stop ends the sources, waits for the last acknowledgements, and returns what
// went wrong with devices.
func (f *Factory) Stop() error {
	f.stopping.Store(true)
	f.wg.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.errs...)
}

// machine is the source of one device: telemetry of a press whose temperature
// swings, running most of the time.
func (f *Factory) machine(i int, rate float64) Source {
	random := rand.New(rand.NewPCG(uint64(i), 7))
	topic := fmt.Sprintf("plant/%d/press-%d/telemetry", 1+i%8, i)
	interval := time.Duration(float64(time.Second) / rate)
	next := time.Now().Add(time.Duration(random.Int64N(int64(interval) + 1)))
	n := 0
	return func() (Message, time.Duration, bool) {
		if f.stopping.Load() {
			return Message{}, 0, false
		}
		if wait := time.Until(next); wait > 0 {
			return Message{}, wait, false
		}
		next = next.Add(interval)
		n++
		state := "run"
		if random.IntN(10) == 0 {
			state = "idle"
		}
		temp := 70 + 25*math.Sin(float64(n)/50+float64(i)) + random.Float64()*3
		return Message{Topic: topic, Payload: fmt.Appendf(nil, `{"seq": %d, "state": %q, "temp": %.2f}`, n, state, temp)}, 0, true
	}
}
