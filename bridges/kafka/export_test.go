package kafka

import (
	"time"

	"github.com/penstock/penstock/internal/message"
)

// What the tests of the package look into.
var (
	Choose  = choose
	Murmur2 = murmur2
)

// Encoder returns a function that encodes a batch into memory it uses again.
func Encoder(name string) func([]message.Record) []byte {
	c, err := newCodec(name)
	if err != nil {
		panic(err)
	}
	var out, scratch []byte
	return func(batch []message.Record) []byte {
		out, scratch = appendBatch(out[:0], batch, nil, stamp{1, 2, 3}, c, scratch)
		return out
	}
}

// Hasten makes a sink that is not open lose its patience sooner.
func Hasten(s *Sink) {
	s.timing.produce, s.timing.metadata, s.timing.missing = 3*time.Second, 3*time.Second, 1500*time.Millisecond
}

// EncodePicked encodes some of the records.
func EncodePicked(batch []message.Record, pick []int32) []byte {
	out, _ := appendBatch(nil, batch, pick, unstamped(), codec{}, nil)
	return out
}

// HastenRefresh makes a sink that is not open look for new partitions often.
func HastenRefresh(s *Sink) { s.timing.period = 20 * time.Millisecond }
