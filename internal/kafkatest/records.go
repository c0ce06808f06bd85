package kafkatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A Record is one record as kcat read it.
type Record struct {
	Partition int
	Offset    int64
	Timestamp int64  // Unix milliseconds
	Key       []byte // nil: null
	Value     []byte // nil: null
	// Headers is kcat's text: name=value, joined by commas, NULL for a null value.
	Headers string
}

// nextHeader finds where kcat's text goes on with another header.
var nextHeader = regexp.MustCompile(`,[A-Za-z0-9_.-]+=`)

// Header returns the value of a header, "" when the record has none of the
// name. A value that itself holds ",name=" is cut there: kcat does not quote.
func (r *Record) Header(name string) string {
	_, value, ok := strings.Cut(","+r.Headers, ","+name+"=")
	if !ok {
		return ""
	}
	if end := nextHeader.FindStringIndex(value); end != nil {
		return value[:end[0]]
	}
	return value
}

// mark ends a frame; records do not contain it.
const mark = "\x1e\x1dpenstock-frame\x1d\x1e\n"

// Records reads a topic from its beginning to its present end with kcat: by
// partition in the order of the partition, partitions mixed.
func (b *Broker) Records(t testing.TB, topic string) []Record {
	t.Helper()
	records, err := b.read(topic)
	if err != nil {
		t.Fatalf("read topic %s with kcat: %v", topic, err)
	}
	return records
}

func (b *Broker) read(topic string) ([]Record, error) {
	kcat, err := tool("kcat", "kcat")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	// -1 is the length of null. %h is the only part whose length kcat cannot tell.
	cmd := exec.CommandContext(ctx, kcat, "-C", "-q", "-e", "-b", b.Addr, "-t", topic, "-o", "beginning",
		"-X", "fetch.wait.max.ms=20", "-X", "check.crcs=true", "-X", "message.max.bytes=1000000000",
		"-X", "fetch.message.max.bytes=8000000", "-X", "receive.message.max.bytes=1000001000",
		"-f", "%p %o %T %K %S\n%k%s%h"+mark)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, complaint.Bytes())
	}
	return parse(out.Bytes())
}

func parse(out []byte) ([]Record, error) {
	var records []Record
	for len(out) > 0 {
		r, rest, err := parseOne(out)
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", len(records), err)
		}
		records = append(records, r)
		out = rest
	}
	return records, nil
}

func parseOne(out []byte) (Record, []byte, error) {
	var r Record
	head, rest, ok := bytes.Cut(out, []byte("\n"))
	fields := strings.Fields(string(head))
	if !ok || len(fields) != 5 {
		return r, nil, fmt.Errorf("unexpected frame %q", head)
	}
	var n [5]int64
	for i, f := range fields {
		v, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return r, nil, err
		}
		n[i] = v
	}
	r.Partition, r.Offset, r.Timestamp = int(n[0]), n[1], n[2]
	if max(n[3], 0)+max(n[4], 0) > int64(len(rest)) {
		return r, nil, errors.New("frame is cut off")
	}
	r.Key, rest = take(rest, n[3])
	r.Value, rest = take(rest, n[4])
	headers, rest, ok := bytes.Cut(rest, []byte(mark))
	if !ok {
		return r, nil, errors.New("frame has no end")
	}
	r.Headers = string(headers)
	return r, rest, nil
}

func take(b []byte, n int64) (part, rest []byte) {
	if n < 0 {
		return nil, b
	}
	return b[:n:n], b[n:]
}

// WaitRecords reads a topic until it holds at least n records, at most a minute.
func (b *Broker) WaitRecords(t testing.TB, topic string, n int) []Record {
	t.Helper()
	deadline := time.Now().Add(startTimeout)
	for {
		records, err := b.read(topic)
		if err == nil && len(records) >= n {
			return records
		}
		if time.Now().After(deadline) {
			t.Fatalf("topic %s holds %d records, want %d (%v)", topic, len(records), n, err)
		}
		<-time.After(50 * time.Millisecond) // kcat is a process per look
	}
}
