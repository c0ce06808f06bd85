package pipelines_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines"
)

// letters reads the dead-letter file.
func letters(t testing.TB, path string) []pipelines.DeadLetter {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []pipelines.DeadLetter
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var d pipelines.DeadLetter
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		list = append(list, d)
	}
	return list
}

func payloads(list []pipelines.DeadLetter) []string {
	var v []string
	for _, d := range list {
		v = append(v, *d.Record.Payload)
	}
	slices.Sort(v)
	return v
}

// plug holds the first write of a one-shard sink until let go, so that what
// is published meanwhile becomes one batch.
type plug struct{ open chan struct{} }

func newPlug() *plug { return &plug{make(chan struct{})} }

func (p *plug) pull() { close(p.open) }

func (p *plug) held(batch []message.Record) bool {
	if string(batch[0].Value) != "plug" {
		return false
	}
	<-p.open
	return true
}

func publish(r *rig, p *plug, list ...string) {
	r.start()
	r.journal.publish("a", "plug", 1)
	synctest.Wait()
	for _, v := range list {
		r.journal.publish("a", v, 1)
	}
	pass(time.Minute)
	p.pull()
}

// C18: unnamed records are confirmed; what is to be retried goes before anything
// later; what is refused goes to the dead letters.
func TestPartial(t *testing.T) {
	calls := 0
	synctest.Test(t, func(t *testing.T) {
		p := newPlug()
		sink := &shardedSink{shard: oneShard}
		sink.answer = func(_ context.Context, batch []message.Record) error {
			if p.held(batch) {
				return nil
			}
			if calls++; calls > 1 {
				return nil
			}
			return &bridges.Partial{Failed: map[int]error{
				1: &bridges.Retry{Err: errors.New("busy")},
				2: &bridges.Reject{Err: errors.New("too large")},
				4: &bridges.Retry{After: time.Second, Err: errors.New("busy")},
			}}
		}
		r := newRig(t, sink)
		r.config.Batch.Records = 5
		publish(r, p, numbered(7)...)
		pass(time.Minute)
		want(t, "writes", sink.calls()[1:], [][]string{
			{"v0", "v1", "v2", "v3", "v4"}, {"v1", "v4"}, {"v5", "v6"},
		})
		want(t, "waited", sink.starts[2].Sub(sink.starts[1]), time.Second)
		want(t, "delivered", sink.have(), []string{"plug", "v0", "v3", "v1", "v4", "v5", "v6"})
		r.stop()
		want(t, "dead", payloads(letters(t, r.path)), []string{"v2"})
		got := r.total()
		want(t, "account", []uint64{got.Records, got.Delivered, got.DeadLettered, got.Pending}, []uint64{8, 7, 1, 0})
	})
}

// A bare Reject says that nothing was written: the lane halves the batch until
// the poison stands alone, and keeps the order of the rest.
func TestRejectIsBisected(t *testing.T) {
	poison := func(r *message.Record) bool { return r.Value[0] == 'x' }
	for name, at := range map[string][]int{"first": {0}, "last": {99}, "two": {17, 18}, "all": nil} {
		t.Run(name, func(t *testing.T) {
			list := numbered(100)
			var bad []string
			for i := range list {
				if name == "all" || slices.Contains(at, i) {
					list[i] = "x" + list[i]
					bad = append(bad, list[i])
				}
			}
			synctest.Test(t, func(t *testing.T) {
				p := newPlug()
				sink := &shardedSink{shard: oneShard}
				sink.answer = func(_ context.Context, batch []message.Record) error {
					if !p.held(batch) && slices.ContainsFunc(batch, func(r message.Record) bool { return poison(&r) }) {
						return &bridges.Reject{Err: errors.New("invalid record")}
					}
					return nil
				}
				r := newRig(t, sink)
				publish(r, p, list...)
				pass(time.Minute)
				good := append([]string{"plug"}, slices.DeleteFunc(slices.Clone(list), func(v string) bool { return v[0] == 'x' })...)
				want(t, "delivered", sink.have(), good)
				if n := len(sink.calls()); n > 2+2*8*max(1, len(bad)) {
					t.Errorf("%d writes", n)
				}
				r.stop()
				slices.Sort(bad)
				want(t, "dead", payloads(letters(t, r.path)), bad)
				r.total()
			})
		})
	}
}

func TestDeadLetterSaysWhatCameIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &fakeSink{answer: func(context.Context, []message.Record) error {
			<-time.After(time.Second)
			return &bridges.Reject{Err: errors.New("too large")}
		}}
		r := newRig(t, sink)
		r.start()
		begin := time.Now().UTC()
		offset := r.journal.publish("plant/7", "hello <world>", 1)
		pass(2 * time.Second)
		text := "hello <world>"
		want(t, "letter", letters(t, r.path), []pipelines.DeadLetter{{
			ID:   fmt.Sprintf("%s.1.1", message.ID{Journal: 1, Epoch: 1, Offset: offset}),
			Rule: "rule-1", Output: 1, Sink: "plant", Reason: "rejected: too large", Attempts: 1,
			First: begin, Last: begin.Add(time.Second),
			Record: &pipelines.LetterRecord{
				Received: time.UnixMilli(1767225600000 + int64(offset)).UTC(),
				Client:   "c", Topic: "plant/7", QoS: 1, Payload: &text,
			},
		}})
		b, _ := os.ReadFile(r.path)
		if !strings.Contains(string(b), `"payload":"hello <world>"`) {
			t.Errorf("escaped: %s", b)
		}
		r.stop()
	})
}

// The time in which the sink was unavailable does not count (C20).
func TestMaxAge(t *testing.T) {
	var outage, busy int
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		sink := &shardedSink{shard: oneShard}
		sink.answer = func(context.Context, []message.Record) error {
			switch at := time.Since(begin); {
			case at > time.Minute && at < time.Hour:
				outage++
				return &bridges.Unavailable{Err: errors.New("down")}
			default:
				busy++
				return &bridges.Retry{Err: errors.New("busy")}
			}
		}
		r := newRig(t, sink)
		r.config.Retry.MaxAge = 5 * time.Minute
		r.start()
		r.journal.publish("a", "v0", 1)
		pass(time.Hour)
		want(t, "dead before its time", letters(t, r.path), []pipelines.DeadLetter(nil))
		pass(5 * time.Minute)
		list := letters(t, r.path)
		want(t, "dead", payloads(list), []string{"v0"})
		d := list[0]
		want(t, "reason", d.Reason, "max_age: retry: busy")
		want(t, "attempts", d.Attempts, busy)
		if tried := d.Last.Sub(d.First); tried < 63*time.Minute+50*time.Second || tried > 65*time.Minute {
			t.Errorf("tried for %v", tried)
		}
		if outage == 0 {
			t.Error("there was no outage")
		}
		r.stop()
		r.total()
	})
}

func TestRuleOutcomes(t *testing.T) {
	sink := &fakeSink{}
	run(t, sink, func(r *rig) {
		r.rules = []uint32{1, 5}
		r.start()
		for _, v := range []string{"ok", "filter", "missing", "error", "error again", "drop", "twice", "unreadable"} {
			r.journal.publish("a", v, 1)
		}
		r.journal.publish("a", "twice both", 1, 5)
		r.journal.publish("a", "filter both", 5, 1)
		pass(time.Second)
		r.stop()
		got := r.lane.Account()
		pipelines.AssertBalanced(t, got)
		want(t, "account", got.Rules, []pipelines.RuleAccount{
			{
				Rule: 1, Name: "rule-1", In: 10, Filtered: 3, FilteredMissing: 1, Errors: 4, Passed: 3,
				Records: 9, Delivered: 5, DeadLettered: 2, Dropped: map[string]uint64{"on_error": 1, "unreadable": 1},
			},
			{
				Rule: 5, Name: "rule-5", In: 2, Filtered: 1, Passed: 1, Records: 2, Delivered: 2,
				Dropped: map[string]uint64{},
			},
		})
		list := letters(t, r.path)
		want(t, "dead", payloads(list), []string{"error", "error again"})
		want(t, "reason", list[0].Reason, "type: not a number")
		want(t, "id", strings.HasSuffix(list[0].ID, "-4.1.9") || strings.Contains(list[0].ID, ".1.9"), true)
		if n := strings.Count(r.log.String(), "not a number"); n != 1 {
			t.Errorf("the same cause was logged %d times:\n%s", n, r.log.String())
		}
		// After a restart the figures go on from the cursor.
		r.start()
		r.journal.publish("a", "one more", 1)
		pass(time.Second)
		r.stop()
		after := r.lane.Account()
		want(t, "in", after.Rules[0].In, uint64(11))
		want(t, "delivered", after.Rules[0].Delivered, uint64(6))
		want(t, "rule 5", cmp.Equal(after.Rules[1], got.Rules[1]), true)
		pipelines.AssertBalanced(t, after)
	})
}

