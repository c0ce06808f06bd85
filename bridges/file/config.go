package file

import (
	"github.com/penstock/penstock/internal/problem"
)

// Config is the key `file` of a sink.
type Config struct {
	Path   string `koanf:"path"`   // reaches here absolute
	Format string `koanf:"format"` // value (default) or envelope
}

// StdoutConfig is the key `stdout` of a sink.
type StdoutConfig struct {
	Format string `koanf:"format"` // value (default) or envelope
}

// The formats.
const (
	formatValue    = "value"
	formatEnvelope = "envelope"
)

// Validate returns what is wrong with the configuration, with paths below `file`.
func (c Config) Validate() problem.List {
	l := validateFormat(c.Format)
	if c.Path == "" {
		l = append(l, problem.New("path", "a file sink needs a path").WithHint("path: out.jsonl"))
	}
	return l
}

// Validate returns what is wrong with the configuration, with paths below `stdout`.
func (c StdoutConfig) Validate() problem.List { return validateFormat(c.Format) }

func validateFormat(f string) problem.List {
	switch f {
	case "", formatValue, formatEnvelope:
		return nil
	}
	p := problem.New("format", "%q is not a format", f)
	hint := problem.DidYouMean(f, []string{formatValue, formatEnvelope})
	if hint == "" {
		hint = "value or envelope"
	}
	p.Hint = hint
	return problem.List{p}
}
