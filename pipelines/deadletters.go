package pipelines

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/linefile"
	"github.com/penstock/penstock/internal/message"
)

// ErrDeadLettersFull says that a letter would take the file past its bound.
var ErrDeadLettersFull = errors.New("dead letters are full")

// deadLetterBytes is the default bound of the file.
const deadLetterBytes = 1 << 30

// A DeadLetter is one line of the file: a record that a sink refused for good,
// or an output that could not be made of a message, and why.
type DeadLetter struct {
	ID       string    `json:"id"` // `<message id>.<rule number>.<output number>`; output 0: the rule's condition
	Rule     string    `json:"rule"`
	Output   uint32    `json:"output"`
	Sink     string    `json:"sink"`
	Reason   string    `json:"reason"`   // a word of a fixed set, a colon, the error
	Attempts int       `json:"attempts"` // writes of it; 0 for a rule error
	First    time.Time `json:"first"`    // of the first attempt
	Last     time.Time `json:"last"`     // of the last
	// Record is the message as it came in; nil when the journal lost it.
	Record *LetterRecord `json:"record"`
}

// A LetterRecord is a message as it came in.
type LetterRecord struct {
	Received      time.Time         `json:"received"`
	Client        string            `json:"client"`
	User          string            `json:"user"`
	Topic         string            `json:"topic"`
	QoS           byte              `json:"qos"`
	Retain        bool              `json:"retain"`
	Properties    *LetterProperties `json:"properties"` // nil: none
	Source        string            `json:"source"`     // "" for a client
	Hops          uint8             `json:"hops"`
	Payload       *string           `json:"payload,omitempty"` // when it is UTF-8 text
	PayloadBase64 []byte            `json:"payload_base64,omitempty"`
}

// LetterProperties are the MQTT 5.0 properties that were present.
type LetterProperties struct {
	PayloadFormat   *byte        `json:"payload_format,omitempty"`
	MessageExpiry   *uint32      `json:"message_expiry,omitempty"` // seconds
	ContentType     string       `json:"content_type,omitempty"`
	ResponseTopic   string       `json:"response_topic,omitempty"`
	CorrelationData []byte       `json:"correlation_data,omitempty"` // base64
	User            []LetterPair `json:"user,omitempty"`             // in order; names may repeat
}

// A LetterPair is one user property.
type LetterPair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// NewLetterRecord returns m as a dead letter shows it; nothing of it changes with m.
func NewLetterRecord(m *message.Message) *LetterRecord {
	r := &LetterRecord{
		Received: m.Time(), Client: m.Client, User: m.User, Topic: m.Topic,
		QoS: m.QoS, Retain: m.Retain, Source: m.Source, Hops: m.Hops,
		Properties: newLetterProperties(&m.Properties),
	}
	if utf8.Valid(m.Payload) {
		text := string(m.Payload)
		r.Payload = &text
	} else {
		r.PayloadBase64 = slices.Clone(m.Payload)
	}
	return r
}

func newLetterProperties(p *message.Properties) *LetterProperties {
	if p.IsZero() {
		return nil
	}
	l := &LetterProperties{
		ContentType: p.ContentType, ResponseTopic: p.ResponseTopic, CorrelationData: slices.Clone(p.CorrelationData),
	}
	if p.HasPayloadFormat {
		format := p.PayloadFormat
		l.PayloadFormat = &format
	}
	if p.HasMessageExpiry {
		expiry := p.MessageExpiry
		l.MessageExpiry = &expiry
	}
	for _, u := range p.UserProperties {
		l.User = append(l.User, LetterPair(u))
	}
	return l
}

// DeadLetterOptions is what OpenDeadLetters needs.
type DeadLetterOptions struct {
	Path     string       // the file; its folder must exist
	MaxBytes int64        // 0 = 1 GiB
	FS       fault.FS     // nil: the operating system's
	Log      *slog.Logger // nil: none
}

// DeadLetters is the file of what could not be delivered, one JSON object per
// line, shared by all lanes.
type DeadLetters struct {
	maxBytes int64
	fs       fault.FS
	size     atomic.Int64 // file's, for those who only look
	// turn holds one token: who has it owns the fields below. A channel, since
	// the owner does I/O.
	turn chan struct{}
	file *linefile.File
	buf  bytes.Buffer
}

// OpenDeadLetters opens or creates the file and cuts an incomplete last line.
func OpenDeadLetters(o DeadLetterOptions) (*DeadLetters, error) {
	if o.FS == nil {
		o.FS = fault.OS{}
	}
	file, err := linefile.Open(o.Path, linefile.Options{FS: o.FS, Perm: 0o600})
	if err != nil {
		return nil, err
	}
	if file.Cut() > 0 && o.Log != nil {
		o.Log.Warn("dead letters ended with an incomplete line, cut", slog.String("file", o.Path), slog.Int64("count", file.Cut()))
	}
	d := &DeadLetters{maxBytes: o.MaxBytes, fs: o.FS, file: file, turn: make(chan struct{}, 1)}
	if d.maxBytes == 0 {
		d.maxBytes = deadLetterBytes
	}
	d.size.Store(file.Size())
	return d, nil
}

// Append writes letters, in one piece, as many as there is room for, and
// returns once they are durable. Those from index n on are not written when
// err is not nil.
func (d *DeadLetters) Append(letters []DeadLetter) (n int, err error) {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	if err := d.follow(); err != nil {
		return 0, err
	}
	n, full := d.encode(letters)
	if n > 0 {
		if err := d.file.Append(d.buf.Bytes()); err != nil {
			return 0, err
		}
		d.size.Store(d.file.Size())
	}
	return n, full
}

// follow opens the path again when the file was moved or removed by somebody
// who made room.
func (d *DeadLetters) follow() error {
	info, err := d.fs.Stat(d.file.Path())
	if err == nil && info.Size() == d.file.Size() {
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("stat dead letters: %w", err)
	}
	return d.file.Reopen()
}

// encode fills buf with the lines of the letters that fit.
func (d *DeadLetters) encode(letters []DeadLetter) (n int, err error) {
	d.buf.Reset()
	enc := json.NewEncoder(&d.buf)
	enc.SetEscapeHTML(false)
	for i := range letters {
		before := d.buf.Len()
		if err := enc.Encode(&letters[i]); err != nil {
			return i, fmt.Errorf("encode dead letter: %w", err)
		}
		if d.file.Size()+int64(d.buf.Len()) > d.maxBytes {
			d.buf.Truncate(before)
			return i, ErrDeadLettersFull
		}
	}
	return len(letters), nil
}

// Size returns the bytes in the file.
func (d *DeadLetters) Size() int64 { return d.size.Load() }

// Close closes the file.
func (d *DeadLetters) Close() error {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	return d.file.Close()
}
