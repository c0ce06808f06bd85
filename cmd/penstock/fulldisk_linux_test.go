package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/internal/factory"
)

const fullDiskConfig = `
listeners: [{bind: "127.0.0.1:0"}]
journal: {dir: %q, max_bytes: 64MiB}
sinks:
  - {name: out, file: {path: %q}}
rules:
  - name: all
    from: plant/{device}
    to: [{sink: out, value: '{device: device, seq: payload.seq}'}]
`

// TestFullDisk fills the disk under a running Penstock until it refuses, and
// gives the room back: publishers are told so while it lasts (v5: 0x97), all
// goes on by itself, and what was acknowledged is delivered, once.
func TestFullDisk(t *testing.T) {
	dir, mount := t.TempDir(), filepath.Join(t.TempDir(), "small")
	mountSmall(t, mount)
	out, config := filepath.Join(dir, "out.jsonl"), filepath.Join(dir, "penstock.yaml")
	text := fmt.Appendf(nil, fullDiskConfig, filepath.Join(mount, "data"), out)
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	p := startPenstock(t, dir, nil, "run", config)
	f := startSteady(t, p.addr(0))

	f.wait("messages acknowledged", func() bool { return f.counters.Acked.Load() > 2000 })
	filler := fill(t, filepath.Join(mount, "filler"), func() bool { return f.counters.Refused.Load() > 0 }, func() string {
		return fmt.Sprintf("acknowledged %d\n%s", f.counters.Acked.Load(), strings.Join(p.lines(""), "\n"))
	})
	refused := f.counters.Refused.Load()
	f.wait("messages refused", func() bool { return f.counters.Refused.Load() > refused+100 })
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	acked := f.counters.Acked.Load()
	f.wait("messages acknowledged again", func() bool { return f.counters.Acked.Load() > acked+2000 })
	f.end()
	f.wait("delivery of all that was acknowledged", func() bool {
		got, _ := readOut(t, out)
		return int64(got) >= f.counters.Acked.Load()
	})
	p.stop()

	got, copies := readOut(t, out)
	t.Logf("sent %d, acknowledged %d, refused %d; delivered %d, copies %d",
		f.counters.Sent.Load(), f.counters.Acked.Load(), f.counters.Refused.Load(), got, copies)
	if int64(got) != f.counters.Acked.Load() || copies != 0 {
		t.Errorf("%d messages are in the file and %d copies, %d were acknowledged", got, copies, f.counters.Acked.Load())
	}
	if len(p.lines("journal writes again")) == 0 {
		t.Error("the log does not say that the journal writes again")
	}
}

// mountSmall mounts a file system that is full soon.
func mountSmall(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=40m")
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skip("mounting takes root; the journal's own tests inject a full disk")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// fill takes all the room there is, and all that becomes free, until enough
// says so.
func fill(t *testing.T, path string, enough func() bool, state func() string) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	piece := make([]byte, 64<<10)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(60 * time.Second); !enough(); {
		if _, err := f.Write(piece); err == nil {
			continue
		} else if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the disk is full for a minute and nothing was refused: %s", state())
		}
	}
	return path
}

// A steadyFactory is devices that publish one message after the other.
type steadyFactory struct {
	t        *testing.T
	counters factory.Counters
	wg       sync.WaitGroup
	over     atomic.Bool
}

func startSteady(t *testing.T, addr string) *steadyFactory {
	t.Helper()
	f := &steadyFactory{t: t}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() {
		cancel()
		f.wg.Wait()
	})
	// QoS 1 and 2 over 3.1.1 and 5.0. Four send as fast as they may; what they
	// have in flight when the disk is full, waits. The fifth takes its time, so
	// that it has something left to send then.
	for i := range 5 {
		o := factory.Options{
			Addr: addr, ClientID: "dev" + strconv.Itoa(i), Version: []packet.Version{packet.V311, packet.V5}[i%2], QoS: byte(1 + i/2%2),
		}
		if i == 4 {
			o.Version, o.Window = packet.V5, 1000
		}
		seq, next := 0, time.Now()
		d := factory.NewDevice(o, &f.counters, func() (factory.Message, time.Duration, bool) {
			if f.over.Load() {
				return factory.Message{}, 0, false
			}
			if i == 4 {
				if wait := time.Until(next); wait > 0 {
					return factory.Message{}, wait, false
				}
				next = time.Now().Add(2 * time.Millisecond)
			}
			seq++
			payload := fmt.Appendf(nil, `{"seq": %d, "pad": "%0150d"}`, seq, seq)
			return factory.Message{Topic: "plant/" + o.ClientID, Payload: payload}, 0, true
		})
		f.wg.Go(func() {
			if err := d.Run(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("device %d: %v", i, err)
			}
		})
	}
	return f
}

// wait waits until something holds.
func (f *steadyFactory) wait(what string, holds func() bool) {
	f.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(60 * time.Second); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			f.t.Fatalf("no %s: acknowledged %d, refused %d", what, f.counters.Acked.Load(), f.counters.Refused.Load())
		}
	}
}

// end has every device get an answer to what it sent.
func (f *steadyFactory) end() {
	f.over.Store(true)
	f.wg.Wait()
}

// readOut counts the messages in the file, and those that are there twice.
func readOut(t *testing.T, path string) (messages, copies int) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	seen := map[string]bool{}
	s := bufio.NewScanner(file)
	for s.Scan() {
		var v struct {
			Device string
			Seq    int
		}
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			return len(seen), copies // it is being written
		}
		key := v.Device + "/" + strconv.Itoa(v.Seq)
		if seen[key] {
			copies++
		}
		seen[key] = true
	}
	return len(seen), copies
}
