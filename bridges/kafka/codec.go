package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// A codec compresses the records of a batch. compress appends to dst; nil: the
// records stay as they are.
type codec struct {
	attribute uint16 // as in the batch's attributes
	compress  func(dst, src []byte) ([]byte, error)
}

func codecNames() []string { return []string{"none", "gzip", "snappy", "lz4", "zstd"} }

// newCodec returns the codec of a name that Validate has accepted. A codec may
// be used by several goroutines at a time.
func newCodec(name string) (codec, error) {
	switch name {
	case "", "none":
		return codec{}, nil
	case "gzip":
		return codec{1, pooled(func() resetter { return gzipWriter{gzip.NewWriter(nil)} })}, nil
	case "snappy":
		return codec{2, compressSnappy}, nil
	case "lz4":
		return codec{3, pooled(newLZ4)}, nil
	case "zstd":
		e, err := zstd.NewWriter(nil)
		if err != nil {
			return codec{}, fmt.Errorf("prepare zstd: %w", err)
		}
		return codec{4, func(dst, src []byte) ([]byte, error) { return e.EncodeAll(src, dst), nil }}, nil
	}
	return codec{}, fmt.Errorf("unknown compression %q", name)
}

// append appends the compressed records and returns the batch's attributes.
// Records that would not become smaller are appended as they are, which is legal
// in any topic and the usual case for a single small record.
func (c codec) append(dst, records []byte) ([]byte, uint16) {
	out, err := c.compress(dst, records)
	if err != nil || len(out)-len(dst) >= len(records) {
		return append(out[:len(dst)], records...), 0
	}
	return out, c.attribute
}

// A resetter is a compressing writer that can be used again.
type resetter interface {
	Write(b []byte) (int, error)
	Close() error
	Reset(w *bytes.Buffer)
}

type gzipWriter struct{ *gzip.Writer }

func (w gzipWriter) Reset(b *bytes.Buffer) { w.Writer.Reset(b) }

type lz4Writer struct{ *lz4.Writer }

func (w lz4Writer) Reset(b *bytes.Buffer) { w.Writer.Reset(b) }

// newLZ4 writes the frames of Kafka's own clients: independent blocks of 64 KiB.
func newLZ4() resetter {
	w := lz4.NewWriter(nil)
	// The options are constants that pierrec/lz4 knows.
	_ = w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ConcurrencyOption(1))
	return lz4Writer{w}
}

func pooled(create func() resetter) func(dst, src []byte) ([]byte, error) {
	pool := sync.Pool{New: func() any { return create() }}
	return func(dst, src []byte) ([]byte, error) {
		w, _ := pool.Get().(resetter)
		defer pool.Put(w)
		out := bytes.NewBuffer(dst)
		w.Reset(out)
		if _, err := w.Write(src); err != nil {
			return dst, err
		}
		if err := w.Close(); err != nil {
			return dst, err
		}
		return out.Bytes(), nil
	}
}

// snappyBlock is how much Kafka's own clients compress at a time.
const snappyBlock = 32 << 10

// compressSnappy writes the framing of the Java snappy library, which is what
// Kafka calls snappy: a header, then blocks with their length in front.
func compressSnappy(dst, src []byte) ([]byte, error) {
	dst = append(dst, "\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"...)
	var block []byte
	for len(src) > 0 {
		n := min(len(src), snappyBlock)
		block = snappy.Encode(block[:cap(block)], src[:n])
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(block)))
		dst = append(dst, block...)
		src = src[n:]
	}
	return dst, nil
}
