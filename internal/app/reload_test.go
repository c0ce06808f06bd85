package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/problem"
	"github.com/penstock/penstock/pipelines"
	"github.com/penstock/penstock/pipelines/deadletter"
)

// A works is an App whose configuration changes.
type works struct {
	t    *testing.T
	dir  string
	text string // of the configuration
	log  logBuffer
	app  *app.App
	stop context.CancelFunc
	done chan error
}

func newWorks(t *testing.T, text string) *works {
	t.Helper()
	p := &works{t: t, dir: t.TempDir(), text: text}
	p.start()
	t.Cleanup(p.halt)
	return p
}

func (p *works) load() (*config.Loaded, error) {
	return config.Parse(filepath.Join(p.dir, "penstock.yaml"), []byte(p.text), nil)
}

func (p *works) start() {
	p.t.Helper()
	loaded, err := p.load()
	if err != nil {
		p.t.Fatal(err)
	}
	p.app, err = app.New(app.Options{Loaded: loaded, Load: p.load, Stdout: &p.log, Log: slog.New(slog.NewTextHandler(&p.log, nil))})
	if err != nil {
		p.t.Fatal(err)
	}
	var ctx context.Context
	ctx, p.stop = context.WithCancel(context.WithoutCancel(p.t.Context()))
	done := make(chan error, 1) // 1: the result of Run
	p.done = done
	a := p.app
	go func() { done <- a.Run(ctx, nil) }()
}

// halt stops the App; its accounts balance (I6).
func (p *works) halt() {
	p.t.Helper()
	if p.app == nil {
		return
	}
	p.stop()
	if err := <-p.done; err != nil {
		p.t.Error(err)
	}
	pipelines.AssertBalanced(p.t, p.app.Accounts()...)
	p.app = nil
}

// By which way a configuration changes.
var ways = map[string]func(*works){
	"reload": func(p *works) {
		p.t.Helper()
		if _, err := p.app.Reload(p.t.Context()); err != nil {
			p.t.Fatal(err)
		}
	},
	"restart": func(p *works) {
		p.t.Helper()
		p.halt()
		p.start()
	},
}

// do has the App do or answer something, as the commands do.
func (p *works) do(command string, q url.Values) string {
	p.t.Helper()
	c := admin.Dial(filepath.Join(p.dir, "data", admin.SocketName))
	defer c.Close()
	var out strings.Builder
	if err := c.Do(p.t.Context(), command, q, func(piece json.RawMessage) error { out.Write(piece); return nil }); err != nil {
		p.t.Fatalf("%s: %v", command, err)
	}
	return out.String()
}

func (p *works) pause(sinks ...string) {
	p.t.Helper()
	for _, s := range sinks {
		p.do("lane/pause", url.Values{"sink": {s}})
	}
}

func (p *works) resume(sinks ...string) {
	p.t.Helper()
	for _, s := range sinks {
		p.do("lane/resume", url.Values{"sink": {s}})
	}
}

// publish publishes a payload for each topic, in order.
func (p *works) publish(topics ...string) {
	p.t.Helper()
	s := speak(p.t, p.app)
	for i, topic := range topics {
		s.publish(topic, 1, uint16(i+1), topic[strings.LastIndex(topic, "/")+1:])
		s.want("PUBACK")
	}
}

// settled waits until every lane has caught up.
func (p *works) settled() {
	p.t.Helper()
	defer func() {
		if p.t.Failed() {
			p.t.Logf("%+v", p.app.Status().Lanes)
		}
	}()
	eventually(p.t, "all lanes caught up", func() bool {
		s := p.app.Status()
		for i := range s.Lanes {
			if l := &s.Lanes[i]; l.BacklogMessages > 0 || slices.ContainsFunc(l.Rules, func(r app.RuleStatus) bool { return r.Pending > 0 }) {
				return false
			}
		}
		return true
	})
	pipelines.AssertBalanced(p.t, p.app.Accounts()...)
}

// expect compares what a sink's file holds.
func (p *works) expect(file, want string) {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, file))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(string(text)), " "); got != want {
		p.t.Errorf("%s holds %q, want %q", file, got, want)
	}
}

