package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/internal/problem"
	"github.com/penstock/penstock/pipelines"
)

// deliveryWarnings returns what is allowed but probably not meant about the
// policies of full sinks.
func (l *loader) deliveryWarnings() problem.List {
	var found problem.List
	for i, s := range l.loaded.Config.Sinks {
		path := fmt.Sprintf("sinks[%d].delivery", i)
		found = append(found, l.policyWarnings(s.Delivery).Under(path)...)
		if drops(s.Delivery) {
			found = append(found, l.promised(s)...)
		}
	}
	return found
}

// drops says whether a full sink loses messages instead of refusing new ones.
func drops(d pipelines.DeliveryConfig) bool { return d.OnFull != "" && d.OnFull != "block" }

func (l *loader) policyWarnings(d pipelines.DeliveryConfig) problem.List {
	var found problem.List
	switch {
	case d.OnFull == "keep_latest": // it has bounds of its own, in memory
	case drops(d) && d.Max == pipelines.MaxConfig{}:
		found = append(found, problem.New("on_full", "without max, %s begins only when the sink's share of the journal is full, about %s", d.OnFull, l.share()).
			WithHint("set max: {bytes: ...}, max: {records: ...} or max: {age: ...}"))
	case !drops(d) && d.Max.Age > 0:
		found = append(found, problem.New("max.age", "on_full is block: when the oldest message is older than this, new ones are refused and none is dropped").
			WithHint("to drop what is too old set on_full: drop_oldest"))
	}
	if room := l.room() / 10 * 9; d.Max.Bytes > room {
		found = append(found, problem.New("max.bytes", "the whole journal is full before so much waits for this sink").
			WithHint("less than %s, or raise journal.max_bytes", sizeText(room)))
	}
	if d.OnFull == "keep_latest" && d.Order != "" {
		found = append(found, problem.New("order", "a full sink with keep_latest keeps one message for each topic, in no other order"))
	}
	return found
}

// share returns the sink's share of the journal as people read it (C7): nine
// tenths, divided among the lanes and the sessions.
func (l *loader) share() string {
	return sizeText(l.room() / 10 * 9 / int64(len(l.loaded.Config.Sinks)+1))
}

// room returns how large the journal may be.
func (l *loader) room() int64 {
	if n := l.loaded.Config.Journal.MaxBytes; n != 0 {
		return n
	}
	return journal.DefaultBytes
}

func sizeText(n int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.bytes {
			number := strconv.FormatFloat(float64(n)/float64(unit.bytes), 'f', 1, 64)
			return strings.TrimSuffix(number, ".0") + unit.name
		}
	}
	return fmt.Sprintf("%dB", n)
}

// promised warns about rules whose publishers wait for a delivery that a full
// sink gives up.
func (l *loader) promised(s SinkConfig) problem.List {
	var found problem.List
	for i, r := range l.loaded.Config.Rules {
		if r.Ack.Level != message.AckDelivered.String() {
			continue
		}
		for j, o := range r.To {
			if o.Sink == s.Name && (o.Required == nil || *o.Required) {
				p := problem.New(fmt.Sprintf("rules[%d].to[%d].sink", i, j), "publishers wait until %s has it, but its on_full is %s: what is dropped is never delivered", s.Name, s.Delivery.OnFull)
				found = append(found, p.WithHint("set on_full: block there, or required: false here"))
			}
		}
	}
	return slices.CompactFunc(found, func(a, b problem.Problem) bool { return a.Path == b.Path })
}
