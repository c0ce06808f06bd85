package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/internal/factory"
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

// TestNothingAcknowledgedIsLost lets 20 devices publish 50,000 messages while
// Kafka is stopped and started twice and frozen once and Penstock is killed
// three times, and then compares what the devices were told with what Kafka
// holds (I1, I2, I3, I5, I6).
func TestNothingAcknowledgedIsLost(t *testing.T) {
	kafka := kafkatest.Start(t)
	kafka.CreateTopic(t, "crash", 4, nil)
	dir := t.TempDir()
	f := startFactory(t)
	config := filepath.Join(dir, "penstock.yaml")
	writeConfig := func(bind string) {
		text := fmt.Sprintf(crashConfig, bind, kafka.Addr)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writeConfig("127.0.0.1:0")
	p := startPenstock(t, dir, nil, "run", config)
	writeConfig(p.addr(0)) // the same address after each restart
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
	checkAccount(t, p, dir, f, got)
}

// checkAccount compares the account that Penstock logged at its end with what
// the devices sent and what Kafka and the dead letters hold (C22).
func checkAccount(t *testing.T, p *process, dir string, f *crashFactory, got kafkaState) {
	t.Helper()
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
	if in < crashMessages || in > crashMessages+resent {
		t.Errorf("in = %d, want %d and at most %d more sent again", in, crashMessages, resent)
	}
	if delivered != got.distinct {
		t.Errorf("delivered = %d, Kafka holds %d distinct records", delivered, got.distinct)
	}
	if want := crashMessages / 10; filtered < want || filtered > want+resent {
		t.Errorf("filtered = %d, want %d and at most %d more", filtered, want, resent)
	}
	letters := deadLetters(t, dir)
	if want := crashMessages / 100; letters.messages != want || failed < want || letters.ids != failed {
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

// A crashFactory is the devices of this test with a gate in front of them.
type crashFactory struct {
	t        *testing.T
	counters factory.Counters
	wg       sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	allowed int // guarded by mu: messages of each device that may leave
}

func startFactory(t *testing.T) *crashFactory {
	f := &crashFactory{t: t}
	f.changed = sync.NewCond(&f.mu)
	return f
}

// start connects the devices: QoS 1 and 2 over each protocol version.
func (f *crashFactory) start(addr string) {
	ctx, cancel := context.WithCancel(f.t.Context())
	f.t.Cleanup(func() {
		cancel()
		f.wg.Wait()
	})
	versions := []packet.Version{packet.V31, packet.V311, packet.V5}
	for i := range crashDevices {
		d := factory.NewDevice(factory.Options{
			Addr: addr, ClientID: "dev-" + strconv.Itoa(i), Version: versions[i%3], QoS: byte(1 + i%2),
		}, &f.counters, f.source(i))
		f.wg.Go(func() {
			if err := d.Run(ctx); err != nil && ctx.Err() == nil {
				f.t.Errorf("device %d: %v", i, err)
			}
		})
	}
}

// source gives one device its numbered messages, as far as the gate allows:
// one in ten is filtered, one in a hundred is not JSON.
func (f *crashFactory) source(device int) factory.Source {
	seq := 0
	topic := "plant/dev" + strconv.Itoa(device)
	return func() (factory.Message, time.Duration, bool) {
		if seq == crashPerDevice {
			return factory.Message{}, 0, false
		}
		f.mu.Lock()
		open := seq < f.allowed
		f.mu.Unlock()
		if !open {
			return factory.Message{}, 2 * time.Millisecond, false
		}
		m := factory.Message{Topic: topic, Payload: crashPayload(seq)}
		seq++
		return m, 0, true
	}
}

func crashPayload(seq int) []byte {
	switch {
	case seq%100 == 50:
		return fmt.Appendf(nil, `{"seq": %d, "state": `, seq)
	case seq%10 == 5:
		return fmt.Appendf(nil, `{"seq": %d, "state": "idle"}`, seq)
	}
	return fmt.Appendf(nil, `{"seq": %d, "state": "run", "pad": %q}`, seq, strings.Repeat("x", 150))
}

// delivered says whether the message with this number leaves for Kafka.
func delivered(seq int) bool { return seq%100 != 50 && seq%10 != 5 }

// allow opens the gate until n messages of all devices together.
func (f *crashFactory) allow(n int) *crashFactory {
	f.mu.Lock()
	f.allowed = n / crashDevices
	f.mu.Unlock()
	return f
}

// waitAcked waits until n messages have been acknowledged.
func (f *crashFactory) waitAcked(n int64) {
	f.t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for f.counters.Acked.Load() < n {
		if time.Now().After(deadline) {
			f.t.Fatalf("%d messages acknowledged, waited for %d", f.counters.Acked.Load(), n)
		}
		<-tick.C
	}
}

// wait waits until every device has everything acknowledged.
func (f *crashFactory) wait() { f.wg.Wait() }

// kafkaState is what Kafka held when everything allowed had arrived.
type kafkaState struct {
	records  int // all
	distinct int // penstock-ids
	copies   int // records whose penstock-id was there already
	resent   int // messages under more than one penstock-id: sent again by the device
}

// drain reads Kafka from the beginning until every message up to n that must
// leave is there, checks the order per key, and counts copies.
func (f *crashFactory) drain(kafka *kafkatest.Broker, n int) kafkaState {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 120*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "kcat", "-C", "-q", "-E", "-u", "-b", kafka.Addr, "-t", "crash", "-o", "beginning", "-f", "%k\t%h\t%s\n")
	out, err := cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		f.t.Fatalf("%v; on Debian: apt-get install kcat", err)
	}
	defer func() { _ = cmd.Wait() }()
	defer cancel()
	k := newKafkaReader(f.t, n/crashDevices)
	s := bufio.NewScanner(out)
	for k.missing > 0 && s.Scan() {
		k.take(s.Text())
	}
	if k.missing > 0 {
		f.t.Fatalf("%d of %d messages are not in Kafka: %s", k.missing, n, k.gaps())
	}
	return k.state
}

// A kafkaReader follows the records of the topic and checks them.
type kafkaReader struct {
	t       *testing.T
	seen    map[string][]bool // device -> sequence number
	ids     map[string]bool
	newest  map[string]uint64 // device -> highest offset in the journal so far
	last    map[string]int    // device -> highest sequence number so far
	per     int
	missing int
	state   kafkaState
}

func newKafkaReader(t *testing.T, perDevice int) *kafkaReader {
	k := &kafkaReader{t: t, seen: map[string][]bool{}, ids: map[string]bool{}, newest: map[string]uint64{}, last: map[string]int{}, per: perDevice}
	for i := range crashDevices {
		k.seen["dev"+strconv.Itoa(i)] = make([]bool, crashPerDevice)
	}
	for seq := range perDevice {
		if delivered(seq) {
			k.missing += crashDevices
		}
	}
	return k
}

var penstockID = regexp.MustCompile(`penstock-id=([^,]+)`)

func (k *kafkaReader) take(line string) {
	fields := strings.SplitN(line, "\t", 3)
	var value struct {
		Device string
		Seq    int
	}
	if len(fields) != 3 || json.Unmarshal([]byte(fields[2]), &value) != nil || value.Device != fields[0] {
		k.t.Fatalf("unexpected record %q", line)
	}
	k.state.records++
	id := penstockID.FindStringSubmatch(fields[1])[1]
	if k.ids[id] {
		k.state.copies++
		return
	}
	k.ids[id] = true
	k.state.distinct++
	k.checkOrder(value.Device, id)
	k.mark(value.Device, value.Seq)
}

// checkOrder: first copies of one key come in journal order (I3).
func (k *kafkaReader) checkOrder(device, id string) {
	parts := strings.Split(strings.SplitN(id, ".", 2)[0], "-")
	offset, err := strconv.ParseUint(parts[2], 10, 64)
	if err != nil {
		k.t.Fatalf("penstock-id %q: %v", id, err)
	}
	if offset < k.newest[device] {
		k.t.Errorf("%s: offset %d came after %d", device, offset, k.newest[device])
	}
	k.newest[device] = offset
}

func (k *kafkaReader) mark(device string, seq int) {
	if !delivered(seq) {
		k.t.Errorf("%s: message %d should have been filtered", device, seq)
	}
	seen := k.seen[device]
	if seen[seq] {
		k.state.resent++
		return
	}
	seen[seq] = true
	if seq < k.last[device] {
		k.t.Errorf("%s: message %d came after message %d", device, seq, k.last[device])
	}
	k.last[device] = seq
	if seq < k.per {
		k.missing--
	}
}

// gaps lists the first missing messages.
func (k *kafkaReader) gaps() string {
	var gaps []string
	for device, seen := range k.seen {
		for seq := range k.per {
			if delivered(seq) && !seen[seq] && len(gaps) < 10 {
				gaps = append(gaps, fmt.Sprintf("%s/%d", device, seq))
			}
		}
	}
	return strings.Join(gaps, " ")
}
