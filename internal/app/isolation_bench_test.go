package app_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
)

// A device's stored round trip, alone and beside the worst company: a sink that
// is dead, whose share of the journal is full; a device that floods what the
// sink wants; one that sends nothing but huge packets; and a subscriber to all
// of it that never reads (I7).
func BenchmarkStoredBesideBadCompany(b *testing.B) {
	for _, c := range []struct {
		name    string
		company func(b *testing.B, addr string) (end func())
	}{
		{"alone", func(*testing.B, string) func() { return func() {} }},
		{"bad", badCompany},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := newPlant(b)
			end := c.company(b, p.addr)
			defer end()
			p.measure(b)
		})
	}
}

// deadSink never takes anything.
type deadSink struct{}

func (deadSink) Open(context.Context) error  { return nil }
func (deadSink) Close(context.Context) error { return nil }
func (deadSink) Write(context.Context, []message.Record) error {
	return &bridges.Unavailable{Err: errors.New("dead")}
}

// goodSink takes everything.
type goodSink struct{ deadSink }

func (goodSink) Write(context.Context, []message.Record) error { return nil }

// plant is a broker, a real journal and two lanes.
type plant struct {
	addr   string
	broker *broker.Server
}

const plantConfig = `
listeners: [{bind: "127.0.0.1:0"}]
sinks: [{name: dead, file: {path: dead}}, {name: good, file: {path: good}}]
rules:
  - {name: flood, from: "flood/#", to: [{sink: dead}]}
  - {name: good, from: "good/#", to: [{sink: good}]}
`

func newPlant(b *testing.B) *plant {
	b.Helper()
	dir := b.TempDir()
	loaded, err := config.Parse(filepath.Join(dir, "penstock.yaml"), []byte(plantConfig), nil)
	if err != nil {
		b.Fatal(err)
	}
	j, err := journal.Open(journal.Options{Dir: dir, MaxBytes: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	if err := loaded.Set.Number(j.Number); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var feeds []pipelines.Feed
	for i, sink := range []bridges.Sink{deadSink{}, goodSink{}} {
		name := []string{"dead", "good"}[i]
		lane, err := pipelines.NewLane(pipelines.LaneOptions{
			Name: name, Number: uint32(i + 1), Journal: pipelines.FromJournal(j), Sink: sink,
			Evaluators: func() pipelines.Evaluator { return loaded.Set.Evaluator(name) },
			RuleName:   loaded.Set.Name, Log: slog.New(slog.DiscardHandler),
			Delivery: pipelines.DeliveryConfig{Max: pipelines.MaxConfig{Bytes: 128 << 20}},
		})
		if err != nil {
			b.Fatal(err)
		}
		running.Go(func() { _ = lane.Run(ctx) })
		f := pipelines.Feed{Lane: uint32(i + 1), Name: name, Share: lane.Backlog()}
		for _, r := range loaded.Set.Lanes()[name] {
			f.Rules = append(f.Rules, r.Number)
		}
		feeds = append(feeds, f)
	}
	intake := pipelines.NewIntake(j, pipelines.NewReceipts())
	intake.Swap(pipelines.Routing{Want: loaded.Set.Want, Feeds: feeds})
	s, err := broker.New(broker.Options{Listeners: loaded.Config.Listeners, Intake: intake})
	if err != nil {
		b.Fatal(err)
	}
	running.Go(func() { _ = s.Serve(ctx) })
	b.Cleanup(func() {
		cancel()
		running.Wait()
		_ = j.Close()
	})
	return &plant{addr: s.Addrs()[0].String(), broker: s}
}

// join connects a client.
func join(b *testing.B, addr string, v packet.Version, extra []byte) net.Conn {
	b.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	hello := packet.Connect{CleanStart: true, ClientID: []byte(nc.LocalAddr().String())}
	if _, err := nc.Write(append(hello.AppendTo(nil, v), extra...)); err != nil {
		b.Fatal(err)
	}
	return nc
}

func badCompany(b *testing.B, addr string) (end func()) {
	b.Helper()
	sub := packet.Subscribe{ID: 1, Subscriptions: packet.AppendSubscription(nil, packet.Subscription{Filter: []byte("#"), QoS: 1})}
	mute := join(b, addr, packet.V311, sub.AppendTo(nil, packet.V311)) // never reads
	small := packet.Publish{Topic: []byte("flood/small"), Payload: []byte(strings.Repeat("x", 500))}
	huge := packet.Publish{Topic: []byte("flood/huge"), QoS: 1, ID: 1, Payload: []byte(strings.Repeat("x", 1_000_000))}
	conns := []net.Conn{mute}
	var floods sync.WaitGroup
	for _, p := range []*packet.Publish{&small, &huge} {
		nc := join(b, addr, packet.V5, nil)
		conns = append(conns, nc)
		floods.Go(func() { flood(nc, p) })
		floods.Go(func() { _, _ = io.Copy(io.Discard, nc) })
	}
	return func() {
		for _, nc := range conns {
			_ = nc.Close()
		}
		floods.Wait()
	}
}

// flood sends one packet again and again.
func flood(nc net.Conn, p *packet.Publish) {
	one := p.AppendTo(nil, packet.V5)
	run := slices.Repeat(one, max(1, (64<<10)/len(one)))
	for {
		if _, err := nc.Write(run); err != nil {
			return
		}
	}
}

// measure sends one message after the other and waits for each PUBACK. The
// first ones are not counted: the bad company's lane fills up meanwhile.
func (p *plant) measure(b *testing.B) {
	b.Helper()
	nc := join(b, p.addr, packet.V311, nil)
	defer nc.Close()
	r := bufio.NewReader(nc)
	if _, err := io.ReadFull(r, make([]byte, 4)); err != nil { // CONNACK
		b.Fatal(err)
	}
	m := packet.Publish{Topic: []byte("good/device"), QoS: 1, ID: 1, Payload: []byte(strings.Repeat("x", 200))}
	out := m.AppendTo(nil, packet.V311)
	idAt := 3 + 2 + len(m.Topic)
	var ack [4]byte
	id := uint16(0)
	trip := func() time.Duration {
		id = id%60_000 + 1
		binary.BigEndian.PutUint16(out[idAt:], id)
		start := time.Now()
		if _, err := nc.Write(out); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(r, ack[:]); err != nil {
			b.Fatal(err)
		}
		took := time.Since(start)
		if ack[0] != byte(packet.TypePuback)<<4 || binary.BigEndian.Uint16(ack[2:]) != id {
			b.Fatalf("answered %x", ack)
		}
		return took
	}
	for start := time.Now(); time.Since(start) < 2*time.Second; {
		trip()
	}
	before := p.broker.Stats().Dropped
	b.ResetTimer()
	took := make([]time.Duration, 0, b.N)
	for range b.N {
		took = append(took, trip())
	}
	b.StopTimer()
	slices.Sort(took)
	milliseconds := func(q int) float64 { return float64(took[(len(took)-1)*q/100].Microseconds()) / 1000 }
	b.ReportMetric(milliseconds(50), "p50-ms")
	b.ReportMetric(milliseconds(99), "p99-ms")
	b.ReportMetric(milliseconds(100), "max-ms")
	after := p.broker.Stats().Dropped
	b.ReportMetric(float64(after["lane_full"]-before["lane_full"])/b.Elapsed().Seconds(), "refused/s")
}
