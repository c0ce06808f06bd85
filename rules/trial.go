package rules

import (
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/internal/problem"
	"github.com/penstock/penstock/rules/codec"
)

// A TestResult is how one test of a rule went.
type TestResult struct {
	Path string // of the test, as Compile's problems
	Rule string
	Name string // of the test, "" when it has none
	Diff string // what differs, a few lines; "" when the test passed
}

// Passed reports whether all came as expected.
func (r *TestResult) Passed() bool { return r.Diff == "" }

// A trial is one test of a rule, its messages ready.
type trial struct {
	config   *TestConfig
	messages []message.Message
}

// defaultReceived is when a test's message came in unless it says.
const defaultReceived = "2026-01-01T00:00:00Z"

// trials prepares the rule's tests.
func (c *ruleCompiler) trials() {
	for i := range c.config.Tests {
		t := &c.config.Tests[i]
		path := fmt.Sprintf("tests[%d]", i)
		if len(t.Given) == 0 {
			c.problems = append(c.problems, problem.New(path, "a test needs given").WithHint("add given: {topic: ..., payload: ...}"))
		}
		tr := trial{config: t}
		for j := range t.Given {
			at := path + ".given" // most write one message, without a list
			if len(t.Given) > 1 {
				at = fmt.Sprintf("%s.given[%d]", path, j)
			}
			m := c.given(at, &t.Given[j])
			m.ID = message.ID{Journal: 1, Epoch: 1, Offset: uint64(j) + 1}
			tr.messages = append(tr.messages, m)
		}
		for j := range t.Expect {
			c.expect(fmt.Sprintf("%s.expect[%d]", path, j), &t.Expect[j])
		}
		c.rule.tests = append(c.rule.tests, tr)
	}
}

func (c *ruleCompiler) given(path string, g *GivenConfig) message.Message {
	m := message.Message{
		Client: g.Client, User: g.User, Topic: g.Topic, QoS: byte(g.QoS), Retain: g.Retain,
	}
	if g.Topic == "" || strings.ContainsAny(g.Topic, "+#\x00") || len(g.Topic) > maxTopic {
		c.complain(path+".topic", "a message needs a topic, without wildcards")
	}
	if g.QoS < 0 || g.QoS > 2 {
		c.complain(path+".qos", "qos is 0, 1 or 2")
	}
	received := g.Received
	if received == "" {
		received = defaultReceived
	}
	at, err := time.Parse(time.RFC3339, received)
	if err != nil {
		c.problems = append(c.problems, problem.New(path+".received", "%q is not a time", received).
			WithHint("write it as 2026-01-31T12:00:00Z"))
	}
	m.Received = at.UnixMilli()
	c.givenPayload(path, g, &m)
	c.givenProperties(path+".properties", g.Properties, &m.Properties)
	return m
}

func (c *ruleCompiler) givenPayload(path string, g *GivenConfig, m *message.Message) {
	var err error
	switch payload := g.Payload.(type) {
	case nil:
	case string:
		m.Payload = []byte(payload)
	default:
		m.Payload, err = codec.Append(nil, payload, maxText)
	}
	ways := 0
	if g.Payload != nil {
		ways++
	}
	if g.PayloadBase64 != "" {
		ways++
		m.Payload, err = base64.StdEncoding.DecodeString(g.PayloadBase64)
		path += ".payload_base64"
	}
	if g.PayloadFile != "" {
		ways++
		m.Payload, err = os.ReadFile(g.PayloadFile)
		path += ".payload_file"
	}
	if ways > 1 {
		c.complain(path, "a message has one of payload, payload_base64 and payload_file")
	} else if err != nil {
		c.complain(path, "the payload cannot be read: %s", err)
	}
}

