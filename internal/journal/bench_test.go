package journal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// watermark lets many goroutines wait for the journal's, as the broker's
// connections do.
type watermark struct {
	j    *journal.Journal
	next atomic.Pointer[chan struct{}]
}

func newWatermark(j *journal.Journal) *watermark {
	w := &watermark{j: j}
	first := make(chan struct{})
	w.next.Store(&first)
	j.NotifyStored(func(uint64) {
		c := make(chan struct{})
		close(*w.next.Swap(&c))
	})
	return w
}

func (w *watermark) wait(offset uint64) {
	for {
		c := *w.next.Load()
		if w.j.Stored() >= offset {
			return
		}
		<-c
	}
}

var benchPayload = []byte(strings.Repeat("x", 200))

func benchMessage() *message.Message {
	return &message.Message{Client: "machine-17", Topic: "plant/7/press-17/telemetry", QoS: 1, Payload: benchPayload}
}

// BenchmarkAppend has n writers each append one message and wait until it is
// stored, again and again. It reports the raw time of an fdatasync of a block
// of the size the journal wrote on average, measured in the same run.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 256, 4096} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) { benchAppend(b, writers) })
	}
}

func benchAppend(b *testing.B, writers int) {
	dir := b.TempDir()
	j := openWith(b, journal.Options{Dir: filepath.Join(dir, "j")})
	awaitSpare(b, j)
	w := newWatermark(j)
	before := j.Stats()
	b.ReportAllocs()
	b.ResetTimer()
	var done sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(b.N))
	for range min(writers, b.N) {
		done.Go(func() {
			e := []journal.Entry{{Message: benchMessage(), Rules: []uint32{1}}}
			for left.Add(-1) >= 0 {
				first, err := j.Append(e)
				if err != nil {
					b.Error(err)
					return
				}
				w.wait(first)
			}
		})
	}
	done.Wait()
	b.StopTimer()
	after := j.Stats()
	commits := max(1, after.Commits-before.Commits)
	size := int(after.Used-before.Used) / int(commits)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
	b.ReportMetric(float64(b.N)/float64(commits), "appends/commit")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(commits), "us/commit")
	b.ReportMetric(rawSync(b, dir, size), "us/fdatasync")
}

