package rules

// Config is one entry of `rules`.
type Config struct {
	Name    string         `koanf:"name"`
	From    []string       `koanf:"from"`     // one topic filter or a list, with captures
	Where   string         `koanf:"where"`    // expression; "" = every message
	Ack     string         `koanf:"ack"`      // received, stored; "" = the journal's default
	OnError string         `koanf:"on_error"` // dead_letter (default) or drop
	To      []OutputConfig `koanf:"to"`
	Tests   []TestConfig   `koanf:"tests"`
}

// OutputConfig is one entry of a rule's `to`. Topic, Key and Headers' values
// are templates, When and Value expressions.
type OutputConfig struct {
	Sink       string        `koanf:"sink"`
	When       string        `koanf:"when"`
	Topic      string        `koanf:"topic"`
	Key        string        `koanf:"key"`
	Value      string        `koanf:"value"`
	Headers    HeadersConfig `koanf:"headers"`
	Tombstone  bool          `koanf:"tombstone"`  // a nil value is a null record, not a rule error
	Unconfined bool          `koanf:"unconfined"` // the topic may begin with a hole
}

// HeadersConfig is `headers`: absent, the word none, or a map of templates.
type HeadersConfig struct {
	None bool
	Set  map[string]string
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

// ExpectConfig is one record that must leave, or the error that must happen.
// Only the keys written are compared; nil means not written.
type ExpectConfig struct {
	Sink    *string           `koanf:"sink"`
	Topic   *string           `koanf:"topic"`
	Key     *string           `koanf:"key"`
	Value   any               `koanf:"value"` // map or list: compared as JSON, else as bytes
	Headers map[string]string `koanf:"headers"`
	Error   *string           `koanf:"error"` // a part of the rule error's text
}
