package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/penstock/penstock/internal/kafkatest"
	"github.com/penstock/penstock/pipelines/deadletter"
)

const (
	crashDevices   = 20
	crashMessages  = 50_000
	crashPerDevice = crashMessages / crashDevices

	// A crash repeats at most what was in flight, in_flight x batch.records,
	// and what was settled beyond the last stored cursor (C15).
	crashBound = 4*1000 + 16_384
)

const crashConfig = `
listeners: [{bind: %q}]
sinks:
  - {name: plant, kafka: {brokers: [%q], topic: crash, compression: lz4}}
rules:
  - name: telemetry
    from: plant/{device}
    where: payload.state == "run"
    to: [{sink: plant, key: "{device}", value: '{device: device, seq: payload.seq}'}]
`

// startCrashing starts a penstock that keeps its address when it starts again.
func startCrashing(t *testing.T, dir string, kafka *kafkatest.Broker) *process {
	t.Helper()
	config := filepath.Join(dir, "penstock.yaml")
	write := func(bind string) {
		if err := os.WriteFile(config, fmt.Appendf(nil, crashConfig, bind, kafka.Addr), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("127.0.0.1:0")
	p := startPenstock(t, dir, nil, "run", config)
	write(p.addr(0))
	return p
}

// TestNothingAcknowledgedIsLost lets 20 devices publish 50,000 messages while
// Kafka is stopped and started twice and frozen once and Penstock is killed
// three times, and then compares what the devices were told with what Kafka
// holds (I1, I2, I3, I5, I6).
func TestNothingAcknowledgedIsLost(t *testing.T) {
	kafka := kafkatest.Start(t)
	kafka.CreateTopic(t, "crash", 4, nil)
	dir := t.TempDir()
	f := startFactory(t)
	f.limit = crashPerDevice
	p := startCrashing(t, dir, kafka)
	f.start(p.addr(0))

	// Kafka's outages alone: nothing is lost and nothing doubled.
	f.allow(8000).waitAcked(7000)
	kafka.Stop(t)
	f.allow(14_000).waitAcked(14_000) // acknowledged while Kafka is down
	kafka.Restart(t)
	f.allow(20_000).waitAcked(18_000)
	kafka.Freeze(t)
	f.allow(24_000).waitAcked(24_000)
	kafka.Thaw(t)
	if got := f.drain(kafka, 24_000); got.copies != 0 {
		t.Errorf("Kafka's outages doubled %d records", got.copies)
	}

	// Penstock's crashes, the second one while Kafka is down. Each is looked at
	// by itself: by then far more had been delivered than it may repeat.
	copies := 0
	crashed := func(n int) kafkaState {
		t.Helper()
		got := f.drain(kafka, n)
		if again := got.copies - copies; again > crashBound {
			t.Errorf("a crash doubled %d records, the bound is %d", again, crashBound)
		}
		copies = got.copies
		return got
	}
	f.allow(30_000).waitAcked(27_000)
	p.kill()
	p.start()
	f.waitAcked(30_000)
	crashed(30_000)
	kafka.Stop(t)
	f.allow(37_000).waitAcked(34_000)
	p.kill()
	p.start()
	kafka.Restart(t)
	f.waitAcked(37_000)
	crashed(37_000)
	f.allow(44_000).waitAcked(41_000)
	p.kill()
	p.start()
	f.allow(crashMessages).waitAcked(crashMessages)
	f.wait()
	got := crashed(crashMessages)
	p.stop()

	t.Logf("sent %d, acknowledged %d, resent %d, in Kafka %d, doubled by crashes %d, by resending devices %d",
		f.counters.Sent.Load(), f.counters.Acked.Load(), f.counters.Resent.Load(), got.records, got.copies, got.resent)
	if resent := int(f.counters.Resent.Load()); got.resent > resent {
		t.Errorf("%d messages are in Kafka under two ids, devices sent only %d again", got.resent, resent)
	}
	checkAccount(t, p, dir, f, got, crashPerDevice)
}

// checkAccount compares the account that Penstock logged at its end with what
// the devices sent, so many each, and what Kafka and the dead letters hold (C22).
func checkAccount(t *testing.T, p *process, dir string, f *crashFactory, got kafkaState, per int) {
	t.Helper()
	idle, bad := 0, 0
	for seq := range per {
		switch {
		case seq%100 == 50:
			bad += crashDevices
		case seq%10 == 5:
			idle += crashDevices
		}
	}
	line := p.waitFor("msg=account")
	figure := func(name string) int {
		m := regexp.MustCompile(`\b` + name + `=(\d+)`).FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("no figure %s in %s", name, line)
		}
		n, _ := strconv.Atoi(m[1])
		return n
	}
	in, filtered, failed, passed := figure("in"), figure("filtered"), figure("errors"), figure("passed")
	records, delivered, dead := figure("records"), figure("delivered"), figure("dead_lettered")
	dropped, pending := figure("dropped"), figure("pending")
	if in != filtered+failed+passed || records != delivered+dead+dropped+pending || pending != 0 || dropped != 0 {
		t.Errorf("the account does not balance: %s", line)
	}
	resent := int(f.counters.Resent.Load())
	if in < per*crashDevices || in > per*crashDevices+resent {
		t.Errorf("in = %d, want %d and at most %d more sent again", in, per*crashDevices, resent)
	}
	if delivered != got.distinct {
		t.Errorf("delivered = %d, Kafka holds %d distinct records", delivered, got.distinct)
	}
	if want := idle; filtered < want || filtered > want+resent {
		t.Errorf("filtered = %d, want %d and at most %d more", filtered, want, resent)
	}
	letters := deadLetters(t, dir)
	if want := bad; letters.messages != want || failed < want || letters.ids != failed {
		t.Errorf("%d rule errors, dead letters of %d messages under %d ids, want %d messages", failed, letters.messages, letters.ids, want)
	}
}

type letterCount struct{ messages, ids int }

// deadLetters reads the dead letters: every undecodable payload is there.
func deadLetters(t *testing.T, dir string) letterCount {
	t.Helper()
	view, err := deadletter.OpenReadOnly(filepath.Join(dir, "data", deadletter.FolderName), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	payloads, ids := map[string]bool{}, map[string]bool{}
	for letter, err := range view.List(deadletter.Filter{}) {
		if err != nil || letter.Record == nil || letter.Record.Payload == nil {
			t.Fatalf("dead letter %+v: %v", letter, err)
		}
		payloads[letter.Record.Topic+*letter.Record.Payload] = true
		ids[letter.ID] = true
	}
	return letterCount{len(payloads), len(ids)}
}
