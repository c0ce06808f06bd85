package main_test

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/factory"
)

const guarded = `
listeners:
  - {bind: "127.0.0.1:0"}
  - {bind: "127.0.0.1:0", tls: {cert: server.pem, key: server.key}}
auth: {users_file: users.txt}
sinks: [{name: out, file: {path: out.txt}}]
rules:
  - {name: all, from: "plant/#", to: [{sink: out}]}
`

// A hang-up takes rules, sinks, users and certificates as they are now; one
// with a mistake in them leaves all as it was, and says where it is.
func TestHangUp(t *testing.T) {
	dir := t.TempDir()
	writeServerCertificate(t, dir)
	runToEnd(t, dir, "secret\n", "passwd", "users.txt", "press")
	p := &plant{&process{t: t, args: []string{"run", "plant.yaml"}, dir: dir}}
	p.configure(guarded)
	p.start()
	t.Cleanup(p.kill)
	if err := p.login("press", "secret"); err != nil {
		t.Fatal(err)
	}
	old := p.certificate()

	p.configure(strings.Replace(guarded, `from: "plant/#"`, `from: "plant/#/x"`, 1))
	p.hangUp("configuration not reloaded")
	if line := p.waitFor("configuration not reloaded"); !strings.Contains(line, "plant.yaml:8:") {
		t.Errorf("no place in %s", line)
	}
	a := p.run("reload", "--socket", "data/admin.sock")
	if a.code != 2 || !strings.Contains(a.err, "plant.yaml:8:") {
		t.Errorf("reload: exit code %d, %s", a.code, a.err)
	}
	if err := p.login("press", "secret"); err != nil {
		t.Errorf("after a mistake: %v", err)
	}

	p.configure(guarded + `  - {name: more, from: "more/#", to: [{sink: new}]}` + "\n")
	p.configure(strings.Replace(p.read("plant.yaml"), "file: {path: out.txt}}", "file: {path: out.txt}}, {name: new, file: {path: new.txt}}", 1))
	runToEnd(t, dir, "other\n", "passwd", "users.txt", "press")
	writeServerCertificate(t, dir)
	p.hangUp("1 sinks kept, 1 started, 0 stopped, 2 rules")
	if err := p.login("press", "secret"); err == nil {
		t.Error("the old password is admitted")
	}
	if err := p.login("press", "other", "more/1"); err != nil {
		t.Error(err)
	}
	if p.certificate() == old {
		t.Error("the old certificate is shown")
	}
	p.until("delivery", func(s *app.Status) bool { return rule(s, "new", "more").Delivered == 1 })
	p.expect("new.txt", "hello")
	p.stop()
}

// login connects with a password and publishes to topics.
func (p *plant) login(user, password string, topics ...string) error {
	source := func() (m factory.Message, wait time.Duration, ok bool) {
		if len(topics) == 0 {
			return m, 0, false
		}
		m = factory.Message{Topic: topics[0], Payload: []byte("hello")}
		topics = topics[1:]
		return m, 0, true
	}
	o := factory.Options{Addr: p.addr(0), ClientID: user, User: user, Password: password, Version: packet.V5, QoS: 1, Clean: true}
	err := factory.NewDevice(o, &factory.Counters{}, source).Run(p.t.Context())
	if _, refused := errors.AsType[*factory.RefusedError](err); err != nil && !refused {
		p.t.Fatal(err)
	}
	return err
}

// certificate returns what the second listener shows.
func (p *plant) certificate() string {
	p.t.Helper()
	d := tls.Dialer{NetDialer: &net.Dialer{}, Config: &tls.Config{InsecureSkipVerify: true}}
	c, err := d.DialContext(p.t.Context(), "tcp", p.addr(1))
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	return string(c.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw)
}

// A removed sink is told of by status and at the start, and forgotten with a
// count; its lane cannot be paused (C16).
func TestForget(t *testing.T) {
	p := startPlant(t, threeSinks)
	p.publish("press", "far/1", "x", "y")
	p.until("far waits", func(s *app.Status) bool {
		return lane(s, "away").State == "unavailable" && rule(s, "away", "far").Pending == 2
	})
	p.ask(1, cmd("journal", "forget", "away"), "sink away is configured; remove it first")
	p.configure(strings.NewReplacer(`  - {name: away, kafka: {brokers: ["127.0.0.1:1"], topic: t}}`+"\n", "", `  - {name: far, from: "far/#", to: [{sink: away}]}`+"\n", "").Replace(threeSinks))
	p.ask(0, cmd("reload"), "2 sinks kept, 0 started, 1 stopped, 2 rules")
	p.ask(0, cmd("status"), "sink away is not configured any more and is owed 2 messages")
	p.ask(1, cmd("lane", "pause", "away"), `no sink is named "away"`)
	p.restart()
	p.waitFor("sink=away count=2")
	p.ask(0, cmd("journal", "forget", "away"), "forgot away, which was owed 2 messages")
	if s := p.status(); len(s.Removed) != 0 {
		t.Errorf("%+v", s.Removed)
	}
	p.ask(1, cmd("journal", "forget", "away"), `nothing is owed to a sink named "away"`)
}

// Tap shows what comes in, what rules make of it, and where they fail.
func TestTap(t *testing.T) {
	p := startPlant(t, threeSinks)
	for args, want := range map[string]string{
		"--topic plant/#": `press plant/1/temp {"temp": 91}`,
		"--rule hot":      `hot -> out: topic plant/1/temp key - value 91`,
		"--sink out":      `hot -> out: topic plant/1/temp failed: `,
		"--json":          `"topic":"plant/1/temp","qos":1,"payload":"{\"temp\": 91}"`,
	} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			n := "1"
			if args == "--sink out" {
				n = "6"
			}
			if out := p.ask(0, cmd(append(strings.Fields("tap --limit "+n), strings.Fields(args)...)...)); !strings.Contains(out, want) {
				t.Errorf("tap %s: %s", args, out)
			}
		}()
		for shown := false; !shown; {
			p.publish("press", "plant/1/temp", `{"temp": 91}`, `no JSON`)
			select {
			case <-done:
				shown = true
			default:
			}
		}
	}
	p.ask(1, cmd("tap", "--rule", "none"), `no rule "none"`)
}
