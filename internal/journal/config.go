package journal

import (
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/problem"
)

// MinBytes is the smallest bound a user may set. Below it the segments would
// be so small that most of the disk traffic were their heads.
const MinBytes = 64 << 20

// DefaultBytes is the bound when none is set.
const DefaultBytes = 10 << 30

// Config is the top-level key `journal`.
type Config struct {
	Dir      string `koanf:"dir"`                    // reaches here absolute
	MaxBytes int64  `koanf:"max_bytes" unit:"bytes"` // bound of everything in Dir; 0 = 10 GiB
	Sync     string `koanf:"sync"`                   // group (default), off, or an interval such as 100ms

	Keep        time.Duration `koanf:"keep"`        // how long what is delivered stays for a replay; 0 = not at all
	Compression string        `koanf:"compression"` // none (default) or zstd, of what is written from now on
	Record      []string      `koanf:"record"`      // topic filters of messages to store even when no rule wants them
}

// Validate returns every problem of the configuration.
func (c Config) Validate() problem.List {
	var list problem.List
	if c.MaxBytes != 0 && c.MaxBytes < MinBytes {
		list = append(list, problem.New("max_bytes", "the journal needs at least 64MiB").
			WithHint("raise it, or leave it out for 10GiB"))
	}
	if _, err := ParseSync(c.Sync); err != nil {
		p := problem.New("sync", "%s", err.Error())
		if near := problem.DidYouMean(strings.ToLower(c.Sync), []string{"group", "off"}); near != "" {
			p = p.WithHint("%s", near)
		}
		list = append(list, p)
	}
	if c.Keep < 0 {
		list = append(list, problem.New("keep", "keep may not be negative"))
	}
	if c.Compression != "" && !slices.Contains(compressions, c.Compression) {
		p := problem.New("compression", "%q is neither none nor zstd", c.Compression)
		if near := problem.DidYouMean(strings.ToLower(c.Compression), compressions); near != "" {
			p = p.WithHint("%s", near)
		}
		list = append(list, p)
	}
	return list
}

// compressions is the values of the key `compression`.
var compressions = []string{CompressionNone, CompressionZstd}

// Options returns what Open needs of a configuration that Validate passed.
func (c Config) Options() Options {
	sync, _ := ParseSync(c.Sync)
	return Options{Dir: c.Dir, MaxBytes: c.MaxBytes, Sync: sync, Keep: c.Keep, Compression: c.Compression}
}
