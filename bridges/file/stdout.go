package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
)

// A Stdout writes one line per record to a stream, usually the standard
// output. A record is confirmed when the system took it, which is no more
// durable than what reads the other end.
type Stdout struct {
	line appendLine
	out  io.Writer

	turn chan struct{} // as in Sink: who has the token owns the fields below
	torn bool          // the last write ended inside a line
	buf  []byte
	ends []int // where each record's line ends in buf
}

// NewStdout returns a sink that writes to out, which stays open.
func NewStdout(c StdoutConfig, out io.Writer) *Stdout {
	return &Stdout{line: lines(c.Format), out: out, turn: make(chan struct{}, 1)}
}

// Shard makes the stream one shard: its lines are in journal order.
func (s *Stdout) Shard(*message.Record) (group, shard, gen uint32) { return 0, 0, 0 }

// Open does nothing: the stream is open.
func (s *Stdout) Open(context.Context) error { return nil }

// Write writes the batch in one piece. What was written before an error is
// confirmed; a line that was cut in two ends there and is written again.
func (s *Stdout) Write(_ context.Context, batch []message.Record) error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.render(batch)
	n, err := s.out.Write(s.buf)
	if err == nil && n == len(s.buf) {
		s.torn = false
		return nil
	}
	if err == nil {
		err = io.ErrShortWrite
	}
	err = fmt.Errorf("write standard output: %w", err)
	if n > 0 {
		s.torn = s.buf[n-1] != '\n'
	}
	// Nobody will ever read on from a pipe whose reader is gone.
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return &bridges.Fatal{Err: err}
	}
	return s.partial(n, err)
}

// render fills buf, which begins by ending a line that was cut in two.
func (s *Stdout) render(batch []message.Record) {
	s.buf, s.ends = s.buf[:0], s.ends[:0]
	if s.torn {
		s.buf = append(s.buf, '\n')
	}
	for i := range batch {
		s.buf = s.line(s.buf, &batch[i])
		s.ends = append(s.ends, len(s.buf))
	}
}

// partial names the records of which n bytes do not hold the whole line.
func (s *Stdout) partial(n int, err error) error {
	p := &bridges.Partial{Failed: make(map[int]error)}
	for i, end := range s.ends {
		if end > n {
			p.Failed[i] = &bridges.Retry{Err: err}
		}
	}
	return p
}

// Close does nothing: the stream is not ours.
func (s *Stdout) Close(context.Context) error { return nil }

var _ bridges.Sharder = (*Stdout)(nil)
