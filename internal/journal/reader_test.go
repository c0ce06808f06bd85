package journal_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/message"
)

// TestRoundTrip: what goes in comes out, every field of it.
func TestRoundTrip(t *testing.T) {
	full := message.Message{
		Client: "c1", User: "u1", Topic: "plant/7/press", QoS: 2, Retain: true, Source: "hq", Hops: 3,
		Payload: []byte(`{"temp": 91}`),
		Properties: message.Properties{
			PayloadFormat: 1, HasPayloadFormat: true, MessageExpiry: 60, HasMessageExpiry: true,
			ContentType: "application/json", ResponseTopic: "answers", CorrelationData: []byte{},
			UserProperties: []message.UserProperty{{Name: "a", Value: "1"}, {Name: "a", Value: ""}, {Name: "", Value: "x"}},
		},
	}
	zero := message.Message{Topic: "t", Properties: message.Properties{HasPayloadFormat: true, HasMessageExpiry: true}}
	long := message.Message{Topic: strings.Repeat("t", 60000), Payload: []byte(strings.Repeat("p", 200_000))}
	messages := []message.Message{full, {}, zero, long}
	fs := fault.NewMem()
	j := open(t, fs)
	var want []message.Message
	for i := range messages {
		e := journal.Entry{Message: &messages[i], Rules: []uint32{3, 70000, 1}[:1+i%3], PacketID: uint16(i * 20000)}
		if _, err := j.Append([]journal.Entry{e}); err != nil {
			t.Fatal(err)
		}
		if messages[i].Received == 0 || messages[i].ID.Offset == 0 {
			t.Fatalf("not written back: %+v", messages[i])
		}
		want = append(want, messages[i])
	}
	stored(t, j, uint64(len(messages)))
	check := func(j *journal.Journal) {
		t.Helper()
		r := j.NewReader(1)
		defer r.Close()
		var m message.Message // used again and again, as lanes do
		for i := range want {
			f, ok, err := r.TryNext()
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
			if err := f.Message(&m); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(fmt.Sprintf("%+v", want[i]), fmt.Sprintf("%+v", m)); d != "" {
				t.Error(d)
			}
			if m.ID != f.ID() || f.PacketID() != uint16(i*20000) || f.Size() < len(m.Payload) {
				t.Error(m.ID, f.ID(), f.PacketID(), f.Size())
			}
			if d := cmp.Diff([]uint32{9, 3, 70000, 1}[:2+i%3], f.Rules([]uint32{9})); d != "" {
				t.Error(d)
			}
		}
	}
	check(j)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	check(open(t, fs))
}

// TestReadersShareAndLag: many readers, some of them slow, some beginning
// late, under many appenders: each sees every message once, in order, whether
// from memory or from disk.
func TestReadersShareAndLag(t *testing.T) {
	j := openWith(t, journal.Options{Dir: dir, FS: fault.NewMem(), MaxBytes: 64 << 20, SegmentBytes: 128 << 10, TailBytes: 512 << 10})
	const appenders, each = 8, 400
	const total = appenders * each
	payload := strings.Repeat("m", 2000)
	var all sync.WaitGroup
	halfway, ended := make(chan struct{}), make(chan struct{})
	for i := range 8 {
		all.Go(func() {
			if i%2 == 1 {
				<-halfway
			}
			r := j.NewReader(1)
			defer r.Close()
			if i%4 == 2 {
				readTotal(t, r, total, ended)
				return
			}
			readTotal(t, r, total, nil)
		})
	}
	var writers sync.WaitGroup
	for range appenders {
		writers.Go(func() {
			for n := range each / 4 {
				e := make([]journal.Entry, 4)
				for i := range e {
					e[i] = journal.Entry{Message: textMessage(payload), Rules: []uint32{1}, NoWait: n%2 == 0}
				}
				if _, err := j.Append(e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	stored(t, j, total/2)
	close(halfway)
	writers.Wait()
	close(ended)
	all.Wait()
	if s := j.Stats(); s.TailBytes > 2<<20 {
		t.Errorf("the tail holds %d bytes", s.TailBytes)
	}
}

// readTotal reads so many messages, with pauses for a commit, or more, until
// no more come.
func readTotal(t *testing.T, r *journal.Reader, total int, pause <-chan struct{}) {
	last := uint64(0)
	var m message.Message
	for n := 0; n < total; {
		f, ok, err := r.TryNext()
		if err != nil {
			t.Error(err)
			return
		}
		if !ok {
			<-r.Ready()
			continue
		}
		if f.Offset() != last+1 {
			t.Errorf("offset %d after %d", f.Offset(), last)
			return
		}
		if err := f.Message(&m); err != nil || len(m.Payload) != 2000 {
			t.Error(err, len(m.Payload))
			return
		}
		last = f.Offset()
		if n++; pause != nil && n%100 == 0 {
			select {
			case <-r.Ready():
			case <-pause:
			}
		}
	}
}

// TestTailIsBounded: a reader that stands still does not keep more in memory
// than the bound, and finds on disk what was let go.
func TestTailIsBounded(t *testing.T) {
	j := openWith(t, journal.Options{Dir: dir, FS: fault.NewMem(), MaxBytes: 64 << 20, SegmentBytes: 256 << 10, TailBytes: 1 << 20})
	r := j.NewReader(1)
	defer r.Close()
	const total = 2000
	var last uint64
	for range total {
		last = text(t, j, strings.Repeat("m", 2000))
	}
	stored(t, j, last)
	if n := j.Stats().TailBytes; n > 1<<20 {
		t.Errorf("the tail holds %d bytes", n)
	}
	readTotal(t, r, total, nil)
}

// TestReaderSeesOnlyStored: nothing is visible before its sync (C2).
func TestReaderSeesOnlyStored(t *testing.T) {
	in := fault.Inject(fault.NewMem())
	j := open(t, in)
	r := j.NewReader(1)
	defer r.Close()
	gate := make(chan struct{})
	reached := make(chan struct{})
	in.Add(&fault.Fault{Times: 1, When: func(op fault.Op) bool {
		if op.Kind == fault.Datasync && strings.HasSuffix(op.Name, ".seg") {
			close(reached)
			<-gate
			return true
		}
		return false
	}, Err: errIO})
	o := text(t, j, "x")
	<-reached
	if _, ok, _ := r.TryNext(); ok || j.Stored() >= o {
		t.Fatal("visible before it was synced")
	}
	close(gate)
	stored(t, j, o)
	<-r.Ready()
	if f, ok, err := r.TryNext(); !ok || err != nil || f.Offset() != o {
		t.Fatal(ok, err)
	}
}

func TestNotifyStored(t *testing.T) {
	j := open(t, fault.NewMem())
	seen := make(chan uint64, 100) // more than there are commits
	for range 2 {
		j.NotifyStored(func(stored uint64) {
			if stored > j.Stored() {
				t.Errorf("told %d, stored %d", stored, j.Stored())
			}
			seen <- stored
		})
	}
	o := text(t, j, "x")
	for range 2 {
		if got := <-seen; got != o {
			t.Fatalf("told %d, want %d", got, o)
		}
	}
}
