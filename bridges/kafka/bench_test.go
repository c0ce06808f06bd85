//go:build unix

package kafka_test

import (
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/bridges/kafka"
	"github.com/penstock/penstock/internal/kafkatest"
	"github.com/penstock/penstock/internal/message"
)

// plain makes records of 200 bytes with keys of 16 and no headers.
func plain(topic string, n int) []message.Record {
	out := make([]message.Record, n)
	value := make([]byte, 200)
	for i := range value {
		value[i] = "0123456789abcdef"[i*7%16]
	}
	for i := range out {
		out[i] = message.Record{
			Message: message.ID{Journal: 1, Epoch: 1, Offset: uint64(i + 1)}, Rule: 1, Output: 1,
			Topic: topic, Received: 1_700_000_000_000 + int64(i), Value: value,
			Key: fmt.Appendf(nil, "machine-%08d", i%512),
		}
	}
	return out
}

func BenchmarkEncode(b *testing.B) {
	for _, codec := range []string{"none", "lz4", "snappy", "zstd", "gzip"} {
		for _, kind := range []string{"plain", "headers"} {
			b.Run(codec+"/"+kind, func(b *testing.B) {
				batch := plain("t", 1000)
				if kind == "headers" {
					for i := range batch {
						batch[i].Headers = []message.Header{
							{Name: "penstock-id", Value: batch[i].AppendID(nil)},
							{Name: "penstock-client", Value: []byte("press-7")},
							{Name: "penstock-topic", Value: []byte("plant/7/press/telemetry")},
							{Name: "penstock-received", Value: []byte("2026-01-01T00:00:00.000Z")},
						}
					}
				}
				encode := kafka.Encoder(codec)
				b.ReportAllocs()
				bytes := 0
				for b.Loop() {
					bytes = len(encode(batch))
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
				b.ReportMetric(float64(bytes)/1000, "B/record")
			})
		}
	}
}

func BenchmarkShard(b *testing.B) {
	broker := kafkatest.Shared(b)
	topic := broker.Topic(b, 4)
	s := open(b, kafka.Config{Brokers: []string{broker.Addr}})
	batch := plain(topic, 512)
	write(b, s, batch)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		s.Shard(&batch[i&511])
		i++
	}
}

// BenchmarkProduce writes batches of 1,000 records of 200 B to a real Kafka, one
// at a time per partition as a lane does.
func BenchmarkProduce(b *testing.B) {
	for _, codec := range []string{"none", "lz4", "zstd"} {
		b.Run(codec, func(b *testing.B) { benchmarkProduce(b, codec, 4) })
	}
}

func benchmarkProduce(b *testing.B, codec string, partitions int) {
	broker := kafkatest.Shared(b)
	topic := broker.Topic(b, partitions)
	s := open(b, kafka.Config{Brokers: []string{broker.Addr}, Compression: codec})
	all := plain(topic, 16000)
	write(b, s, all[:10])
	batches := make([][]message.Record, partitions)
	for i := range all {
		if _, p, _ := s.Shard(&all[i]); len(batches[p]) < 1000 {
			batches[p] = append(batches[p], all[i])
		}
	}
	b.ResetTimer()
	began, cpu := time.Now(), cpuTime(b)
	var group sync.WaitGroup
	for p := range partitions {
		group.Go(func() {
			for n := p; n < b.N; n += partitions {
				if err := s.Write(b.Context(), batches[p]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.StopTimer()
	records := float64(b.N * 1000)
	b.ReportMetric(records/time.Since(began).Seconds(), "records/s")
	b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/records, "cpu-ns/record")
	if st := s.Stats(); st.Records < uint64(b.N*1000) {
		b.Errorf("stats %+v", st)
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
