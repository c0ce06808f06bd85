package kafka

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"

	"github.com/penstock/penstock/internal/message"
)

// A record batch (magic 2), big endian, as Kafka 0.11 and later store it:
//
//	 0  base offset         int64   0: the broker assigns it
//	 8  length              int32   of all that follows
//	12  leader epoch        int32   -1
//	16  magic               int8    2
//	17  CRC32C              uint32  of all that follows
//	21  attributes          int16   bits 0-2 compression; timestamps are CreateTime
//	23  last offset delta   int32   records - 1
//	27  first timestamp     int64   ms
//	35  largest timestamp   int64   ms
//	43  producer id         int64   -1: not idempotent
//	51  producer epoch      int16
//	53  first sequence      int32
//	57  records             int32
//	61  the records, compressed as one
//
// A record: its length, attributes (0), timestamp and offset relative to the
// batch's first, key, value, number of headers, and per header name and value;
// lengths and numbers are zigzag varints, and length -1 is null.
const (
	batchLengthAt     = 8
	batchCRCAt        = 17
	batchAttributesAt = 21
	batchProducerAt   = 43
	batchEpochAt      = 51
	batchSequenceAt   = 53
	batchHeaderSize   = 61
)

// A stamp is what makes a batch idempotent: the broker stores a batch with a
// producer's next sequence once, however often it is sent.
type stamp struct {
	producer int64
	epoch    int16
	sequence int32
}

// unstamped is a batch that the broker stores as often as it is sent.
func unstamped() stamp { return stamp{-1, -1, -1} }

// appendBatch appends the record batch of the records that pick names by
// index, nil for all of them. scratch is for the codec; it is returned to be
// used again.
func appendBatch(dst []byte, records []message.Record, pick []int32, s stamp, c codec, scratch []byte) (out, used []byte) {
	start := len(dst)
	dst = append(dst, make([]byte, batchHeaderSize)...)
	first, largest, n := timestamps(records, pick)
	var attributes uint16
	if c.compress == nil {
		dst = appendRecords(dst, records, pick, first)
	} else {
		scratch = appendRecords(scratch[:0], records, pick, first)
		dst, attributes = c.append(dst, scratch)
	}
	b := dst[start:]
	binary.BigEndian.PutUint32(b[batchLengthAt:], uint32(len(b)-12))
	binary.BigEndian.PutUint32(b[12:], 1<<32-1)
	b[16] = 2
	binary.BigEndian.PutUint16(b[batchAttributesAt:], attributes)
	binary.BigEndian.PutUint32(b[23:], uint32(n-1))
	binary.BigEndian.PutUint64(b[27:], uint64(first))
	binary.BigEndian.PutUint64(b[35:], uint64(largest))
	binary.BigEndian.PutUint32(b[57:], uint32(n))
	putStamp(b, s)
	return dst, scratch
}

// putStamp writes the stamp and the checksum into a complete batch.
func putStamp(b []byte, s stamp) {
	binary.BigEndian.PutUint64(b[batchProducerAt:], uint64(s.producer))
	binary.BigEndian.PutUint16(b[batchEpochAt:], uint16(s.epoch))
	binary.BigEndian.PutUint32(b[batchSequenceAt:], uint32(s.sequence))
	sum := crc32.Checksum(b[batchAttributesAt:], crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(b[batchCRCAt:], sum)
}

func timestamps(records []message.Record, pick []int32) (first, largest int64, n int) {
	if pick == nil {
		first, largest, n = records[0].Received, records[0].Received, len(records)
		for i := range records {
			largest = max(largest, records[i].Received)
		}
		return first, largest, n
	}
	first = records[pick[0]].Received
	largest, n = first, len(pick)
	for _, i := range pick {
		largest = max(largest, records[i].Received)
	}
	return first, largest, n
}

func appendRecords(dst []byte, records []message.Record, pick []int32, first int64) []byte {
	if pick == nil {
		for i := range records {
			dst = appendRecord(dst, &records[i], records[i].Received-first, int64(i))
		}
		return dst
	}
	for n, i := range pick {
		dst = appendRecord(dst, &records[i], records[i].Received-first, int64(n))
	}
	return dst
}

func appendRecord(dst []byte, r *message.Record, age, n int64) []byte {
	key, value := int64(-1), int64(-1)
	if r.Key != nil {
		key = int64(len(r.Key))
	}
	if !r.Null {
		value = int64(len(r.Value))
	}
	size := 1 + varintSize(age) + varintSize(n) + varintSize(key) + len(r.Key) + varintSize(value) +
		int(max(value, 0)) + headersSize(r.Headers)
	dst = binary.AppendVarint(dst, int64(size))
	dst = append(dst, 0)
	dst = binary.AppendVarint(dst, age)
	dst = binary.AppendVarint(dst, n)
	dst = binary.AppendVarint(dst, key)
	dst = append(dst, r.Key...)
	dst = binary.AppendVarint(dst, value)
	if value > 0 {
		dst = append(dst, r.Value...)
	}
	dst = binary.AppendVarint(dst, int64(len(r.Headers)))
	for i := range r.Headers {
		h := &r.Headers[i]
		dst = binary.AppendVarint(dst, int64(len(h.Name)))
		dst = append(dst, h.Name...)
		dst = binary.AppendVarint(dst, int64(len(h.Value)))
		dst = append(dst, h.Value...)
	}
	return dst
}

func headersSize(headers []message.Header) int {
	size := varintSize(int64(len(headers)))
	for i := range headers {
		h := &headers[i]
		size += varintSize(int64(len(h.Name))) + len(h.Name) + varintSize(int64(len(h.Value))) + len(h.Value)
	}
	return size
}

// varintSize is the number of bytes binary.AppendVarint appends.
func varintSize(v int64) int {
	return (bits.Len64(uint64(v<<1)^uint64(v>>63)|1) + 6) / 7
}
