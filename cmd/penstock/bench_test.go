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
journal: {max_bytes: 4GiB}
sinks:
  - {name: plant, kafka: {brokers: [%q], topic: %q}}
rules:
  - name: telemetry
    from: plant/{machine}/telemetry
    where: payload.temp > 20
    to: [{sink: plant, key: "{machine}", value: '{machine: machine, temp: payload.temp, seq: payload.seq}'}]
`

// BenchmarkKafkaEndToEnd is the main job at full speed: ten publishers at QoS
// 1, acknowledged when synced, a filter and a map of three fields on 200 B of
// JSON, into a real Kafka on the same machine. The clock stops when Kafka holds
// the last record; nothing may be lost.
func BenchmarkKafkaEndToEnd(b *testing.B) {
	broker := kafkatest.Shared(b)
	for b.Loop() {
		benchmarkKafka(b, broker, 1_000_000)
	}
}

func benchmarkKafka(b *testing.B, broker *kafkatest.Broker, messages int) {
	const publishers = 10
	topic := broker.Topic(b, 4)
	dir := b.TempDir()
	config := filepath.Join(dir, "penstock.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, benchConfig, broker.Addr, topic), 0o600); err != nil {
		b.Fatal(err)
	}
	p := startPenstock(b, dir, nil, "run", config)
	var counters factory.Counters
	var wg sync.WaitGroup
	pids := []int{p.cmd.Process.Pid, broker.PID(), os.Getpid()}
	before, start := cpuTimes(b, pids), time.Now()
	for i := range publishers {
		o := factory.Options{Addr: p.addr(0), ClientID: "bench-" + strconv.Itoa(i), Version: packet.V311, QoS: 1, Window: 1000}
		d := factory.NewDevice(o, &counters, benchSource(i, messages/publishers))
		wg.Go(func() {
			if err := d.Run(b.Context()); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	acked := time.Since(start)
	if err := waitStored(b.Context(), broker.Addr, topic, int64(messages)); err != nil {
		p.stop()
		b.Fatalf("%v\n%s", err, strings.Join(p.lines(""), "\n"))
	}
	took, after := time.Since(start), cpuTimes(b, pids)
	p.stop()
	b.ReportMetric(float64(messages)/took.Seconds(), "msg/s")
	b.ReportMetric(float64(messages)/acked.Seconds(), "acked/s")
	for i, unit := range []string{"cpu-us/msg", "kafka-cpu-us/msg", "generator-cpu-us/msg"} {
		b.ReportMetric(float64((after[i]-before[i]).Microseconds())/float64(messages), unit)
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
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
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
