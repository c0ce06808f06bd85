package main_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/pipelines/deadletter"
)

const brokenRule = `
listeners: [{bind: "127.0.0.1:0"}]
sinks: [{name: out, file: {path: out.txt, format: envelope}}]
rules:
  - {name: hot, from: "plant/#", to: [{sink: out, value: payload.temp * 2}]}
  - {name: log, from: "log/#", to: [{sink: out, value: payload.line}]}
`

// letters lists dead letters.
func (p *plant) letters(args ...string) (list []deadletter.Letter) {
	p.t.Helper()
	d := json.NewDecoder(strings.NewReader(p.ask(0, append([]string{"dlq", "ls", "--json"}, args...))))
	for d.More() {
		var l deadletter.Letter
		if err := d.Decode(&l); err != nil {
			p.t.Fatal(err)
		}
		list = append(list, l)
	}
	return list
}

// What a rule fails on is a letter; when a reload has mended the rule, a
// redrive delivers it under the id it has and the letter goes; a purge removes
// others.
func TestDeadLetterCommands(t *testing.T) {
	p := startPlant(t, brokenRule)
	p.publish("press", "plant/1", `{"temp": "hot"}`, `{"temp": "warm"}`, `{"temp": 1}`)
	p.publish("press", "log/1", `no JSON`)
	p.until("four are settled", func(s *app.Status) bool {
		return rule(s, "out", "hot").DeadLettered == 2 && rule(s, "out", "hot").Delivered == 1 && rule(s, "out", "log").DeadLettered == 1
	})
	all := p.letters(cmd()...)
	if len(all) != 3 {
		t.Fatalf("%d letters", len(all))
	}
	seq := strconv.FormatUint(all[0].Seq, 10)
	p.ask(0, cmd("dlq", "ls"), "NUMBER", seq+" .*rule_error +hot +out +plant/1 +0 +type: ")
	p.ask(0, cmd("dlq", "ls", "--kind", "refused"), "no dead letters")
	p.ask(0, cmd("dlq", "show", seq), `"rule": "hot"`, `"payload": "\{\\"temp\\": \\"hot\\"\}"`)
	p.ask(0, []string{"dlq", "ls", "--dir", "data"}, seq+" .*rule_error +hot")
	p.ask(1, cmd("dlq", "show", "999"), "no dead letter 999")
	p.ask(1, cmd("dlq", "redrive", seq), "1 letter: 0 delivered, .* 1 failed in the rule again")

	p.configure(strings.Replace(brokenRule, "payload.temp * 2", "string(payload.temp)", 1))
	p.ask(0, cmd("reload"))
	p.ask(0, cmd("dlq", "redrive", "--rule", "hot"), "2 letters: 2 delivered")
	if out := p.read("out.txt"); !strings.Contains(out, `"id":"`+messageID(all[0].ID)) || !strings.Contains(out, `"value":"hot"`) || strings.Count(out, "\n") != 3 {
		t.Errorf("redriven %s: %s", all[0].ID, out)
	}
	if left := p.letters(cmd()...); len(left) != 1 || left[0].Rule != "log" {
		t.Errorf("left: %+v", left)
	}
	p.ask(0, cmd("dlq", "purge", "--all"), "1 letter removed")
	p.ask(0, cmd("dlq", "ls"), "no dead letters")
	if s := p.status(); s.DeadLetters.Letters != 0 {
		t.Errorf("%+v", s.DeadLetters)
	}
	p.stop()
	p.ask(0, []string{"dlq", "ls", "--dir", "data"}, "no dead letters")
	p.ask(3, cmd("dlq", "purge", "--all"), "no Penstock runs here")
}

// messageID is the part of a record's id, or of a letter's, that names the
// message and the rule.
func messageID(id string) string { return id[:strings.LastIndex(id, ".")+1] }

// The dead letters of Penstock's first version are a file of lines; they are
// letters like others after a start, and can be redriven.
func TestOldDeadLetters(t *testing.T) {
	p := startPlant(t, brokenRule)
	p.stop()
	p.write("data/dead-letters.jsonl", `{"id":"aaaaaaaaaaaaa-1-7.1.2","rule":"hot","output":2,"sink":"out","reason":"type: not a number","attempts":0,`+
		`"first":"2026-11-01T10:00:00Z","last":"2026-11-01T10:00:00Z","record":{"received":"2026-11-01T10:00:00Z","client":"press","user":"","topic":"plant/1",`+
		`"qos":1,"retain":false,"properties":null,"source":"","hops":0,"payload":"{\"temp\": 4}"}}`+"\n")
	p.start()
	p.waitFor("dead letters of an older Penstock taken over")
	if list := p.letters(cmd()...); len(list) != 1 || list[0].Record.Client != "press" {
		t.Errorf("%+v", list)
	}
	if p.read("data/dead-letters.jsonl") != "" {
		t.Error("the old file is still there")
	}
	p.ask(0, cmd("dlq", "redrive", "--sink", "out"), "1 letter: 1 delivered")
	if out := p.read("out.txt"); !strings.Contains(out, `"id":"aaaaaaaaaaaaa-1-7.`) || !strings.Contains(out, `"value":"8"`) {
		t.Error(out)
	}
}
