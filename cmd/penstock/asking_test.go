package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/factory"
	"github.com/penstock/penstock/pipelines"
)

// A plant is a running penstock in a folder of its own, with the
// configuration plant.yaml and the journal in data.
type plant struct {
	*process
}

// startPlant starts penstock with a configuration.
func startPlant(t *testing.T, yaml string) *plant {
	t.Helper()
	dir := t.TempDir()
	p := &plant{&process{t: t, args: []string{"run", "plant.yaml"}, dir: dir}}
	p.configure(yaml)
	p.start()
	t.Cleanup(p.kill)
	return p
}

// configure writes the configuration, which is not yet in force.
func (p *plant) configure(yaml string) { p.write("plant.yaml", yaml) }

// restart stops the process and starts it again.
func (p *plant) restart() {
	p.t.Helper()
	p.stop()
	p.start()
}

func (p *plant) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// read returns a file of the folder, "" when there is none.
func (p *plant) read(name string) string {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil && !os.IsNotExist(err) {
		p.t.Fatal(err)
	}
	return string(text)
}

// An answer is what a command printed, and how it ended.
type answer struct {
	code     int
	out, err string
}

// run runs a command in the plant's folder.
func (p *plant) run(args ...string) answer {
	p.t.Helper()
	var out, stderr bytes.Buffer
	cmd := exec.CommandContext(p.t.Context(), os.Args[0], args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, &out, &stderr
	cmd.Env = append(os.Environ(), asPenstock+"=1")
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		p.t.Fatal(err)
	}
	return answer{cmd.ProcessState.ExitCode(), out.String(), stderr.String()}
}

// ask runs a command on the running penstock and expects an exit code, and
// each text in what is printed.
func (p *plant) ask(code int, args []string, texts ...string) string {
	p.t.Helper()
	a := p.run(args...)
	if a.code != code {
		p.t.Errorf("penstock %q: exit code %d, want %d\n%s%s", args, a.code, code, a.out, a.err)
	}
	for _, text := range texts {
		if !regexp.MustCompile(text).MatchString(a.out + a.err) {
			p.t.Errorf("penstock %q: no %q in\n%s%s", args, text, a.out, a.err)
		}
	}
	return a.out
}

// cmd is a command with the place of the plant's configuration.
func cmd(args ...string) []string { return append(args, "--config", "plant.yaml") }

// status asks how penstock is; its figures balance (I6).
func (p *plant) status() *app.Status {
	p.t.Helper()
	s := new(app.Status)
	if err := json.Unmarshal([]byte(p.ask(0, cmd("status", "--json"))), s); err != nil {
		p.t.Fatal(err)
	}
	for i := range s.Lanes {
		pipelines.AssertBalanced(p.t, accountOf(&s.Lanes[i]))
	}
	return s
}

func accountOf(l *app.LaneStatus) pipelines.Account {
	a := pipelines.Account{Lane: l.Name}
	for i := range l.Rules {
		r := &l.Rules[i]
		a.Rules = append(a.Rules, pipelines.RuleAccount{
			Name: r.Rule, In: r.In, Filtered: r.Filtered, FilteredMissing: r.Missing, Errors: r.Errors, Passed: r.Passed,
			Records: r.Records, Delivered: r.Delivered, DeadLettered: r.DeadLettered, Dropped: r.Dropped, Pending: r.Pending,
		})
	}
	return a
}

// until asks how penstock is until that is what is wanted.
func (p *plant) until(what string, done func(*app.Status) bool) *app.Status {
	p.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; {
		s := p.status()
		if done(s) {
			return s
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("waited in vain: %s: %+v", what, s)
		}
	}
}

// lane returns a lane of a status.
func lane(s *app.Status, name string) *app.LaneStatus {
	for i := range s.Lanes {
		if s.Lanes[i].Name == name {
			return &s.Lanes[i]
		}
	}
	return &app.LaneStatus{}
}

// rule returns a rule's figures of a status.
func rule(s *app.Status, laneName, name string) *app.RuleStatus {
	l := lane(s, laneName)
	for i := range l.Rules {
		if l.Rules[i].Rule == name {
			return &l.Rules[i]
		}
	}
	return &app.RuleStatus{}
}

// publish has a device publish payloads and waits for their acknowledgements.
func (p *plant) publish(client, topic string, payloads ...string) {
	p.t.Helper()
	i := 0
	source := func() (factory.Message, time.Duration, bool) {
		if i == len(payloads) {
			return factory.Message{}, 0, false
		}
		i++
		return factory.Message{Topic: topic, Payload: []byte(payloads[i-1])}, 0, true
	}
	var counters factory.Counters
	o := factory.Options{Addr: p.addr(0), ClientID: client, Version: packet.V5, QoS: 1, Clean: true}
	if err := factory.NewDevice(o, &counters, source).Run(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	if n := counters.Acked.Load(); n != int64(len(payloads)) {
		p.t.Errorf("%d of %d messages were acknowledged", n, len(payloads))
	}
}

// hangUp sends SIGHUP and waits until the log says what became of it.
func (p *plant) hangUp(text string) {
	p.t.Helper()
	before := len(p.lines(text))
	p.signal(syscall.SIGHUP)
	p.waitForMore(text, before)
}

// waitForMore waits until more than n log lines hold text.
func (p *plant) waitForMore(text string, n int) {
	p.t.Helper()
	for deadline := time.After(60 * time.Second); len(p.lines(text)) <= n; {
		p.mu.Lock()
		more := p.more
		p.mu.Unlock()
		if len(p.lines(text)) > n {
			return
		}
		select {
		case <-more:
		case <-p.exited:
			p.t.Fatalf("penstock ended without logging %q", text)
		case <-deadline:
			p.t.Fatalf("penstock did not log %q", text)
		}
	}
}

var adminAddr = regexp.MustCompile(`listener=(\S+)`)

// get asks the admin server over TCP.
func (p *plant) get(path string) (code int, body string) {
	p.t.Helper()
	addr := adminAddr.FindStringSubmatch(p.waitFor(`msg="admin server listening"`))[1]
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+addr+path, http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return a.StatusCode, string(text)
}

// expect compares a file's lines.
func (p *plant) expect(name string, lines ...string) {
	p.t.Helper()
	want := strings.Join(append(lines, ""), "\n")
	if got := p.read(name); got != want {
		p.t.Errorf("%s holds %q, want %q", name, got, want)
	}
}
