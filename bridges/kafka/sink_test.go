package kafka_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstock/penstock/bridges/kafka"
	"github.com/penstock/penstock/internal/kafkatest"
	"github.com/penstock/penstock/internal/message"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

func TestEveryCompressionIsReadBack(t *testing.T) {
	b := kafkatest.Shared(t)
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			topic := b.Topic(t, 3)
			s := open(t, kafka.Config{Brokers: []string{b.Addr}, Compression: codec})
			want := records(topic, 300)
			write(t, s, want)
			compare(t, b.Records(t, topic), want, 3)
		})
	}
}

// records makes records of all kinds: keys present, empty and absent, values
// large, empty and null, headers, letters of many bytes.
func records(topic string, n int) []message.Record {
	out := make([]message.Record, n)
	for i := range out {
		r := &out[i]
		r.Message = message.ID{Journal: 7, Epoch: 1, Offset: uint64(i + 1)}
		r.Rule, r.Output = 1, 2
		r.Topic, r.Received = topic, 1_700_000_000_000+int64(i*i%977)
		r.Order = uint64(i) * 0x9e3779b97f4a7c15
		r.Value = []byte(fmt.Sprintf(`{"n":%d,"grüße":"日本 %s"}`, i, strings.Repeat("x", i%500)))
		if i%7 == 0 {
			r.Value = nil
		}
		r.Null = i%7 == 0 && i%2 == 0
		switch i % 5 {
		case 0:
			r.Key = []byte{}
		case 1: // none
		default:
			r.Key = []byte(fmt.Sprintf("machine-%d", i%40))
		}
		id := r.AppendID(nil)
		r.Headers = []message.Header{{Name: "penstock-id", Value: id}, {Name: "penstock-client", Value: []byte("c ü")}}
	}
	return out
}
