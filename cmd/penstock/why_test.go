package main_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/inspect"
)

const fates = `
listeners: [{bind: "127.0.0.1:0"}]
journal: {keep: 24h, record: ["rec/#"]}
sinks:
  - {name: out, file: {path: out.txt}}
  - {name: latest, file: {path: latest.txt}, delivery: {max: {records: 1}, on_full: keep_latest}}
  - {name: away, kafka: {brokers: ["127.0.0.1:1"], topic: t}}
rules:
  - {name: hot, from: "plant/#", where: payload.temp > 80, to: [{sink: out, value: payload.temp}]}
  - {name: latest, from: "latest/#", to: [{sink: latest}]}
  - {name: far, from: "far/#", to: [{sink: away}]}
`

// fatesOf asks why, and returns the state and reason for each payload.
func (p *plant) fatesOf(args ...string) map[string]string {
	p.t.Helper()
	list := map[string]string{}
	d := json.NewDecoder(strings.NewReader(p.ask(0, append([]string{"why", "--json"}, args...))))
	for d.More() {
		var a inspect.Answer
		if err := d.Decode(&a); err != nil {
			p.t.Fatal(err)
		}
		list[*a.Message.Payload] = ""
		for i := range a.Rules {
			for _, f := range a.Rules[i].Lanes {
				list[*a.Message.Payload] += strings.TrimSpace(f.Sink + " " + f.State + " " + f.Reason)
			}
		}
	}
	return list
}

// Why says of each message what became of it: in the running process, which
// knows attempts, and from the folder, beside it and after it.
func TestWhyCommand(t *testing.T) {
	p := startPlant(t, fates)
	p.ask(0, cmd("lane", "pause", "latest"))
	p.publish("press", "plant/1", `{"temp": 91}`, `{"temp": 20}`, `no JSON`)
	p.publish("press", "latest/1", "old", "new")
	p.publish("press", "far/1", "far")
	p.publish("other", "rec/1", "recorded")
	p.until("all is settled that can be", func(s *app.Status) bool {
		return rule(s, "out", "hot").In == 3 && rule(s, "out", "hot").Pending == 0 && rule(s, "latest", "latest").Dropped["superseded"] == 1 &&
			rule(s, "away", "far").Pending == 1 && lane(s, "away").State == "unavailable"
	})
	p.checkFates(p.fatesOf(cmd("--topic", "#", "--since", "1h")...), map[string]string{
		`{"temp": 91}`: "out delivered", `{"temp": 20}`: "out filtered", `no JSON`: "out dead letter decode",
		"old": "latest dropped superseded", "new": "latest pending *paused", "far": "away pending *unavailable", "recorded": "",
	})
	p.checkOne()
	if n := len(p.fatesOf(cmd("--client", "other")...)); n != 1 {
		t.Errorf("%d messages of a client", n)
	}
	p.ask(1, cmd("why", "--topic", "plant/#", "--until", "1h"), "no such message")
	p.ask(1, cmd("why", "aaaaaaaaaaaaa-1-1"), "another journal")
	p.checkFates(p.fatesOf("--dir", "data", "--topic", "far/#"), map[string]string{"far": "away pending"})
	p.stop()
	after := map[string]string{
		`{"temp": 91}`: "out delivered", `{"temp": 20}`: "out filtered", `no JSON`: "out dead letter decode",
		"old": "latest dropped superseded", "new": "latest pending", "far": "away pending", "recorded": "",
	}
	p.checkFates(p.fatesOf("--dir", "data", "--topic", "#"), after)
	p.checkFates(p.fatesOf(cmd("--dir", "data", "--topic", "#")...), after)
	p.ask(3, cmd("why", "--topic", "#"), "no Penstock runs here")
}

// checkOne asks for one message by the id that travels with its record, and
// for the text that people get.
func (p *plant) checkOne() {
	p.t.Helper()
	var a inspect.Answer
	if err := json.Unmarshal([]byte(p.ask(0, cmd("why", "--json", "--topic", "far/#"))), &a); err != nil {
		p.t.Fatal(err)
	}
	id := "no record"
	for _, h := range a.Rules[0].Explained.Outputs[0].Record.Headers {
		if h.Name == "penstock-id" {
			id = string(h.Value)
		}
	}
	p.ask(0, cmd("why", id), "message "+a.ID, `from client "press", topic "far/1", QoS 1`, "rule far: 1 record", "value far", "lane away: pending; .*unavailable")
	p.ask(0, []string{"why", "--dir", "data", a.ID}, "as rule far was when it came in", "lane away: pending")
}

// checkFates compares; a * stands for anything.
func (p *plant) checkFates(got, want map[string]string) {
	p.t.Helper()
	for payload, w := range want {
		start, end, _ := strings.Cut(w, "*")
		if g, ok := got[payload]; !ok || !strings.HasPrefix(g, start) || !strings.Contains(g, end) || !strings.Contains(w, "*") && g != w {
			p.t.Errorf("%s: %q, want %q", payload, g, w)
		}
	}
	if len(got) != len(want) {
		p.t.Errorf("%d messages, want %d: %v", len(got), len(want), got)
	}
}
