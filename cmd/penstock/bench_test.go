package main_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/internal/factory"
	"github.com/penstock/penstock/internal/kafkatest"
)

const benchConfig = `
listeners: [{bind: "127.0.0.1:0"}]
journal: {max_bytes: 20GiB}
sinks:
  - {name: plant, kafka: {brokers: [%q], topic: %q}}
rules:
  - name: telemetry
    from: plant/{machine}/telemetry
    where: payload.temp > 20
    to: [{sink: plant, key: "{machine}", value: '{machine: machine, temp: payload.temp, seq: payload.seq}'}]
`

// benchPublishers is how many devices publish at a time.
const benchPublishers = 10

// BenchmarkKafkaEndToEnd is the main job at full speed: ten publishers at QoS
// 1, acknowledged when synced, a filter and a map of three fields on 200 B of
// JSON, into a real Kafka on the same machine. The clock stops when Kafka holds
// the last record; nothing may be lost.
func BenchmarkKafkaEndToEnd(b *testing.B) {
	const messages = 1_000_000
	broker := kafkatest.Shared(b)
	var acked, took time.Duration
	var cpu [3]time.Duration
	for b.Loop() {
		topic := broker.Topic(b, 4)
		p := startBench(b, b.TempDir(), broker.Addr, topic)
		pids := []int{p.cmd.Process.Pid, broker.PID(), os.Getpid()}
		before, start := cpuTimes(b, pids), time.Now()
		publishAll(b, p.addr(0), messages)
		acked += time.Since(start)
		p.untilStored(b, broker.Addr, topic, messages)
		took += time.Since(start)
		for i, after := range cpuTimes(b, pids) {
			cpu[i] += after - before[i]
		}
		p.stop()
	}
	all := float64(messages) * float64(b.N)
	b.ReportMetric(all/took.Seconds(), "msg/s")
	b.ReportMetric(all/acked.Seconds(), "acked/s")
	for i, unit := range []string{"cpu-us/msg", "kafka-cpu-us/msg", "generator-cpu-us/msg"} {
		b.ReportMetric(float64(cpu[i].Microseconds())/all, unit)
	}
}

// BenchmarkRestartWithBacklog kills Penstock while Kafka is down and a backlog
// waits in the journal (PENSTOCK_BENCH_BACKLOG bytes, 1 GiB unless set), and
// reports how long the next start takes until it serves, how fast the backlog
// drains while nothing comes in, and how much memory that takes.
func BenchmarkRestartWithBacklog(b *testing.B) {
	backlog := int64(1 << 30)
	if text := os.Getenv("PENSTOCK_BENCH_BACKLOG"); text != "" {
		var err error
		if backlog, err = strconv.ParseInt(text, 10, 64); err != nil {
			b.Fatal(err)
		}
	}
	const frameBytes = 300 // of one of the messages in the journal
	messages := int(backlog / frameBytes / benchPublishers * benchPublishers)
	for b.Loop() {
		broker := kafkatest.Start(b)
		topic := broker.Topic(b, 4)
		p := startBench(b, b.TempDir(), broker.Addr, topic)
		broker.Stop(b)
		publishAll(b, p.addr(0), messages)
		p.kill()
		start := time.Now()
		p.start()
		ready := time.Since(start)
		broker.Restart(b)
		start = time.Now()
		p.untilStored(b, broker.Addr, topic, messages)
		drained := time.Since(start)
		b.ReportMetric(float64(messages)*frameBytes/1e9, "GB-backlog")
		b.ReportMetric(float64(ready.Milliseconds()), "ready-ms")
		b.ReportMetric(float64(messages)/drained.Seconds(), "drained/s")
		b.ReportMetric(peakMemory(b, p.cmd.Process.Pid), "peak-MiB")
		p.stop()
	}
}

// startBench starts a Penstock that feeds a topic.
func startBench(b *testing.B, dir, kafkaAddr, topic string) *process {
	b.Helper()
	config := filepath.Join(dir, "penstock.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, benchConfig, kafkaAddr, topic), 0o600); err != nil {
		b.Fatal(err)
	}
	return startPenstock(b, dir, nil, "run", config)
}

// publishAll publishes n messages and returns when all are acknowledged.
func publishAll(b *testing.B, addr string, n int) {
	b.Helper()
	var counters factory.Counters
	var wg sync.WaitGroup
	for i := range benchPublishers {
		o := factory.Options{Addr: addr, ClientID: "bench-" + strconv.Itoa(i), Version: packet.V311, QoS: 1, Window: 1000}
		d := factory.NewDevice(o, &counters, benchSource(i, n/benchPublishers))
		wg.Go(func() {
			if err := d.Run(b.Context()); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
}

// untilStored waits until the topic holds n records.
func (p *process) untilStored(b *testing.B, addr, topic string, n int) {
	b.Helper()
	if err := waitStored(b.Context(), addr, topic, int64(n)); err != nil {
		p.stop()
		b.Fatalf("%v\n%s", err, strings.Join(p.lines(""), "\n"))
	}
}

// benchSource repeats 64 payloads of 200 bytes.
func benchSource(device, n int) factory.Source {
	var payloads [64][]byte
	for i := range payloads {
		text := fmt.Sprintf(`{"seq":%d,"dev":"d%d","temp":%d.5,"hum":40.25,"ok":true,"pad":"`, 100_000+i, device, 30+i%40)
		payloads[i] = []byte(text + strings.Repeat("x", 200-len(text)-2) + `"}`)
	}
	topic := "plant/machine-" + strconv.Itoa(device) + "/telemetry"
	sent := 0
	return func() (factory.Message, time.Duration, bool) {
		if sent == n {
			return factory.Message{}, 0, false
		}
		sent++
		return factory.Message{Topic: topic, Payload: payloads[sent%64]}, 0, true
	}
}

// waitStored waits until the topic holds n records, and no more.
func waitStored(ctx context.Context, addr, topic string, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	client := &kafka.Client{Addr: kafka.TCP(addr)}
	request := &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {
		kafka.LastOffsetOf(0), kafka.LastOffsetOf(1), kafka.LastOffsetOf(2), kafka.LastOffsetOf(3),
	}}}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	stored := int64(0)
	for stored != n {
		answer, err := client.ListOffsets(ctx, request)
		if err != nil {
			return fmt.Errorf("Kafka holds %d records of %d: %w", stored, n, err)
		}
		stored = 0
		for _, p := range answer.Topics[topic] {
			stored += p.LastOffset
		}
		if stored > n {
			return fmt.Errorf("Kafka holds %d records of %d", stored, n)
		}
		<-tick.C
	}
	return nil
}

func cpuTimes(b *testing.B, pids []int) []time.Duration {
	b.Helper()
	times := make([]time.Duration, len(pids))
	for i, pid := range pids {
		times[i] = cpuTime(b, pid)
	}
	return times
}

// cpuTime is the processor time, user and system, that a process has used.
func cpuTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// peakMemory is the largest resident size a process has had, in MiB.
func peakMemory(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, text, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseFloat(strings.Fields(text)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}