// letters returns kind, rule, and payload of the dead letters.
func (p *works) letters() (list []string) {
	p.t.Helper()
	v, err := deadletter.OpenReadOnly(filepath.Join(p.dir, "data", deadletter.FolderName), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer v.Close()
	for l, err := range v.List(deadletter.Filter{}) {
		if err != nil {
			p.t.Fatal(err)
		}
		list = append(list, string(l.Kind)+" "+l.Rule+" "+*l.Record.Payload)
	}
	return list
}

func (p *works) lane(name string) app.LaneStatus {
	p.t.Helper()
	for _, l := range p.app.Status().Lanes {
		if l.Name == name {
			return l
		}
	}
	p.t.Fatalf("there is no lane %s", name)
	return app.LaneStatus{}
}

const twoSinks = `
listeners: [{bind: "127.0.0.1:0"}]
sinks:
  - {name: a, file: {path: a.txt}}
  - {name: b, file: {path: b.txt}}
rules:
  - {name: one, from: "one/#", to: [{sink: a, value: payload}]}
  - {name: two, from: "two/#", to: [{sink: a}, {sink: b}]}
  - {name: three, from: "three/#", to: [{sink: b}]}
`

// replaced is a text in which each pair's first was replaced by its second.
func replaced(text string, pairs ...string) string {
	return strings.NewReplacer(pairs...).Replace(text)
}

const (
	ruleOne   = "  - {name: one, from: \"one/#\", to: [{sink: a, value: payload}]}\n"
	ruleTwo   = "  - {name: two, from: \"two/#\", to: [{sink: a}, {sink: b}]}\n"
	ruleThree = "  - {name: three, from: \"three/#\", to: [{sink: b}]}\n"
	sinkB     = "  - {name: b, file: {path: b.txt}}\n"
)

// What waits when a configuration changes, by a reload or by a restart, goes
// the way its rule says now; a rule that is gone leaves letters. Every message
// is accounted for (C16, I6).
func TestChangedRules(t *testing.T) {
	type change struct {
		text    string
		a, b    string // what the sinks got of 1..5 before the change and 6..8 after it
		letters []string
	}
	changes := map[string]change{
		"edited": {replaced(twoSinks, "value: payload}", "value: payload * 10}"), "10 20 3 60 7", "3 4 5 7 8", nil},
		"renamed": {
			replaced(twoSinks, "name: one", "name: uno"), "3 6 7", "3 4 5 7 8",
			[]string{"rule_removed one 1", "rule_removed one 2"},
		},
		"reordered": {
			replaced(twoSinks, ruleOne, "", ruleTwo, "", ruleThree, ruleThree+replaced(ruleTwo, "{sink: a}, {sink: b}", "{sink: b}, {sink: a}")+ruleOne),
			"1 2 3 6 7", "3 4 5 7 8", nil,
		},
		"removed": {replaced(twoSinks, ruleOne, ""), "3 7", "3 4 5 7 8", []string{"rule_removed one 1", "rule_removed one 2"}},
		"output removed": {
			replaced(twoSinks, "to: [{sink: a}, {sink: b}]", "to: [{sink: b}]"), "1 2 6", "3 4 5 7 8",
			[]string{"rule_removed two 3"}, // what the output owed
		},
	}
	for name, c := range changes {
		for way, change := range ways {
			t.Run(name+"/"+way, func(t *testing.T) {
				p := newWorks(t, twoSinks)
				p.pause("a", "b")
				p.publish("one/1", "one/2", "two/3", "three/4", "three/5")
				p.text = c.text
				change(p)
				p.publish("one/6", "two/7", "three/8")
				p.resume("a", "b")
				p.settled()
				p.expect("a.txt", c.a)
				p.expect("b.txt", c.b)
				if diff := cmp.Diff(c.letters, p.letters()); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// A removed sink's backlog stays, and status says so; its name coming back
// goes on with it, and forget drops it, with a count (C16).
func TestRemovedSink(t *testing.T) {
	without := replaced(twoSinks, sinkB, "", ruleThree, "", "{sink: a}, {sink: b}", "{sink: a}")
	for way, change := range ways {
		for _, forget := range []bool{false, true} {
			t.Run(way+map[bool]string{true: "/forgotten", false: "/back"}[forget], func(t *testing.T) {
				p := newWorks(t, twoSinks)
				p.pause("b")
				p.publish("one/1", "three/2", "three/3")
				p.text = without
				change(p)
				p.publish("one/4")
				p.settled()
				p.expect("a.txt", "1 4")
				removed := p.app.Status().Removed
				if len(removed) != 1 || removed[0].Name != "b" || removed[0].Messages != 2 {
					t.Errorf("removed: %+v", removed)
				}
				if told := strings.Contains(p.log.String(), `sink=b count=2`); !told {
					t.Errorf("the log does not say what b is owed:\n%s", p.log.String())
				}
				want := "2 3 5"
				if forget {
					want = "5"
					if n := strings.TrimSpace(p.do("journal/forget", url.Values{"sink": {"b"}})); n != "2" {
						t.Errorf("forgot %s messages", n)
					}
					if left := p.app.Status().Removed; len(left) != 0 {
						t.Errorf("removed: %+v", left)
					}
				}
				p.text = twoSinks
				change(p)
				if !forget {
					p.resume("b")
				}
				p.publish("three/5")
				p.settled()
				p.expect("b.txt", want)
				if list := p.letters(); len(list) > 0 {
					t.Errorf("letters: %v", list)
				}
			})
		}
	}
}

// Lanes whose sink is the same go on, whatever happens to others; one whose
// sink changed goes on with its backlog.
func TestUnchangedLanesGoOn(t *testing.T) {
	p := newWorks(t, replaced(twoSinks, "file: {path: b.txt}", `kafka: {brokers: ["127.0.0.1:1"], topic: t}`))
	p.publish("one/1", "three/2")
	eventually(t, "b is unavailable", func() bool {
		return p.lane("b").State == "unavailable" && p.lane("a").LastConfirmed.After(p.lane("a").Since)
	})
	before := p.lane("a")
	p.text = twoSinks
	ways["reload"](p)
	p.publish("one/3")
	p.settled()
	p.expect("a.txt", "1 3")
	p.expect("b.txt", "2")
	if after := p.lane("a"); after.Since != before.Since || strings.Count(p.log.String(), "sink reopened") != 0 {
		t.Errorf("a was touched: %+v, %+v", before, after)
	}
	if !strings.Contains(p.log.String(), "1 sinks kept, 1 started, 1 stopped, 3 rules") {
		t.Error(p.log.String())
	}
}

// A mistake leaves everything as it was, and is told with its place; so is what
// only a restart changes.
func TestReloadComplains(t *testing.T) {
	p := newWorks(t, twoSinks)
	p.publish("one/1")
	p.settled()
	before := p.app.Status()
	for name, c := range map[string][2]string{
		"a mistake in a rule": {replaced(twoSinks, "value: payload}", "value: payload..x}"), "penstock.yaml:7:"},
		"an unknown sink":     {replaced(twoSinks, "{sink: a}, {sink: b}", "{sink: c}"), "penstock.yaml:8:"},
		"no YAML":             {"sinks: [", "penstock.yaml:1:"},
		"a listener":          {replaced(twoSinks, "127.0.0.1:0", "127.0.0.2:0"), "listeners cannot change while Penstock runs"},
		"the journal":         {"journal: {keep: 1h}" + twoSinks, "journal cannot change while Penstock runs"},
	} {
		p.text = c[0]
		_, err := p.app.Reload(t.Context())
		if list, ok := errors.AsType[problem.List](err); !ok || !strings.Contains(list.Error(), c[1]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	after := p.app.Status()
	for i := range before.Lanes {
		if before.Lanes[i].Since != after.Lanes[i].Since {
			t.Errorf("lane %s was touched", after.Lanes[i].Name)
		}
	}
	p.publish("one/2", "two/3")
	p.settled()
	p.expect("a.txt", "1 2 3")
}

// A lane whose sink is away keeps what it has evaluated through a reload, also
// of a rule that is gone: the sink may have it already (C18). A lane that is
// built anew evaluates it again, and what the removed rule owes is a letter
// (C16).
func TestReloadBehindASinkThatIsAway(t *testing.T) {
	away := replaced(twoSinks, "file: {path: b.txt}", `kafka: {brokers: ["127.0.0.1:1"], topic: t}`)
	p := newWorks(t, away)
	p.publish("three/1", "two/2")
	eventually(t, "b was tried", func() bool {
		rules := p.lane("b").Rules
		return p.lane("b").State == "unavailable" && rules[0].Pending == 1 && rules[1].Pending == 1
	})
	p.text = replaced(away, ruleThree, "")
	ways["reload"](p)
	p.publish("two/3", "one/4")
	eventually(t, "b has read on", func() bool { return p.lane("b").Rules[0].Pending == 2 })
	if rules := p.lane("b").Rules; len(rules) != 2 || rules[1].Rule != "three" || rules[1].Pending != 1 {
		t.Errorf("rules of b: %+v", rules)
	}
	p.text = replaced(twoSinks, ruleThree, "")
	ways["reload"](p)
	p.settled()
	p.expect("a.txt", "2 3 4")
	p.expect("b.txt", "2 3")
	if diff := cmp.Diff([]string{"rule_removed three 1"}, p.letters()); diff != "" {
		t.Error(diff)
	}
}
