package pipelines

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/internal/message"
)

// maxTexts is how many different errors of an outage are remembered.
const maxTexts = 64

// An errorLog logs each error of an outage once, however often it comes back.
type errorLog struct {
	log  *slog.Logger
	seen map[string]struct{}
	last atomic.Pointer[failure] // for those who ask; never cleared
}

// A failure is an error as it was told.
type failure struct {
	text string
	at   time.Time
}

func (e *errorLog) note(attempt int, err error) {
	text := err.Error()
	e.last.Store(&failure{text, time.Now()})
	if _, ok := e.seen[text]; ok {
		return
	}
	if e.seen == nil || len(e.seen) >= maxTexts {
		e.seen = make(map[string]struct{})
	}
	e.seen[text] = struct{}{}
	e.log.Warn("sink failed, will try again", slog.Int("attempt", attempt), slog.Any("err", err))
}

func (e *errorLog) clear() { e.seen = nil }

// A ruleLog logs each rule's errors once per cause.
type ruleLog struct {
	log  *slog.Logger
	seen map[ruleCause]struct{}
}

type ruleCause struct {
	rule uint32
	kind string
}

func (r *ruleLog) note(rule uint32, name func(uint32) string, id message.ID, e *message.RuleError) {
	cause := ruleCause{rule, e.Kind}
	if _, ok := r.seen[cause]; ok {
		return
	}
	r.seen[cause] = struct{}{}
	r.log.Warn("rule failed on a message, further ones are only counted", slog.String("rule", name(rule)),
		slog.Uint64("offset", id.Offset), slog.String("reason", e.Kind), slog.Any("err", e.Err))
}
