package pipelines

import (
	"cmp"
	"log/slog"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/message"
)

const (
	// letterBatch is how many letters go into one append and its sync, and
	// letterBytes how many bytes of payload before they are written.
	letterBatch = 256
	letterBytes = 4 << 20
	// maxLetters is how many wait before the lane stops making more.
	maxLetters = 4096
	// letterRetry is how long a lane waits for room in the dead letters.
	letterRetry = time.Second
	// letterReach is how many offsets a reader walks to the next letter's
	// message before it is cheaper to open another.
	letterReach = 1024
)

// A letter is a record on its way to the dead letters.
type letter struct {
	mark        mark
	id          message.ID
	rule        uint32 // number
	output      uint32
	reason      string
	attempts    int
	first, last time.Time
	// refused: a sink refused it, so it may not be lost when there is no room
	// (C20); else it is a rule error.
	refused bool
}

// A letterBox takes a lane's letters to the dead letters in the background,
// one batch at a time. The lane's goroutine owns it, except in carry.
type letterBox struct {
	lane    string
	journal Journal
	store   *DeadLetters
	name    func(rule uint32) string
	log     *slog.Logger

	queue   []letter
	busy    bool // carry is at work
	done    chan carried
	state   letterState
	retryAt time.Time // blocked: the next try
}

type carried struct {
	letters []letter
	n       int // the first n are durable
	err     error
}

// full reports whether the lane must not make more letters for now.
func (b *letterBox) full() bool { return b.state == blocked || len(b.queue) >= maxLetters }

func (b *letterBox) add(l letter) { b.queue = append(b.queue, l) }

// send starts carrying what waits.
func (b *letterBox) send(now time.Time) {
	if b.busy || len(b.queue) == 0 || b.state == blocked && now.Before(b.retryAt) {
		return
	}
	n := min(len(b.queue), letterBatch)
	letters := slices.Clone(b.queue[:n])
	b.queue = slices.Delete(b.queue, 0, n)
	b.busy = true
	go func() { b.done <- b.carry(letters) }()
}

// carry looks the messages up in the journal, which keeps them because they
// are not settled, and writes the letters.
func (b *letterBox) carry(letters []letter) carried {
	c := carried{letters: letters}
	slices.SortFunc(letters, func(x, y letter) int { return cmp.Compare(x.id.Offset, y.id.Offset) })
	f := finder{journal: b.journal}
	defer f.close()
	var lines []DeadLetter
	bytes := 0
	for i := range letters {
		m := f.find(letters[i].id.Offset)
		lines = append(lines, b.line(&letters[i], m))
		if m != nil {
			bytes += len(m.Payload)
		}
		if bytes < letterBytes && i < len(letters)-1 {
			continue
		}
		n, err := b.store.Append(lines)
		c.n += n
		if err != nil {
			c.err = err
			return c
		}
		lines, bytes = lines[:0], 0
	}
	return c
}

func (b *letterBox) line(l *letter, m *message.Message) DeadLetter {
	d := DeadLetter{
		ID:   string(message.AppendRecordID(nil, l.id, l.rule, l.output)),
		Rule: b.name(l.rule), Output: l.output, Sink: b.lane,
		Reason: l.reason, Attempts: l.attempts, First: stamp(l.first), Last: stamp(l.last),
	}
	if m != nil {
		d.Record = NewLetterRecord(m)
	}
	return d
}

// stamp is a time as Penstock writes it: UTC, milliseconds.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// returned enters how a batch of letters fared: settle is called for each that
// needs no further care. What a sink refused waits for room, rule errors are
// only counted then (C20).
func (b *letterBox) returned(c carried, now time.Time, settle func(letter, fate)) {
	b.busy = false
	for _, l := range c.letters[:c.n] {
		settle(l, deadLettered)
	}
	var wait []letter
	for _, l := range c.letters[c.n:] {
		if l.refused {
			wait = append(wait, l)
		} else {
			settle(l, dropped+fate(dropLetters))
		}
	}
	b.queue = slices.Insert(b.queue, 0, wait...)
	b.retryAt = now.Add(letterRetry)
	switch {
	case len(wait) > 0:
		b.become(blocked, c.err)
	case c.n < len(c.letters):
		b.become(lossy, c.err)
	default:
		b.become(roomy, nil)
	}
}

// A letterState is how the dead letters took the last batch.
type letterState uint8

const (
	roomy   letterState = iota
	lossy               // no room for rule errors, which are only counted
	blocked             // no room for what a sink refused: the lane waits
)

// become logs a state when it is new.
func (b *letterBox) become(s letterState, err error) {
	if s == b.state {
		return
	}
	b.state = s
	switch s {
	case roomy:
		b.log.Info("dead letters have room again")
	case lossy:
		b.log.Error("dead letters take no more, rule errors are only counted", slog.Any("err", err))
	case blocked:
		b.log.Error("dead letters take no more, the lane waits for room", slog.Any("err", err))
	}
}

// A finder reads single messages of the journal.
type finder struct {
	journal Journal
	reader  Reader
	next    uint64 // the reader's place
	message message.Message
}

// find returns the message at offset, valid until the next call; nil when it
// cannot be read.
func (f *finder) find(offset uint64) *message.Message {
	if f.message.ID.Offset == offset && f.reader != nil {
		return &f.message
	}
	if f.reader == nil || offset < f.next || offset > f.next+letterReach {
		f.close()
		f.reader = f.journal.NewReader(offset)
	}
	for {
		at, ok, err := f.reader.Next()
		if err != nil || !ok {
			return nil
		}
		f.next = at + 1
		if at == offset {
			break
		}
		if at > offset {
			return nil
		}
	}
	f.message = message.Message{}
	if err := f.reader.Message(&f.message); err != nil {
		return nil
	}
	return &f.message
}

func (f *finder) close() {
	if f.reader != nil {
		f.reader.Close()
	}
}

// reason joins the fixed word and the error.
func reason(word string, err error) string {
	if err == nil {
		return word
	}
	return word + ": " + err.Error()
}
