package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/problem"
)

// An output is one entry of a rule's `to`, compiled.
type output struct {
	index    int
	sink     Sink
	identity string // what the journal's number table knows it by (C16)

	when      *condition
	topic     *template // Kafka: where to; nil: the published topic
	key       *template // nil: no key
	topicKey  bool      // the key is the published topic
	value     *value    // nil: the payload as it came
	standard  bool      // with the penstock- headers
	headers   []header
	order     *template // nil: the sink's default
	tombstone bool
	optional  bool // required: false
	places    places
}

// places are the paths of an output's keys below the rule, for errors.
type places struct{ when, topic, key, value, headers string }

// A header is a name and the template of its value.
type header struct {
	name  string
	value *template
}

// IDHeader is the header that carries a record's id.
const IDHeader = "penstock-id"

// standardHeaders are on every record unless the output says `headers: none`.
// The first is the id that is the same in every copy of the record (C17).
var standardHeaders = [...]string{IDHeader, "penstock-client", "penstock-topic", "penstock-received"}

// An outputCompiler compiles the outputs of one rule.
type outputCompiler struct {
	scope    *scope
	sinks    []Sink
	rule     string
	orders   *orders // nil: leave them
	problems problem.List
}

// report puts a problem of a program below path.
func (c *outputCompiler) report(path string, p *problem.Problem) {
	if p != nil {
		p.Path = path
		c.problems = append(c.problems, *p)
	}
}

func (c *outputCompiler) compile(index int, o *OutputConfig) *output {
	path := fmt.Sprintf("to[%d]", index)
	out := &output{index: index, tombstone: o.Tombstone, optional: o.optional(), places: places{
		when: path + ".when", topic: path + ".topic", key: path + ".key", value: path + ".value", headers: path + ".headers",
	}}
	c.sink(path, out, o)
	var p *problem.Problem
	if o.When != "" {
		out.when, p = c.scope.condition(o.When)
		c.report(out.places.when, p)
	}
	if o.Value != "" {
		out.value, p = c.scope.value(o.Value)
		c.report(out.places.value, p)
	}
	c.topic(out, o)
	c.key(out, o)
	c.headers(out, &o.Headers)
	return out
}

func (c *outputCompiler) sink(path string, out *output, o *OutputConfig) {
	i := slices.IndexFunc(c.sinks, func(s Sink) bool { return s.Name == o.Sink })
	switch {
	case i >= 0:
		out.sink = c.sinks[i]
		if c.orders != nil {
			out.order = c.orders.compile(i, c.rule, c.scope)
		}
	case o.Sink == "":
		c.problems = append(c.problems, problem.New(path, "an output names its sink").WithHint("add sink: NAME"))
	default:
		names := make([]string, len(c.sinks))
		for i, s := range c.sinks {
			names[i] = s.Name
		}
		p := problem.New(path+".sink", "there is no sink %q", o.Sink)
		p.Hint = problem.DidYouMean(o.Sink, names)
		c.problems = append(c.problems, p)
	}
}

// foreign complains about a key that only outputs of Kafka sinks have.
func (c *outputCompiler) foreign(path string, out *output, key string) {
	p := problem.New(path+"."+key, "%s belongs to outputs of kafka sinks, %s is a %s sink", key, out.sink.Name, out.sink.Kind)
	p.Key = true
	c.problems = append(c.problems, p.WithHint("an output to %s takes value, key and headers", out.sink.Kind))
}

func (c *outputCompiler) topic(out *output, o *OutputConfig) {
	path := fmt.Sprintf("to[%d]", out.index)
	if out.sink.Kind != "kafka" {
		c.foreignKeys(path, out, o)
		return
	}
	text := o.Topic
	if text == "" {
		text = out.sink.Topic
	}
	if text == "" {
		c.problems = append(c.problems, problem.New(path, "an output to Kafka needs a topic").
			WithHint("add topic: NAME here or at the sink %s", out.sink.Name))
		return
	}
	t, parts, p := c.scope.template(text)
	if p == nil {
		p = wrongTopic(t, parts, o.Unconfined)
	}
	c.report(out.places.topic, p)
	out.topic = t
}

func (c *outputCompiler) foreignKeys(path string, out *output, o *OutputConfig) {
	if out.sink.Name == "" {
		return // an unknown sink was complained about
	}
	if o.Topic != "" {
		c.foreign(path, out, "topic")
	}
	if o.Tombstone {
		c.foreign(path, out, "tombstone")
	}
	if o.Unconfined {
		c.foreign(path, out, "unconfined")
	}
}

const maxKafkaTopic = 249

var notKafkaTopic = regexp.MustCompile(`[^A-Za-z0-9._-]`)

// wrongTopic checks the literal parts of a Kafka topic's template (I8).
func wrongTopic(t *template, parts []literalPart, unconfined bool) *problem.Problem {
	total := 0
	for _, part := range parts {
		total += len(part.text)
		if at := notKafkaTopic.FindStringIndex(part.text); at != nil {
			p := problem.New("", "a Kafka topic may not hold %q", part.text[at[0]:at[1]]).At(part.offset+at[0]).
				WithHint("letters, digits and . _ - make a topic, at most %d", maxKafkaTopic)
			return &p
		}
	}
	var p problem.Problem
	switch {
	case total > maxKafkaTopic:
		p = problem.New("", "a Kafka topic has at most %d characters", maxKafkaTopic)
	case t.constant() && (t.tail == "." || t.tail == ".."):
		p = problem.New("", "%q is not a Kafka topic", t.tail)
	case !t.constant() && parts[0].text == "" && !unconfined:
		p = problem.New("", "the topic begins with a hole, so that a device could choose any topic").
			WithHint("begin it with literal text, or add unconfined: true")
	default:
		return nil
	}
	return &p
}

// kafkaTopic reports whether name is one.
func kafkaTopic(name []byte) bool {
	for _, c := range name {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return len(name) > 0 && len(name) <= maxKafkaTopic && string(name) != "." && string(name) != ".."
}

func (c *outputCompiler) key(out *output, o *OutputConfig) {
	switch o.Key {
	case "none":
	case "":
		out.topicKey = out.sink.Kind == "kafka"
	default:
		var p *problem.Problem
		out.key, _, p = c.scope.template(o.Key)
		c.report(out.places.key, p)
	}
}

func (c *outputCompiler) headers(out *output, h *HeadersConfig) {
	out.standard = !h.None
	names := make([]string, 0, len(h.Set))
	for name := range h.Set {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		path := out.places.headers + "." + name
		if name == "" || strings.ContainsAny(name, "\r\n\x00") {
			p := problem.New(path, "a header has a name of one line")
			p.Key = true
			c.problems = append(c.problems, p)
		}
		t, parts, p := c.scope.template(h.Set[name])
		for _, part := range parts {
			if at := strings.IndexAny(part.text, "\r\n"); at >= 0 && p == nil {
				broken := problem.New("", "a header has a value of one line").At(part.offset + at)
				p = &broken
			}
		}
		c.report(path, p)
		out.headers = append(out.headers, header{name, t})
	}
}

// identify gives each output of a rule what it is known by for ever: rule, sink,
// name template and its rank among equals (C16). Reordering unlike outputs
// changes nothing.
func identify(rule string, outputs []*output, configs []OutputConfig) {
	ranks := map[string]int{}
	for i, o := range outputs {
		name := rule + "/" + configs[i].Sink + "/" + configs[i].Topic
		o.identity = fmt.Sprintf("%s#%d", name, ranks[name])
		ranks[name]++
	}
}
