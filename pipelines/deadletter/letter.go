package deadletter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/message"
)

// A Kind says why there is a letter.
type Kind string

// The kinds. Only rule errors give way to newer letters (C20).
const (
	RuleError   Kind = "rule_error"   // an output could not be made of a message
	Refused     Kind = "refused"      // a sink refused a record for good
	RuleRemoved Kind = "rule_removed" // a rule was removed before the message was delivered (C16)
)

// A Letter is one thing that could not be delivered, and why.
type Letter struct {
	Seq  uint64 `json:"seq"` // its number; given by the store
	Kind Kind   `json:"kind"`
	Rule string `json:"rule"` // its name
	Sink string `json:"sink"`
	// ID is `<message id>.<rule>.<output>`, and the replay's name behind it
	// when one made the record (C17).
	ID         string    `json:"id"`
	Time       time.Time `json:"time"` // when it became a letter
	RuleNumber uint32    `json:"rule_number"`
	Output     uint32    `json:"output"` // 0: the rule's condition failed
	Run        string    `json:"run,omitempty"`
	Reason     string    `json:"reason"` // a word of a fixed set
	Error      string    `json:"error"`
	Attempts   int       `json:"attempts"` // writes of it, redrives included; 0 for a rule error
	// History is the first of the attempts and the last ones.
	History []Attempt `json:"history,omitempty"`
	// Record is the message as it came in; nil when the journal lost it.
	Record *Record `json:"record"`
}

// An Attempt is one write, or one redrive, that failed.
type Attempt struct {
	Time  time.Time `json:"time"` // when the error came
	Error string    `json:"error"`
}

const (
	// maxHistory is how many attempts a letter shows: the first and the last.
	maxHistory = 10
	// maxError bounds an error's text in a letter, in bytes.
	maxError = 1 << 10
)

// AddAttempt returns history with one more attempt, of at most 10: the first
// one and the last ones stay. It changes history in place.
func AddAttempt(history []Attempt, at time.Time, err error) []Attempt {
	return addAttempt(history, Attempt{Time: Stamp(at), Error: ErrorText(err)})
}

func addAttempt(history []Attempt, a Attempt) []Attempt {
	if len(history) == maxHistory {
		history = slices.Delete(history, 1, 2)
	}
	return append(history, a)
}

// Stamp is a time as letters have it: UTC, milliseconds.
func Stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// ErrorText is an error as letters have it: "" for none, of bounded length.
func ErrorText(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	if len(text) > maxError {
		text = text[:maxError] + "..."
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// A Record is a message as it came in.
type Record struct {
	Received      time.Time   `json:"received"`
	Client        string      `json:"client"`
	User          string      `json:"user"`
	Topic         string      `json:"topic"`
	QoS           byte        `json:"qos"`
	Retain        bool        `json:"retain"`
	Properties    *Properties `json:"properties"` // nil: none
	Source        string      `json:"source"`     // "" for a client
	Hops          uint8       `json:"hops"`
	Payload       *string     `json:"payload,omitempty"` // when it is UTF-8 text
	PayloadBase64 []byte      `json:"payload_base64,omitempty"`
}

// Properties are the MQTT 5.0 properties that were present.
type Properties struct {
	PayloadFormat   *byte   `json:"payload_format,omitempty"`
	MessageExpiry   *uint32 `json:"message_expiry,omitempty"` // seconds
	ContentType     string  `json:"content_type,omitempty"`
	ResponseTopic   string  `json:"response_topic,omitempty"`
	CorrelationData []byte  `json:"correlation_data,omitempty"` // base64
	User            []Pair  `json:"user,omitempty"`             // in order; names may repeat
}

// A Pair is one user property.
type Pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// NewRecord returns m as a letter shows it; nothing of it changes with m.
func NewRecord(m *message.Message) *Record {
	r := &Record{
		Received: m.Time(), Client: m.Client, User: m.User, Topic: m.Topic,
		QoS: m.QoS, Retain: m.Retain, Source: m.Source, Hops: m.Hops,
		Properties: newProperties(&m.Properties),
	}
	if utf8.Valid(m.Payload) {
		text := string(m.Payload)
		r.Payload = &text
	} else {
		r.PayloadBase64 = slices.Clone(m.Payload)
	}
	return r
}

func newProperties(p *message.Properties) *Properties {
	if p.IsZero() {
		return nil
	}
	l := &Properties{
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
		l.User = append(l.User, Pair(u))
	}
	return l
}

// ErrNoRecord says that a letter has no message: the journal had lost it.
var ErrNoRecord = errors.New("the letter has no message: the journal could not read it")

// Message returns the message as it came in, for a rule to look at again.
func (l *Letter) Message() (message.Message, error) {
	if l.Record == nil {
		return message.Message{}, ErrNoRecord
	}
	text, _, _ := strings.Cut(l.ID, ".")
	id, err := message.ParseID(text)
	if err != nil {
		return message.Message{}, fmt.Errorf("letter %d: %w", l.Seq, err)
	}
	r := l.Record
	m := message.Message{
		ID: id, Received: r.Received.UnixMilli(), Client: r.Client, User: r.User, Topic: r.Topic,
		QoS: r.QoS, Retain: r.Retain, Source: r.Source, Hops: r.Hops, Payload: r.PayloadBase64,
	}
	if r.Payload != nil {
		m.Payload = []byte(*r.Payload)
	}
	r.Properties.restore(&m.Properties)
	return m, nil
}

func (p *Properties) restore(to *message.Properties) {
	if p == nil {
		return
	}
	to.ContentType, to.ResponseTopic, to.CorrelationData = p.ContentType, p.ResponseTopic, p.CorrelationData
	if p.PayloadFormat != nil {
		to.PayloadFormat, to.HasPayloadFormat = *p.PayloadFormat, true
	}
	if p.MessageExpiry != nil {
		to.MessageExpiry, to.HasMessageExpiry = *p.MessageExpiry, true
	}
	for _, u := range p.User {
		to.UserProperties = append(to.UserProperties, message.UserProperty(u))
	}
}
