package rules

import "time"

// Config is one entry of `rules`. The json keys are those of a stored
// definition: see Set.Definition.
type Config struct {
	Name    string         `koanf:"name" json:"name,omitempty"`
	From    []string       `koanf:"from" json:"from,omitempty"`         // one topic filter or a list, with captures
	Where   string         `koanf:"where" json:"where,omitempty"`       // expression; "" = every message
	Ack     AckConfig      `koanf:"ack" json:"ack,omitzero"`            // zero: the journal's default
	OnError string         `koanf:"on_error" json:"on_error,omitempty"` // dead_letter (default) or drop
	Shadow  bool           `koanf:"shadow" json:"shadow,omitempty"`     // evaluated and counted, never sent
	To      []OutputConfig `koanf:"to" json:"to,omitempty"`
	Tests   []TestConfig   `koanf:"tests" json:"tests,omitempty"` // no part of a definition
}

// AckConfig is `ack`: the word received, stored or delivered, or a map with
// the level and how long a publisher waits for it at most.
type AckConfig struct {
	Level  string        `koanf:"level" json:"level,omitempty"`
	Within time.Duration `koanf:"within" json:"within,omitempty"` // with delivered only; 0 = as long as it takes
}

// OutputConfig is one entry of a rule's `to`. Topic, Key and Headers' values
// are templates, When and Value expressions.
type OutputConfig struct {
	Sink       string        `koanf:"sink" json:"sink,omitempty"`
	When       string        `koanf:"when" json:"when,omitempty"`
	Topic      string        `koanf:"topic" json:"topic,omitempty"`
	Key        string        `koanf:"key" json:"key,omitempty"`
	Value      string        `koanf:"value" json:"value,omitempty"`
	Headers    HeadersConfig `koanf:"headers" json:"headers,omitzero"`
	Tombstone  bool          `koanf:"tombstone" json:"tombstone,omitempty"`   // a nil value is a null record, not a rule error
	Unconfined bool          `koanf:"unconfined" json:"unconfined,omitempty"` // the topic may begin with a hole
	Required   *bool         `koanf:"required" json:"required,omitempty"`     // nil: true; false: `ack: delivered` does not wait for it
}

// optional reports whether no acknowledgement waits for the output (C13).
func (o *OutputConfig) optional() bool { return o.Required != nil && !*o.Required }

// HeadersConfig is `headers`: absent, the word none, or a map of templates.
type HeadersConfig struct {
	None bool              `json:"none,omitempty"`
	Set  map[string]string `json:"set,omitempty"`
}

// TestConfig is one entry of a rule's `tests`.
type TestConfig struct {
	Name   string         `koanf:"name"`
	Given  GivenList      `koanf:"given"`  // one message, or a list of them
	Expect []ExpectConfig `koanf:"expect"` // in order and in full
}

// GivenList is one message or several.
type GivenList []GivenConfig

// GivenConfig is a message as a test writes it. A map or list as payload is
// JSON, text is text.
type GivenConfig struct {
	Topic         string         `koanf:"topic"`
	Payload       any            `koanf:"payload"`
	PayloadBase64 string         `koanf:"payload_base64"`
	PayloadFile   string         `koanf:"payload_file"` // reaches here absolute
	Client        string         `koanf:"client"`
	User          string         `koanf:"user"`
	QoS           int            `koanf:"qos"`
	Retain        bool           `koanf:"retain"`
	Properties    map[string]any `koanf:"properties"`
	Received      string         `koanf:"received"` // RFC 3339; "" = 2026-01-01T00:00:00Z
}

// Tombstone is the value null of an expectation: the record has no value.
type Tombstone struct{}

// ExpectConfig is one record that must leave, or the error that must happen.
// Only the keys written are compared; nil means not written.
type ExpectConfig struct {
	Sink    *string           `koanf:"sink"`
	Topic   *string           `koanf:"topic"`
	Key     *string           `koanf:"key"`
	Value   any               `koanf:"value"` // map or list: compared as JSON, Tombstone: no value, else as bytes
	Headers map[string]string `koanf:"headers"`
	Error   *string           `koanf:"error"` // a part of the rule error's text
}
