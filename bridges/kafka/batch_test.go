package kafka_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/penstock/penstock/bridges/kafka"
	"github.com/penstock/penstock/internal/message"
)

// decoded is a record as kafka-go reads it.
type decoded struct {
	Offset, Time int64
	Key, Value   string
	Headers      []protocol.Header
}

func decode(t testing.TB, batch []byte) []decoded {
	t.Helper()
	var set protocol.RecordSet
	sized := append(binary.BigEndian.AppendUint32(nil, uint32(len(batch))), batch...)
	if _, err := set.ReadFrom(bytes.NewReader(sized)); err != nil {
		t.Fatalf("decode batch: %v", err)
	}
	var out []decoded
	for {
		r, err := set.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("decode record %d: %v", len(out), err)
		}
		d := decoded{Offset: r.Offset, Time: r.Time.UnixMilli(), Key: text(t, r.Key), Value: text(t, r.Value)}
		for _, h := range r.Headers {
			d.Headers = append(d.Headers, protocol.Header{Key: h.Key, Value: bytes.Clone(h.Value)})
		}
		out = append(out, d)
	}
}

func text(t testing.TB, b protocol.Bytes) string {
	t.Helper()
	if b == nil {
		return "null"
	}
	all, err := protocol.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	return "'" + string(all) + "'"
}

func want(batch []message.Record) []decoded {
	out := make([]decoded, len(batch))
	for i := range batch {
		r := &batch[i]
		out[i] = decoded{Offset: int64(i), Time: r.Received, Key: "null", Value: "'" + string(r.Value) + "'"}
		if r.Key != nil {
			out[i].Key = "'" + string(r.Key) + "'"
		}
		if r.Null {
			out[i].Value = "null"
		}
		for _, h := range r.Headers {
			out[i].Headers = append(out[i].Headers, protocol.Header{Key: h.Name, Value: append([]byte{}, h.Value...)})
		}
	}
	return out
}

func TestBatchHeader(t *testing.T) {
	batch := records("t", 3)
	batch[0].Received, batch[1].Received, batch[2].Received = 2000, 3000, 1000
	raw := kafka.Encoder("none")(batch)
	var b kmsg.RecordBatch
	if err := b.ReadFrom(raw); err != nil {
		t.Fatal(err)
	}
	b.CRC, b.Records, b.Length = 0, nil, 0 // CRC: Kafka and kafka-go check it
	want := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: 2, FirstTimestamp: 2000, MaxTimestamp: 3000,
		ProducerID: 1, ProducerEpoch: 2, FirstSequence: 3, NumRecords: 3,
	}
	if diff := cmp.Diff(want, b); diff != "" {
		t.Error(diff)
	}
}

func TestWhatDoesNotCompressStaysAsItIs(t *testing.T) {
	one := []message.Record{{Value: []byte("x"), Received: 1}}
	if got, plain := kafka.Encoder("zstd")(one), kafka.Encoder("none")(one); !bytes.Equal(got, plain) {
		t.Errorf("%x, want %x", got, plain)
	}
}

func TestPickedRecords(t *testing.T) {
	batch := records("t", 20)
	pick := []int32{3, 4, 9, 19}
	var picked []message.Record
	for _, i := range pick {
		picked = append(picked, batch[i])
	}
	if diff := cmp.Diff(want(picked), decode(t, kafka.EncodePicked(batch, pick))); diff != "" {
		t.Error(diff)
	}
}

func FuzzBatch(f *testing.F) {
	f.Add(uint64(1), byte(0), "key", "value", "name", int64(0))
	f.Add(uint64(2), byte(4), "", strings.Repeat("long ", 900), "penstock-id", int64(-5))
	f.Add(uint64(3), byte(2), "\x00\xff", "", "", int64(1)<<62)
	codecs := []string{"none", "gzip", "snappy", "lz4", "zstd"}
	f.Fuzz(func(t *testing.T, seed uint64, codec byte, key, value, name string, at int64) {
		r := rand.New(rand.NewPCG(seed, 1))
		at = at >> 12 << 1 // milliseconds that time.Time can hold
		batch := make([]message.Record, 1+r.IntN(40))
		for i := range batch {
			batch[i] = message.Record{Value: []byte(value[r.IntN(len(value)+1):]), Received: at + r.Int64N(1000)}
			if r.IntN(3) > 0 {
				batch[i].Key = []byte(key[r.IntN(len(key)+1):])
			}
			if batch[i].Null = r.IntN(5) == 0; batch[i].Null {
				batch[i].Value = nil
			}
			for range r.IntN(4) {
				batch[i].Headers = append(batch[i].Headers, message.Header{Name: name, Value: []byte(value[:r.IntN(min(len(value), 50)+1)])})
			}
		}
		got := decode(t, kafka.Encoder(codecs[int(codec)%len(codecs)])(batch))
		if diff := cmp.Diff(want(batch), got); diff != "" {
			t.Errorf("%.2000s", diff)
		}
	})
}

// A damaged batch must not decode: the test decoder is worth what it finds.
func TestChecksumCovers(t *testing.T) {
	raw := kafka.Encoder("none")(records("t", 2))
	damaged := slices.Clone(raw)
	damaged[len(damaged)-1] ^= 1
	var set protocol.RecordSet
	sized := append(binary.BigEndian.AppendUint32(nil, uint32(len(damaged))), damaged...)
	if _, err := set.ReadFrom(bytes.NewReader(sized)); err == nil {
		t.Error("a damaged batch was decoded")
	}
}
