package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/penstock/penstock/broker/topic"
	"github.com/penstock/penstock/internal/problem"
)

// limits checks the limits, also against the journal that must hold what they
// let in.
func (l *loader) limits() problem.List {
	c := &l.loaded.Config
	found := append(c.Limits.Validate(), l.notZero("receive_maximum", c.Limits.ReceiveMaximum == 0)...)
	found = append(found, l.notZero("max_packet", c.Limits.MaxPacket == 0)...)
	room := l.room()
	if most := room / journalParts; c.Limits.MaxPacket > most && len(found) == 0 {
		found = append(found, problem.New("max_packet", "a packet this large could not be stored in a journal of %s", sizeText(room)).
			WithHint("at most a quarter of journal.max_bytes, %s", sizeText(most)))
	}
	return found
}

// notZero refuses a limit of 0 that somebody wrote: it would mean the default.
func (l *loader) notZero(key string, zero bool) problem.List {
	if _, written := l.loaded.index.places["limits."+key]; !written || !zero {
		return nil
	}
	return problem.List{problem.New(key, "%s may not be 0", key).WithHint("leave it out for the default")}
}

// journalParts is how many of the largest messages a journal holds at least.
const journalParts = 4

// deadLetters checks the store of dead letters and where letters are forwarded
// to.
func (l *loader) deadLetters() problem.List {
	c := &l.loaded.Config
	found := c.DeadLetters.Validate()
	forward := c.DeadLetters.Forward
	if forward == nil {
		return found
	}
	if forward.Topic != "" {
		if err := topic.ValidName(forward.Topic); err != nil {
			found = append(found, problem.New("forward.topic", "this is not a topic: %s", err))
		}
	}
	names := make([]string, len(c.Sinks))
	for i, s := range c.Sinks {
		names[i] = s.Name
	}
	if forward.Sink != "" && !slices.Contains(names, forward.Sink) {
		p := problem.New("forward.sink", "there is no sink %q", forward.Sink)
		p.Hint = problem.DidYouMean(forward.Sink, names)
		found = append(found, p)
	}
	return l.withoutLostSinks(found)
}

// record checks the filters of `journal.record`.
func (l *loader) record() problem.List {
	var found problem.List
	for i, f := range l.loaded.Config.Journal.Record {
		path := fmt.Sprintf("journal.record[%d]", i)
		share, _ := topic.SplitShare(f)
		switch err := topic.ValidFilter(f); {
		case strings.ContainsAny(f, "{}"):
			found = append(found, problem.New(path, "a filter here has no {names}").WithHint("write + for one level, # for the rest"))
		case err != nil:
			found = append(found, problem.New(path, "this is not a topic filter: %s", err))
		case share != "":
			found = append(found, problem.New(path, "a shared subscription is no filter of what to store").WithHint("leave $share/%s/ out", share))
		}
	}
	return found
}
