// Package file is the sinks that write lines: to a file, durably, and to the
// standard output.
package file

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/linefile"
	"github.com/penstock/penstock/internal/message"
)

// filePerm lets the owner's group read the output, below the umask.
const filePerm = 0o640

// Options is what New needs beside the Config.
type Options struct {
	FS  fault.FS     // nil: the operating system's
	Log *slog.Logger // nil: none
}

// A Sink writes one line per record to a file. A batch is confirmed once it is
// synced; one that fails is cut back, so that the file never holds a part of a
// line that a retry then repeats.
type Sink struct {
	path string
	line appendLine
	o    Options

	// turn holds one token: who has it owns the fields below. A channel, since
	// the owner does I/O.
	turn chan struct{}
	file *linefile.File // nil before Open and after Close
	buf  []byte
}

// New returns a sink that is not open yet.
func New(c Config, o Options) (*Sink, error) {
	if err := c.Validate().Err(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Sink{path: c.Path, line: lines(c.Format), o: o, turn: make(chan struct{}, 1)}, nil
}

// Shard makes the file one shard: its lines are in journal order, and a batch
// takes all that came while the last one was synced.
func (s *Sink) Shard(*message.Record) (group, shard, gen uint32) { return 0, 0, 0 }

// Open opens or creates the file, whose folder must exist, and cuts an
// incomplete last line. Two sinks, or processes, cannot have the same file.
func (s *Sink) Open(context.Context) error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	f, err := linefile.Open(s.path, linefile.Options{FS: s.o.FS, Perm: filePerm, Lock: true})
	if err != nil {
		return &bridges.Fatal{Err: err}
	}
	s.file = f
	s.tellCut()
	return nil
}

// tellCut says what was cut, once.
func (s *Sink) tellCut() {
	if n := s.file.Cut(); n > 0 {
		s.o.Log.Warn("file ended with an incomplete line, cut", slog.String("file", s.path), slog.Int64("count", n))
	}
}

// Write appends the batch and syncs it.
func (s *Sink) Write(_ context.Context, batch []message.Record) error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.file == nil {
		return &bridges.Fatal{Err: fmt.Errorf("write %s: the sink is closed", s.path)}
	}
	s.buf = s.buf[:0]
	for i := range batch {
		s.buf = s.line(s.buf, &batch[i])
	}
	// A full or failing disk concerns every record alike: the lane pauses.
	if err := s.file.Append(s.buf); err != nil {
		return &bridges.Unavailable{Err: err}
	}
	return nil
}

// Reopen opens the path again after a log rotator moved the file away. If that
// fails, the file written so far stays in use.
func (s *Sink) Reopen() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.file == nil {
		return nil // Open will open it
	}
	if err := s.file.Reopen(); err != nil {
		return fmt.Errorf("reopen %s: %w", s.path, err)
	}
	s.tellCut()
	return nil
}

// Close closes the file; everything confirmed is durable.
func (s *Sink) Close(context.Context) error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

var (
	_ bridges.Sharder  = (*Sink)(nil)
	_ bridges.Reopener = (*Sink)(nil)
)
