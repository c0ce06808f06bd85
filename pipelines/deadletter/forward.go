package deadletter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/message"
)

// ForwardSource is the source of messages that are forwarded letters: a letter
// about one of them is not forwarded again.
const ForwardSource = "dead-letters"

// forwardRun ends the id of a forwarded letter, so that no destination takes
// it for the record that the letter is about.
const forwardRun = "letter"

// A Forwarder hands a copy of each new letter on, at least once and in order.
// Letters stay in the store.
type Forwarder struct {
	store *Store
	topic string
	local bool
	send  Send
	log   *slog.Logger
	next  uint64 // the number of the next letter to forward
}

// A Send hands records on and returns what became of each, at the same index.
// It waits while the destination is unavailable, until ctx ends.
type Send func(ctx context.Context, records []message.Record) ([]Outcome, error)

// ForwarderOptions is what NewForwarder needs.
type ForwarderOptions struct {
	Store *Store
	// Topic is the records' topic, in the destination's own terms: where the
	// broker is to publish them, the Kafka topic.
	Topic string
	// Local: the broker publishes them, so that a letter about a message with
	// that topic is about a forwarded one.
	Local bool
	Send  Send
	Log   *slog.Logger // nil: none
}

// NewForwarder goes on where the last one stopped; the first one begins with
// the next letter.
func NewForwarder(o ForwarderOptions) (*Forwarder, error) {
	f := &Forwarder{store: o.Store, topic: o.Topic, local: o.Local, send: o.Send, log: o.Log}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	next, ok, err := o.Store.forwarded()
	if err != nil {
		return nil, fmt.Errorf("read where forwarding stopped: %w", err)
	}
	if ok {
		f.next = min(next, o.Store.Next()) // the store may have lost its last letters to damage
		return f, nil
	}
	f.next = o.Store.Next()
	return f, f.save()
}

// The bounds of what is forwarded at a time, and how long the forwarder waits
// when it could not.
const (
	forwardLetters = 256
	forwardBytes   = 4 << 20
	forwardRetry   = 5 * time.Second
)

// Run forwards until ctx ends.
func (f *Forwarder) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		added := f.store.Added()
		if f.run(ctx) {
			continue
		}
		select {
		case <-added:
		case <-ctx.Done():
		}
	}
	return nil
}

// run forwards some letters and reports whether there may be more at once.
func (f *Forwarder) run(ctx context.Context) bool {
	records, next := f.gather()
	if next == f.next {
		return false
	}
	err := f.forward(ctx, records)
	if err == nil {
		f.next = next
		err = f.save()
	}
	if err == nil || ctx.Err() != nil {
		return true
	}
	f.log.Warn("forward dead letters", slogErr(err))
	select {
	case <-time.After(forwardRetry):
	case <-ctx.Done():
	}
	return true
}

// gather makes records of the next letters.
func (f *Forwarder) gather() (records []message.Record, next uint64) {
	next = f.next
	size := 0
	for l, err := range f.store.List(Filter{First: f.next, Limit: forwardLetters}) {
		next = l.Seq + 1
		if err == nil && !f.loops(&l) {
			var r message.Record
			if r, err = f.record(&l); err == nil {
				records = append(records, r)
				size += len(r.Value)
			}
		}
		if err != nil {
			f.log.Error("dead letter cannot be forwarded", slogErr(err))
		}
		if size >= forwardBytes {
			break
		}
	}
	return records, next
}

// loops reports whether a letter is about a forwarded one.
func (f *Forwarder) loops(l *Letter) bool {
	r := l.Record
	return strings.HasSuffix(l.ID, "."+forwardRun) ||
		r != nil && (r.Source == ForwardSource || f.local && r.Topic == f.topic)
}

// record is a letter on its way: its value is the letter as JSON, its key the
// id of the record the letter is about.
func (f *Forwarder) record(l *Letter) (message.Record, error) {
	var value bytes.Buffer
	enc := json.NewEncoder(&value)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(l); err != nil {
		return message.Record{}, fmt.Errorf("encode dead letter: %w", err)
	}
	text, _, _ := strings.Cut(l.ID, ".")
	id, err := message.ParseID(text)
	if err != nil {
		return message.Record{}, err
	}
	r := message.Record{
		Message: id, Rule: l.RuleNumber, Output: l.Output, Received: l.Time.UnixMilli(), Topic: f.topic,
		Key: []byte(l.ID), Value: bytes.TrimSuffix(value.Bytes(), []byte("\n")), Optional: true, Run: forwardRun,
	}
	if l.Record != nil {
		r.Client = l.Record.Client
	}
	r.Headers = []message.Header{{Name: "penstock-id", Value: r.AppendID(nil)}}
	return r, nil
}

// forward hands records on until each is delivered, or refused, which is
// logged: the letter itself is in the store.
func (f *Forwarder) forward(ctx context.Context, records []message.Record) error {
	if len(records) == 0 {
		return nil
	}
	outcomes, err := f.send(ctx, records)
	if err != nil {
		return err
	}
	for i := range records {
		switch {
		case i >= len(outcomes) || outcomes[i].Fate == Cancelled:
			return errForward
		case outcomes[i].Fate == Rejected:
			f.log.Error("forwarded dead letter was refused", slog.String("reason", outcomes[i].Reason), slogErr(outcomes[i].Err))
		}
	}
	return nil
}

var errForward = errors.New("a letter was not forwarded")

// forwardedName is the file that holds the position of the forwarder.
const forwardedName = "forwarded"

// A position is the number of the next letter to forward.
type position struct {
	Next uint64 `json:"next"`
}

// save makes the position durable.
func (f *Forwarder) save() error {
	var line bytes.Buffer
	if err := appendLine(&line, position{f.next}); err != nil {
		return err
	}
	return f.store.replace(forwardedName, line.Bytes())
}

// replace gives a small file of the folder other content, in one step.
func (s *Store) replace(name string, content []byte) error {
	path := filepath.Join(s.dir, name)
	file, err := s.fs.OpenFile(path+stagedSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(content, 0)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := s.fs.Rename(path+stagedSuffix, path); err != nil {
		return err
	}
	return s.fs.SyncDir(s.dir)
}

// forwarded reads the position; one that is not what was written counts as the
// beginning: letters are rather forwarded twice.
func (s *Store) forwarded() (next uint64, ok bool, err error) {
	file, err := scanFile(s.fs, filepath.Join(s.dir, forwardedName), func(file fault.File, size int64) error {
		line := make([]byte, size)
		if _, err := file.ReadAt(line, 0); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		var p position
		if intact(line) && json.Unmarshal(line, &p) == nil {
			next = p.Next
			return nil
		}
		next = 1
		s.log.Error("where forwarding stopped is not readable, all letters are forwarded again", slogFile(forwardedName))
		return nil
	})
	if file == nil || err != nil {
		return 0, false, err
	}
	return next, true, file.Close()
}
