package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/kafkatest"
)

// kafkaState is what Kafka held when everything allowed had arrived.
type kafkaState struct {
	records  int // all
	distinct int // penstock-ids
	copies   int // records whose penstock-id was there already
	resent   int // messages under more than one penstock-id: sent again by the device
	lost     int // messages that are not there
	disorder int // records that came before an earlier one of their key (I3)
}

// drain reads Kafka from the beginning until every message up to n that must
// leave is there, checks the order per key, and counts copies.
func (f *crashFactory) drain(kafka *kafkatest.Broker, n int) kafkaState {
	f.t.Helper()
	return f.read(kafka, n/crashDevices)
}

// read is drain for so many messages of each device.
func (f *crashFactory) read(kafka *kafkatest.Broker, per int) kafkaState {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 180*time.Second)
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
	k := newKafkaReader(f.t, per)
	s := bufio.NewScanner(out)
	for k.missing > 0 && s.Scan() {
		k.take(s.Text())
	}
	if k.missing > 0 {
		f.t.Errorf("%d of %d messages are not in Kafka: %s", k.missing, per*crashDevices, k.gaps())
	}
	k.state.lost = k.missing
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
		k.seen["dev"+strconv.Itoa(i)] = make([]bool, perDevice)
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
		k.state.disorder++
		k.t.Errorf("%s: offset %d came after %d", device, offset, k.newest[device])
	}
	k.newest[device] = offset
}

func (k *kafkaReader) mark(device string, seq int) {
	if !delivered(seq) {
		k.t.Errorf("%s: message %d should have been filtered", device, seq)
	}
	for seq >= len(k.seen[device]) { // sent already, and not waited for
		k.seen[device] = append(k.seen[device], false)
	}
	seen := k.seen[device]
	if seen[seq] {
		k.state.resent++
		return
	}
	seen[seq] = true
	if seq < k.last[device] {
		k.state.disorder++
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
