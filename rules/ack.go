package rules

import (
	"slices"
	"time"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/internal/problem"
)

// The bounds of `within`: below, hardly any sink could be in time; above, the
// publisher's own patience ended long ago.
const (
	minWithin = 10 * time.Millisecond
	maxWithin = time.Hour
)

var ackLevels = []string{message.AckReceived.String(), message.AckStored.String(), message.AckDelivered.String()}

// ack compiles what the rule's acknowledgement waits for.
func (c *ruleCompiler) ack() {
	a := c.config.Ack
	level := slices.Index(ackLevels, a.Level)
	switch {
	case level >= 0:
		c.rule.ackSet = true
		c.rule.ack = message.Ack{Level: message.AckLevel(level), Within: a.Within}
	case a.Level != "":
		p := problem.New("ack.level", "ack is received, stored or delivered, not %q", a.Level)
		p.Hint = problem.DidYouMean(a.Level, ackLevels)
		c.problems = append(c.problems, p)
	case a.Within != 0:
		c.problems = append(c.problems, problem.New("ack", "within needs a level").
			WithHint("write ack: {level: delivered, within: %s}", a.Within))
	}
	if a.Within != 0 && a.Level != "" {
		c.within()
	}
	if c.rule.ack.Level == message.AckDelivered {
		c.delivered()
	}
}

func (c *ruleCompiler) within() {
	switch within := c.config.Ack.Within; {
	case c.config.Ack.Level != message.AckDelivered.String():
		p := problem.New("ack.within", "within goes with the level delivered only")
		p.Key = true
		c.problems = append(c.problems, p.WithHint("an ack of the level %s never waits for a sink", c.config.Ack.Level))
	case within < minWithin || within > maxWithin:
		c.problems = append(c.problems, problem.New("ack.within", "within is 10ms to 1h").
			WithHint("leave it out to wait as long as it takes"))
	}
}

// delivered refuses a rule that no output could ever make delivered (C13).
func (c *ruleCompiler) delivered() {
	required := slices.ContainsFunc(c.config.To, func(o OutputConfig) bool { return !o.optional() })
	switch {
	case c.config.Shadow:
		c.problems = append(c.problems, problem.New("ack.level", "a shadow rule sends nothing, so nothing of it is ever delivered").
			WithHint("leave ack out until shadow goes"))
	case !required && len(c.config.To) > 0:
		c.problems = append(c.problems, problem.New("ack.level", "delivered needs an output that is required, and all say required: false").
			WithHint("leave required: false out at the output that the publisher waits for"))
	}
}

// ackOr returns what the rule's acknowledgement waits for; otherwise is the
// level of rules that name none. Nobody waits for a shadow rule.
func (r *rule) ackOr(otherwise message.Ack) message.Ack {
	switch {
	case r.shadow:
		return message.Ack{}
	case r.ackSet:
		return r.ack
	}
	return otherwise
}

// waits reports whether a publisher may wait for the rule's delivery.
func (r *rule) waits() bool { return r.ackSet && r.ack.Level == message.AckDelivered }