// awaitSpare waits until the journal has a prepared segment, as one that runs
// for a while has.
func awaitSpare(b *testing.B, j *journal.Journal) {
	b.Helper()
	for range 1000 {
		if s := j.Stats(); s.Bytes > 64<<20 {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
	b.Fatal("no spare was prepared")
}

// rawSync is the mean time, in microseconds, of writing size bytes into a file
// of zeros and fdatasync.
func rawSync(b *testing.B, dir string, size int) float64 {
	b.Helper()
	f, err := fault.OS{}.OpenFile(filepath.Join(dir, "raw"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	const rounds = 1000
	block := make([]byte, size)
	for at := int64(0); at < int64(rounds*size)+1<<20; at += 1 << 20 {
		if _, err := f.WriteAt(make([]byte, 1<<20), at); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	for i := range rounds {
		if _, err := f.WriteAt(block, int64(i*size)); err != nil {
			b.Fatal(err)
		}
		if err := f.Datasync(); err != nil {
			b.Fatal(err)
		}
	}
	return float64(time.Since(start).Microseconds()) / rounds
}

// BenchmarkEncode is what an append costs those who call it.
func BenchmarkEncode(b *testing.B) {
	j := openWith(b, journal.Options{Dir: b.TempDir(), Sync: journal.SyncOff, MaxBytes: 1 << 40})
	e := make([]journal.Entry, 64)
	for i := range e {
		e[i] = journal.Entry{Message: benchMessage(), Rules: []uint32{1}}
	}
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(e) {
		if _, err := j.Append(e[:min(len(e), b.N-n)]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead reads a backlog from disk and from memory, decoding each
// message.
func BenchmarkRead(b *testing.B) {
	for _, from := range []string{"disk", "disk-zstd", "memory"} {
		b.Run(from, func(b *testing.B) { benchRead(b, from) })
	}
}

func benchRead(b *testing.B, from string) {
	const count = 200_000
	memory := from == "memory"
	o := journal.Options{Dir: b.TempDir(), Sync: journal.SyncOff}
	if from == "disk-zstd" {
		o.Compression = journal.CompressionZstd
	}
	j := openWith(b, o)
	pin := j.NewReader(1) // keeps the tail in memory
	defer pin.Close()
	last := fillBench(b, j, count)
	if !memory {
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
		j = openWith(b, o)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var m message.Message
	for n := 0; n < b.N; {
		r := j.NewReader(1)
		for n < b.N {
			f, ok, err := r.TryNext()
			if err != nil {
				b.Fatal(err)
			}
			if !ok {
				break
			}
			if err := f.Message(&m); err != nil {
				b.Fatal(err)
			}
			n++
		}
		r.Close()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	_ = last
}

func fillBench(b *testing.B, j *journal.Journal, count int) (last uint64) {
	b.Helper()
	e := make([]journal.Entry, 100)
	for i := range e {
		e[i] = journal.Entry{Message: benchMessage(), Rules: []uint32{1}}
	}
	for range count / len(e) {
		first, err := j.Append(e)
		if err != nil {
			b.Fatal(err)
		}
		last = first + uint64(len(e)) - 1
	}
	stored(b, j, last)
	return last
}

// BenchmarkCompression appends as fast as the disk allows, from 64 writers in
// bursts of 16, with and without compression, and says what an entry takes on
// disk. The payloads are like those of a sensor: JSON, each another one.
func BenchmarkCompression(b *testing.B) {
	for _, compression := range []string{journal.CompressionNone, journal.CompressionZstd} {
		b.Run(compression, func(b *testing.B) {
			j := openWith(b, journal.Options{Dir: filepath.Join(b.TempDir(), "j"), Compression: compression})
			awaitSpare(b, j)
			w := newWatermark(j)
			before := j.Stats()
			b.ReportAllocs()
			b.ResetTimer()
			var done sync.WaitGroup
			var left atomic.Int64
			left.Store(int64(b.N))
			for n := range 64 {
				done.Go(func() { appendBursts(b, j, w, n, &left) })
			}
			done.Wait()
			b.StopTimer()
			after := j.Stats()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			b.ReportMetric(float64(after.Used-before.Used)/float64(after.Next-before.Next), "B/append")
		})
	}
}

const burst = 16

func appendBursts(b *testing.B, j *journal.Journal, w *watermark, writer int, left *atomic.Int64) {
	e := make([]journal.Entry, burst)
	for i := range e {
		e[i] = journal.Entry{Message: benchMessage(), Rules: []uint32{1}}
		e[i].Message.Payload = make([]byte, 0, 256)
	}
	for n := 0; left.Add(-burst) > -burst; n++ {
		for i := range e {
			m := e[i].Message
			m.Payload = sensorJSON(m.Payload[:0], writer, n*burst+i)
		}
		first, err := j.Append(e)
		if err != nil {
			b.Error(err)
			return
		}
		w.wait(first + burst - 1)
	}
}

// sensorJSON is a reading of some 200 bytes.
func sensorJSON(b []byte, machine, n int) []byte {
	x := uint64(n)*0x9e3779b97f4a7c15 + uint64(machine)
	return fmt.Appendf(b, `{"machine":"press-%03d","seq":%d,"temp":%d.%02d,"pressure":%d.%03d,"vibration":%d,"rpm":%d,`+
		`"state":"run","order":"A-%06d","operator":"shift-%d","quality":{"ok":%d,"scrap":%d},"energy_kwh":%d.%d}`,
		machine, n, 40+x%50, x>>8%100, 2+x>>16%5, x>>24%1000, x>>32%400, 800+x>>40%700,
		n/1000, n%3, x>>12%5000, x>>20%40, x>>28%300, x>>36%10)
}
