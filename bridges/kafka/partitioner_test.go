package kafka_test

import (
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/bridges/kafka"
	"github.com/penstock/penstock/internal/message"
)

// The vectors of Kafka's own UtilsTest.
func TestMurmur2IsThatOfJava(t *testing.T) {
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := int32(kafka.Murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
	}
}

// franz-go's default partitioner is checked against the Java client by its
// authors.
func TestKeysGoWhereTheJavaClientPutsThem(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	reference := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	for i := range 20_000 {
		key := make([]byte, r.IntN(40))
		for j := range key {
			key[j] = byte(r.Uint32())
		}
		if len(key) == 0 {
			key = []byte{} // an empty key is a key
		}
		n := 1 + r.IntN(100)
		want := reference.Partition(&kgo.Record{Key: key}, n)
		if got := kafka.Choose(&message.Record{Key: key, Order: r.Uint64()}, uint32(n)); int(got) != want {
			t.Fatalf("key %d %x of %d partitions: %d, want %d", i, key, n, got, want)
		}
	}
}

func TestRecordsWithoutKeySpreadByOrder(t *testing.T) {
	const partitions, devices = 8, 8000
	var hits [partitions]int
	for i := range devices {
		r := message.Record{Order: uint64(i) * 1_000_003}
		p := kafka.Choose(&r, partitions)
		if again := kafka.Choose(&r, partitions); again != p {
			t.Fatalf("the partition of a record is %d and then %d", p, again)
		}
		hits[p]++
	}
	for p, n := range hits {
		if n < devices/partitions/2 || n > devices/partitions*2 {
			t.Errorf("partition %d has %d of %d devices", p, n, devices)
		}
	}
}
