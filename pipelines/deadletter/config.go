package deadletter

import (
	"path/filepath"

	"github.com/penstock/penstock/internal/problem"
)

// Config is the top-level key `dead_letters`. Zero values are the defaults.
type Config struct {
	MaxBytes   int64          `koanf:"max_bytes" unit:"bytes"`   // bound of all letters; 0 = 1 GiB
	RuleErrors int64          `koanf:"rule_errors" unit:"bytes"` // of these: for rule errors; 0 = 128 MiB, at most an eighth of max_bytes
	Forward    *ForwardConfig `koanf:"forward"`
}

// ForwardConfig says where a copy of each new letter goes: to a sink or to a
// topic, one of them.
type ForwardConfig struct {
	Sink  string `koanf:"sink"`
	Topic string `koanf:"topic"`
}

// The defaults of Config.
const (
	defaultBytes      = 1 << 30
	defaultRuleErrors = 128 << 20
)

// The least bounds a user may set: below them hardly a letter would fit.
const (
	minBytes      = 16 << 20
	minRuleErrors = 1 << 20
)

// FolderName is the store's folder inside the journal's.
const FolderName = "dead-letters"

// LegacyName is the file inside the journal's folder that held the letters of
// Penstock's first version.
const LegacyName = "dead-letters.jsonl"

// Validate returns what is wrong with the configuration, with paths below
// `dead_letters`.
func (c Config) Validate() problem.List {
	var l problem.List
	if c.MaxBytes != 0 && c.MaxBytes < minBytes {
		l = append(l, problem.New("max_bytes", "the dead letters need at least 16MiB").WithHint("raise it, or leave it out for 1GiB"))
	}
	if c.RuleErrors != 0 && c.RuleErrors < minRuleErrors {
		l = append(l, problem.New("rule_errors", "rule errors need at least 1MiB").WithHint("raise it, or leave it out for 128MiB"))
	}
	if most, _ := bounds(c.MaxBytes, 0); c.RuleErrors > most/2 {
		l = append(l, problem.New("rule_errors", "rule errors take more than half of the dead letters' room").
			WithHint("lower it, or raise dead_letters.max_bytes"))
	}
	return append(l, c.Forward.validate()...)
}

func (c *ForwardConfig) validate() problem.List {
	switch {
	case c == nil:
		return nil
	case c.Sink != "" && c.Topic != "":
		return problem.List{problem.New("forward", "letters are forwarded to a sink or to a topic, not to both")}
	case c.Sink == "" && c.Topic == "":
		return problem.List{problem.New("forward", "it is not said where letters are forwarded to").
			WithHint("forward: {sink: NAME} or forward: {topic: TOPIC}")}
	}
	return nil
}

// bounds returns the bound of all letters and that of rule errors among them.
func bounds(all, ruleErrors int64) (total, errors int64) {
	if all == 0 {
		all = defaultBytes
	}
	if ruleErrors == 0 {
		ruleErrors = min(defaultRuleErrors, all/8)
	}
	return all, ruleErrors
}

// Options returns what Open needs of a configuration that Validate passed, for
// the journal's folder.
func (c Config) Options(journalDir string) Options {
	return Options{
		Dir: filepath.Join(journalDir, FolderName), Legacy: filepath.Join(journalDir, LegacyName),
		MaxBytes: c.MaxBytes, RuleErrors: c.RuleErrors,
	}
}
