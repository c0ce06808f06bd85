package pipelines

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines/deadletter"
)

// DeadLetters is where a lane's letters go: a *deadletter.Store.
type DeadLetters interface {
	// Append adds letters of one part, as many as there is room for, and
	// returns once they are durable; those from index n on are not there when
	// err is not nil.
	Append(letters []deadletter.Letter) (n int, err error)
}

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
	mark     mark
	kind     deadletter.Kind
	id       message.ID
	rule     uint32 // number
	output   uint32
	run      string // the replay that made the record, "" for none
	reason   string // a word of a fixed set
	err      error
	attempts int
	history  []deadletter.Attempt
	time     time.Time
}

// owed: it may not be lost when there is no room (C20). Only rule errors may.
func (l *letter) owed() bool { return l.kind != deadletter.RuleError }

// A letterBox takes a lane's letters to the dead letters in the background,
// one batch at a time. The lane's goroutine owns it, except in carry.
type letterBox struct {
	lane    string
	journal Journal
	store   DeadLetters
	name    func(rule uint32) string
	log     *slog.Logger

	queue   []letter
	busy    bool // carry is at work
	done    chan carried
	state   letterState
	retryAt time.Time // blocked: the next try
}

type carried struct {
	done []letter // durable
	left []letter
	// unread: their messages could not be read this time.
	unread []letter
	err    error // why some are left or unread
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
// are not settled, and writes the letters, each part of the store by itself.
func (b *letterBox) carry(letters []letter) carried {
	var c carried
	slices.SortFunc(letters, func(x, y letter) int { return cmp.Compare(x.id.Offset, y.id.Offset) })
	f := finder{journal: b.journal}
	defer f.close()
	for _, owed := range [...]bool{true, false} {
		part := bundle{box: b}
		for i := range letters {
			if letters[i].owed() != owed {
				continue
			}
			m, err := f.find(letters[i].id.Offset)
			if err != nil { // it may pass: a letter without its message helps nobody
				c.unread, c.err = append(c.unread, letters[i]), err
				continue
			}
			part.add(letters[i], m, &c)
		}
		part.flush(&c)
	}
	return c
}

// A bundle is letters on their way to one part of the store.
type bundle struct {
	box     *letterBox
	letters []letter
	lines   []deadletter.Letter
	bytes   int // of payload
	over    bool
}

func (p *bundle) add(l letter, m *message.Message, c *carried) {
	p.letters = append(p.letters, l)
	p.lines = append(p.lines, p.box.line(&l, m))
	if m != nil {
		p.bytes += len(m.Payload)
	}
	if p.bytes >= letterBytes {
		p.flush(c)
	}
}

// flush writes what was gathered. A rule error that is larger than all the room
// for them is left alone; any other error ends the part.
func (p *bundle) flush(c *carried) {
	for len(p.lines) > 0 && !p.over {
		n, err := p.box.store.Append(p.lines)
		c.done = append(c.done, p.letters[:n]...)
		p.letters, p.lines = p.letters[n:], p.lines[n:]
		if err == nil {
			break
		}
		c.err = err
		if p.over = !errors.Is(err, deadletter.ErrTooLarge) || len(p.lines) == 0; !p.over {
			c.left = append(c.left, p.letters[0])
			p.letters, p.lines = p.letters[1:], p.lines[1:]
		}
	}
	c.left = append(c.left, p.letters...)
	p.letters, p.lines, p.bytes = nil, nil, 0
}

func (b *letterBox) line(l *letter, m *message.Message) deadletter.Letter {
	d := deadletter.Letter{
		Kind: l.kind, Rule: b.name(l.rule), RuleNumber: l.rule, Output: l.output, Sink: b.lane, Run: l.run,
		Time: deadletter.Stamp(l.time), Reason: l.reason, Error: deadletter.ErrorText(l.err),
		Attempts: l.attempts, History: l.history,
	}
	r := message.Record{Message: l.id, Rule: l.rule, Output: l.output, Run: l.run}
	d.ID = string(r.AppendID(nil))
	if m != nil {
		d.Record = deadletter.NewRecord(m)
	}
	return d
}

// returned enters how a batch of letters fared: settle is called for each that
// needs no further care. What is owed waits for room, rule errors are only
// counted then (C20).
func (b *letterBox) returned(c carried, now time.Time, settle func(letter, fate)) {
	b.busy = false
	for _, l := range c.done {
		settle(l, deadLettered)
	}
	wait := c.unread
	for _, l := range c.left {
		if l.owed() {
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
	case len(c.left) > 0:
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
	blocked             // no room for what is owed: the lane waits
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

// find returns the message at offset, valid until the next call; nil when the
// journal has lost it. The error is of reading, and may pass.
func (f *finder) find(offset uint64) (*message.Message, error) {
	if f.message.ID.Offset == offset && f.reader != nil {
		return &f.message, nil
	}
	if f.reader == nil || offset < f.next || offset > f.next+letterReach {
		f.close()
		f.reader = f.journal.NewReader(offset)
	}
	for {
		at, ok, err := f.reader.Next()
		if err != nil || !ok {
			return nil, err
		}
		f.next = at + 1
		if at == offset {
			break
		}
		if at > offset {
			return nil, nil
		}
	}
	f.message = message.Message{}
	if f.reader.Message(&f.message) != nil {
		return nil, nil //nolint:nilerr // it does not pass: the journal has nothing else
	}
	return &f.message, nil
}

func (f *finder) close() {
	if f.reader != nil {
		f.reader.Close()
	}
}
