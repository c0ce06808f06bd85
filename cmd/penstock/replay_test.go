package main_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/app"
)

const replayable = `
listeners: [{bind: "127.0.0.1:0"}]
journal: {keep: 24h}
sinks: [{name: out, file: {path: out.txt}}]
rules:
  - {name: hot, from: "plant/#", where: payload.temp > 80 || payload.temp == 0, to: [{sink: out, value: payload.temp}]}
`

// After the rule was edited, a dry run says what is the same, changed, new and
// gone against then, live and from the folder, and sends nothing; a replay
// sends, under ids of its own (C17).
func TestReplayCommand(t *testing.T) {
	p := startPlant(t, replayable)
	p.publish("press", "plant/1", `{"temp": 99}`, `{"temp": 81}`, `{"temp": 50}`, `{"temp": 0}`, `{"temp": 1}`)
	delivered := func(n uint64) {
		t.Helper()
		p.until("delivery", func(s *app.Status) bool { return rule(s, "out", "hot").Delivered == n })
	}
	delivered(3)
	dry := cmd("replay", "--from", "1h", "--rule", "hot", "--dry-run")
	p.ask(0, dry, `5 messages read: 3 records, 2 filtered, 0 rule errors; against then: 5 same, 0 changed, 0 new, 0 gone`)

	p.configure(strings.Replace(replayable, "payload.temp > 80 || payload.temp == 0, to: [{sink: out, value: payload.temp}]",
		"payload.temp >= 50, to: [{sink: out, value: 'payload.temp > 90 ? payload.temp + 1 : payload.temp'}]", 1))
	p.ask(0, cmd("reload"), `1 sinks kept, 0 started, 0 stopped, 1 rules`)
	for _, args := range [][]string{dry, append(dry, "--dir", "data")} {
		out := p.ask(0, args, `would be sent, changed\n`, `value +99 +-> +100|99 -> 100`, `would be sent, new\n`, `filtered, gone\n`,
			`against then: 2 same, 1 changed, 1 new, 1 gone`)
		if strings.Contains(out, "same\n") {
			t.Errorf("what is the same is shown unasked:\n%s", out)
		}
	}
	p.ask(0, append(dry, "--all"), `would be sent, same`)
	p.ask(0, append(dry, "--json"), `"then":"changed"`, `"summary":\{"messages":5`)
	p.expect("out.txt", "99", "81", "0")

	out := p.ask(0, cmd("replay", "--from", "1h", "--sink", "out"), `3 delivered, 0 refused; ids end with \.r[0-9a-z]+\n`)
	p.expect("out.txt", "99", "81", "0", "100", "81", "50")
	if n := strings.Count(out, ": delivered\n"); n != 3 {
		t.Errorf("%d lines say delivered:\n%s", n, out)
	}
	p.ask(1, cmd("replay", "--from", "1h", "--rule", "cold"), `no rule "cold"`)
	p.ask(2, []string{"replay", "--from", "1h", "--rule", "hot", "--dir", "data"}, "Try: penstock replay --help")
	p.status()
	p.stop()
	p.ask(0, append(dry, "--dir", "data"), `against then: 2 same, 1 changed, 1 new, 1 gone`)
	p.ask(3, dry, "no Penstock runs here")
}

// What a replay sends has ids that end in its run, as a sink that shows ids
// tells.
func TestReplayIDs(t *testing.T) {
	p := startPlant(t, strings.Replace(replayable, "path: out.txt", "path: out.txt, format: envelope", 1))
	p.publish("press", "plant/1", `{"temp": 99}`)
	p.until("delivery", func(s *app.Status) bool { return rule(s, "out", "hot").Delivered == 1 })
	out := p.ask(0, cmd("replay", "--from", "1h", "--sink", "out"))
	run := regexp.MustCompile(`ids end with (\.r[0-9a-z]+)`).FindStringSubmatch(out)
	ids := regexp.MustCompile(`"(?:id|penstock-id)":"([^"]+)"`).FindAllStringSubmatch(p.read("out.txt"), -1)
	if len(run) != 2 || len(ids) != 4 || ids[0][1] != ids[1][1] || ids[2][1] != ids[0][1]+run[1] || ids[3][1] != ids[2][1] {
		t.Errorf("ids %v, run %v, in %s", ids, run, p.read("out.txt"))
	}
}
