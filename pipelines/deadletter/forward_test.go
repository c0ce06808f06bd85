package deadletter_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/message"
	"github.com/penstock/penstock/pipelines/deadletter"
)

// A forwarding is a forwarder with what it handed on.
type forwarding struct {
	mu   sync.Mutex
	got  []message.Record
	fail error
}

// down has it fail, or not.
func (f *forwarding) down(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

func (f *forwarding) records() []message.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got)
}

func (f *forwarding) send(_ context.Context, records []message.Record) ([]deadletter.Outcome, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return nil, f.fail
	}
	f.got = append(f.got, records...)
	return slices.Repeat([]deadletter.Outcome{{Fate: deadletter.Delivered}}, len(records)), nil
}

// texts are the payloads of the letters that arrived.
func (f *forwarding) texts() []string {
	var all []string
	for _, r := range f.records() {
		var l deadletter.Letter
		if json.Unmarshal(r.Value, &l) == nil && l.Record != nil {
			all = append(all, *l.Record.Payload)
		}
	}
	return all
}

// start runs a forwarder until stop.
func (f *forwarding) start(t *testing.T, s *deadletter.Store) (stop func()) {
	t.Helper()
	forwarder, err := deadletter.NewForwarder(deadletter.ForwarderOptions{Store: s, Topic: "letters", Local: true, Send: f.send})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- forwarder.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := fault.NewMem()
		s := open(t, mem)
		add(t, s, refused(1))
		f := &forwarding{}
		stop := f.start(t, s)
		synctest.Wait()
		want(t, "before it was there", f.texts(), nil)
		loop := letter(deadletter.Refused, 3, "loop")
		loop.Record.Topic = "letters"
		source := letter(deadletter.Refused, 4, "loop too")
		source.Record.Source = deadletter.ForwardSource
		lost := refused(6)
		lost.Record = nil
		add(t, s, refused(2), loop, source, ruleError(5), lost)
		synctest.Wait()
		want(t, "forwarded", f.texts(), []string{"refused 2", "error 5"})
		want(t, "records", len(f.records()), 3)
		r := f.records()[0]
		want(t, "key", string(r.Key), refused(2).ID)
		want(t, "headers", r.Headers, []message.Header{{Name: "penstock-id", Value: []byte(refused(2).ID + ".letter")}})
		want(t, "id", string(r.AppendID(nil)), refused(2).ID+".letter")
		// The destination is down: it is tried again, and nothing is passed over.
		f.down(errors.New("down"))
		add(t, s, refused(7))
		<-time.After(time.Minute)
		synctest.Wait()
		want(t, "down", len(f.records()), 3)
		f.down(nil)
		<-time.After(time.Minute)
		synctest.Wait()
		want(t, "up", f.texts()[2:], []string{"refused 7"})
		want(t, "they stay", s.Stats().Refused.Letters, 6)
		stop()
		// What comes while nobody forwards is forwarded later.
		add(t, s, refused(8))
		s.Close()
		s = open(t, mem)
		stop = f.start(t, s)
		synctest.Wait()
		want(t, "later", f.texts()[3:], []string{"refused 8"})
		stop()
		s.Close()
	})
}

// A letter whose forwarding is refused is in the store anyway.
func TestForwardIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, fault.NewMem())
		n := 0
		forwarder, err := deadletter.NewForwarder(deadletter.ForwarderOptions{
			Store: s,
			Send: func(_ context.Context, records []message.Record) ([]deadletter.Outcome, error) {
				n += len(records)
				return slices.Repeat([]deadletter.Outcome{{Fate: deadletter.Rejected, Err: errors.New("no")}}, len(records)), nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- forwarder.Run(ctx) }()
		add(t, s, refused(1), refused(2))
		synctest.Wait()
		<-time.After(time.Minute)
		synctest.Wait()
		want(t, "tried once", n, 2)
		cancel()
		<-done
		s.Close()
	})
}

// The power fails after each file operation: what comes after is forwarded at
// least once.
func TestForwardSurvivesCrashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := fault.NewMem()
		s := open(t, mem)
		f := &forwarding{}
		stop := f.start(t, s)
		var disks []*fault.Mem
		var have [][]string // what had arrived, and what was there, at that time
		written := []string{}
		mem.Watch(func(op fault.Op) {
			if op.Kind == fault.Read || op.Kind == fault.Stat {
				return
			}
			for seed := range uint64(2) {
				disks = append(disks, mem.Crash(seed))
				have = append(have, append(slices.Clone(f.texts()), written...))
			}
		})
		for n := range 5 {
			add(t, s, refused(n))
			synctest.Wait()
		}
		mem.Watch(nil)
		stop()
		s.Close()
		for i, disk := range disks {
			s := open(t, disk)
			g := &forwarding{}
			stop := g.start(t, s)
			synctest.Wait()
			arrived := strings.Join(append(have[i], g.texts()...), ",")
			for l := range s.List(deadletter.Filter{}) {
				if !strings.Contains(arrived, *l.Record.Payload) {
					t.Fatalf("crash %d: %s was never forwarded", i, *l.Record.Payload)
				}
			}
			stop()
			s.Close()
		}
		if len(disks) < 30 {
			t.Errorf("%d crash points", len(disks))
		}
	})
}
