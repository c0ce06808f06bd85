package kafka

import (
	"encoding/binary"
	"math/bits"

	"github.com/penstock/penstock/internal/message"
)

// choose returns the partition of a record among n, the same one in Shard and
// in Write. A key, also an empty one, goes where the Java client puts it. A
// record without a key goes by its order hash: what must stay in order stays in
// one partition, different devices spread.
func choose(r *message.Record, n uint32) uint32 {
	if n == 1 {
		return 0
	}
	if r.Key == nil {
		high, _ := bits.Mul64(r.Order*0x9e3779b97f4a7c15, uint64(n))
		return uint32(high)
	}
	return (murmur2(r.Key) & 0x7fffffff) % n
}

// murmur2 is the 32-bit MurmurHash2 with the seed of Kafka's Java client.
func murmur2(b []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
	)
	h := seed ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := binary.LittleEndian.Uint32(b) * m
		k ^= k >> 24
		h = h*m ^ k*m
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(b[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}