// When the dead letters are full, what a sink refuses blocks its lane until
// there is room; rule errors are only counted (C20).
func TestDeadLettersFull(t *testing.T) {
	sink := &shardedSink{shard: oneShard}
	sink.answer = func(_ context.Context, batch []message.Record) error {
		if batch[0].Value[0] == 'x' {
			return &bridges.Reject{Err: errors.New("no")}
		}
		return nil
	}
	run(t, sink, func(r *rig) {
		r.openDead(600) // one letter and a bit
		r.start()
		for _, v := range []string{"error 1", "error 2", "ok"} {
			r.journal.publish("a", v, 1)
			pass(time.Second)
		}
		want(t, "delivered", sink.have(), []string{"ok"})
		want(t, "dropped", r.total().Dropped, map[string]uint64{"dead_letters_full": 1})
		r.journal.publish("a", "x", 1)
		pass(time.Second)
		r.journal.publish("a", "behind", 1)
		pass(time.Minute)
		want(t, "while blocked", sink.have(), []string{"ok"})
		want(t, "pending", r.total().Pending, uint64(1))
		if err := os.Rename(r.path, r.path+".old"); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		want(t, "with room", sink.have(), []string{"ok", "behind"})
		want(t, "old file", payloads(letters(t, r.path+".old")), []string{"error 1"})
		want(t, "new file", payloads(letters(t, r.path)), []string{"x"})
		r.stop()
		r.total()
		for _, text := range []string{"rule errors are only counted", "the lane waits for room", "have room again"} {
			if n := strings.Count(r.log.String(), text); n != 1 {
				t.Errorf("%q was logged %d times:\n%s", text, n, r.log.String())
			}
		}
	})
}

func TestDeadLettersCutATornLine(t *testing.T) {
	path := t.TempDir() + "/dead-letters.jsonl"
	if err := os.WriteFile(path, []byte("{\"id\":\"whole\"}\n{\"id\":\"to"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := pipelines.OpenDeadLetters(pipelines.DeadLetterOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if n, err := d.Append([]pipelines.DeadLetter{{ID: "next"}}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	var ids []string
	for _, l := range letters(t, path) {
		ids = append(ids, l.ID)
	}
	want(t, "ids", ids, []string{"whole", "next"})
	info, _ := os.Stat(path)
	want(t, "size", d.Size(), info.Size())
}

func TestLetterRecordKeepsWhatCame(t *testing.T) {
	m := &message.Message{Payload: []byte{0xff, 0}, Properties: message.Properties{
		HasPayloadFormat: true, HasMessageExpiry: true, MessageExpiry: 9, ContentType: "t",
		CorrelationData: []byte{1}, UserProperties: []message.UserProperty{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}},
	}}
	b, err := json.Marshal(pipelines.NewLetterRecord(m))
	if err != nil {
		t.Fatal(err)
	}
	const properties = `"properties":{"payload_format":0,"message_expiry":9,"content_type":"t","correlation_data":"AQ==",` +
		`"user":[{"name":"a","value":"1"},{"name":"a","value":"2"}]}`
	for _, part := range []string{properties, `"payload_base64":"/wA="`, `"received":"1970-01-01T00:00:00Z"`} {
		if !strings.Contains(string(b), part) {
			t.Errorf("%s lacks %s", b, part)
		}
	}
}
