package main_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/app"
)

const threeSinks = `
listeners: [{bind: "127.0.0.1:0"}]
admin: {bind: "127.0.0.1:0"}
journal: {keep: 24h, record: ["rec/#"]}
sinks:
  - {name: out, file: {path: out.txt}}
  - {name: dash, file: {path: dash.txt}}
  - {name: away, kafka: {brokers: ["127.0.0.1:1"], topic: t}}
rules:
  - {name: hot, from: "plant/+/temp", where: payload.temp > 80, to: [{sink: out, value: payload.temp}]}
  - {name: dash, from: "dash/#", to: [{sink: dash}]}
  - {name: far, from: "far/#", to: [{sink: away}]}
`

// The figures of status add up and are those of what was published; health and
// readiness say which lane does not work, and why; a pause outlives kill -9.
func TestStatus(t *testing.T) {
	p := startPlant(t, threeSinks)
	p.ask(0, cmd("lane", "pause", "dash"))
	p.publish("press", "plant/1/temp", `{"temp": 91}`, `{"temp": 20}`, `no JSON`)
	p.publish("press", "dash/1", "a", "b")
	p.publish("press", "far/1", "x")
	s := p.until("hot is settled, far was tried", func(s *app.Status) bool {
		return rule(s, "out", "hot").In == 3 && rule(s, "out", "hot").Pending == 0 && lane(s, "away").State == "unavailable"
	})
	if r := rule(s, "out", "hot"); r.Filtered != 1 || r.Errors != 1 || r.Passed != 1 || r.Delivered != 1 || r.DeadLettered != 1 {
		t.Errorf("hot: %+v", r)
	}
	if l := lane(s, "dash"); l.State != "paused" || l.BacklogMessages != 2 || l.Oldest.IsZero() {
		t.Errorf("dash: %+v", l)
	}
	if s.Ready || s.DeadLetters.Letters != 1 || s.Broker.Journaled != 6 {
		t.Errorf("ready %v, %d letters, %d journaled", s.Ready, s.DeadLetters.Letters, s.Broker.Journaled)
	}
	p.ask(0, cmd("status"), `NOT READY`, `out +hot +3 +1 +1 +1 +2 +1 +1 +0 +0`, `away +unavailable +1 `, `dash +paused +2 `, `1 dead letters`)
	p.checkHealth()
	p.checkMetrics()

	p.kill()
	p.start()
	if l := lane(p.status(), "dash"); l.State != "paused" || l.BacklogMessages != 2 {
		t.Errorf("dash after kill -9: %+v", l)
	}
	p.ask(0, cmd("lane", "resume", "dash"))
	p.until("dash goes on", func(s *app.Status) bool {
		return lane(s, "dash").State == "running" && rule(s, "dash", "dash").Delivered == 2
	})
	p.expect("dash.txt", "a", "b")
	p.stop()
	p.ask(3, cmd("status"), "no Penstock runs here")
}

func (p *plant) checkHealth() {
	p.t.Helper()
	if code, body := p.get("/healthz"); code != 200 || !strings.Contains(body, `"broken": []`) {
		p.t.Errorf("healthz: %d %s", code, body)
	}
	code, body := p.get("/readyz")
	for _, want := range []string{`"lane dash",\s+"ready": false,\s+"reason": "paused`, `"lane away",\s+"ready": false,\s+"reason": "unavailable: .*127.0.0.1:1`, `"lane out",\s+"ready": true`} {
		if code != 503 || !regexp.MustCompile(want).MatchString(body) {
			p.t.Errorf("readyz: %d, no %s in %s", code, want, body)
		}
	}
	if code, _ := p.get("/v1/status"); code != 404 { // no token: no commands over TCP
		p.t.Errorf("status over TCP without a token: %d", code)
	}
}

// checkMetrics: the names are there, nothing is labelled with what devices
// name, histograms count, and the age of what waits grows.
func (p *plant) checkMetrics() {
	p.t.Helper()
	_, text := p.get("/metrics")
	for _, want := range []string{
		`penstock_lane_backlog_messages{lane="dash"} 2`, `penstock_lane_state{lane="dash",state="paused"} 1`,
		`penstock_rule_messages_total{lane="out",result="filtered",rule="hot"} 1`, `penstock_rule_messages_total{lane="out",result="error",rule="hot"} 1`,
		`penstock_rule_records_total{lane="out",reason="",result="delivered",rule="hot"} 1`, `penstock_dead_letters 1`, `penstock_journal_full 0`,
		`penstock_messages_received_total{qos="1"} 6`, `penstock_ack_delay_seconds_count 6`, `penstock_lane_breaker_open{lane="away"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			p.t.Errorf("no %s in the metrics", want)
		}
	}
	if metric(p.t, text, "penstock_journal_sync_seconds_count") < 1 {
		p.t.Error("no sync was counted")
	}
	if found := regexp.MustCompile(`[{,](client|topic)=`).FindString(text); found != "" {
		p.t.Errorf("a label %s", found)
	}
	const oldest = `penstock_lane_oldest_undelivered_seconds{lane="dash"}`
	before := metric(p.t, text, oldest)
	_, text = p.get("/metrics")
	if after := metric(p.t, text, oldest); after <= before || before <= 0 {
		p.t.Errorf("%s was %v, is %v", oldest, before, after)
	}
}

// metric returns a sample of a scrape.
func metric(t testing.TB, text, series string) float64 {
	t.Helper()
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Errorf("no %s in the metrics", series)
	return 0
}