func (c *ruleCompiler) givenProperties(path string, given map[string]any, p *message.Properties) {
	text := func(v any) string { return strings.Trim(fmt.Sprint(v), "\n") }
	for _, key := range sortedKeys(given) {
		v := given[key]
		switch key {
		case "content_type":
			p.ContentType = text(v)
		case "response_topic":
			p.ResponseTopic = text(v)
		case "correlation_data":
			p.CorrelationData = []byte(text(v))
		case "message_expiry":
			p.MessageExpiry, p.HasMessageExpiry = c.givenNumber(path+"."+key, key, v), true
		case "payload_format":
			p.PayloadFormat, p.HasPayloadFormat = byte(c.givenNumber(path+"."+key, key, v)), true
		case "user":
			c.givenUser(path, v, p)
		default:
			unknown := problem.New(path+"."+key, "unknown property %q", key)
			unknown.Key = true
			unknown.Hint = problem.DidYouMean(key, []string{"content_type", "response_topic", "correlation_data", "message_expiry", "payload_format", "user"})
			c.problems = append(c.problems, unknown)
		}
	}
}

func (c *ruleCompiler) givenNumber(path, key string, v any) uint32 {
	n, ok := integer(v)
	if unsigned, is := v.(uint64); is {
		n, ok = int64(unsigned), true
	}
	if !ok || n < 0 || n > 1<<32-1 {
		c.complain(path, "%s is a whole number", key)
	}
	return uint32(n)
}

func (c *ruleCompiler) givenUser(path string, v any, p *message.Properties) {
	user, err := stringMap(v)
	if err != nil {
		c.complain(path+".user", "user is a map of text")
		return
	}
	for _, name := range sortedKeys(user) {
		p.UserProperties = append(p.UserProperties, message.UserProperty{Name: name, Value: fmt.Sprint(user[name])})
	}
}

func (c *ruleCompiler) expect(path string, x *ExpectConfig) {
	if x.Sink == nil {
		return
	}
	names := make([]string, len(c.rule.outputs))
	for i, o := range c.rule.outputs {
		names[i] = o.sink.Name
	}
	if !slices.Contains(names, *x.Sink) {
		p := problem.New(path+".sink", "the rule has no output to %q", *x.Sink)
		p.Hint = problem.DidYouMean(*x.Sink, names)
		c.problems = append(c.problems, p)
	}
}

// Test runs the tests of all rules. It needs no numbers and touches nothing.
func (s *Set) Test() []TestResult {
	var results []TestResult
	for i, r := range s.rules {
		for j := range r.tests {
			t := &r.tests[j]
			results = append(results, TestResult{
				Path: fmt.Sprintf("[%d].tests[%d]", i, j),
				Rule: r.name,
				Name: t.config.Name,
				Diff: compare(t.config.Expect, t.run(r)),
			})
		}
	}
	return results
}

// An arrival is what came of one output: a record, or an error.
type arrival struct {
	sink   string
	record message.Record
	failed error
}

func (t *trial) run(r *rule) (arrivals []arrival) {
	e := newEvaluator()
	numbers := make([]uint32, len(r.outputs))
	for i := range numbers {
		numbers[i] = uint32(i) + 1
	}
	e.add(r, 1, numbers, "")
	for i := range t.messages {
		arrivals = append(arrivals, e.arrivals(&t.messages[i])...)
	}
	return arrivals
}

// arrivals evaluates rule 1 and keeps records and errors in the order of the
// outputs.
func (e *Evaluator) arrivals(m *message.Message) (list []arrival) {
	f := e.rules[1]
	if f == nil || !e.begin(f.rule, m) {
		return nil
	}
	met, _, failed := e.met(f.where, "where")
	if failed != nil {
		return []arrival{{failed: failed}}
	}
	for i := range f.outputs {
		if !met {
			break
		}
		var out message.Outcome
		o := &f.outputs[i]
		e.output(f, o, &out)
		for _, r := range out.Records {
			list = append(list, arrival{sink: o.sink.Name, record: r})
		}
		for _, err := range out.Errors {
			list = append(list, arrival{sink: o.sink.Name, failed: err.Err})
		}
	}
	return list
}
