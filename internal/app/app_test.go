package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/factory"
	"github.com/penstock/penstock/pipelines"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// build makes an App of a configuration in dir.
func build(t *testing.T, dir, text string, log *logBuffer) (*app.App, error) {
	t.Helper()
	loaded, err := config.Parse(filepath.Join(dir, "penstock.yaml"), []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return app.New(app.Options{Loaded: loaded, Stdout: log, Log: slog.New(slog.NewTextHandler(log, nil))})
}

// logBuffer collects what is logged, and says when something new is there.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for !done() {
		select {
		case <-time.After(time.Millisecond):
		case <-timeout:
			t.Fatalf("timed out: %s", what)
		}
	}
}

const oneFile = `
listeners: [{bind: %q}]
sinks: [{name: out, file: {path: out.txt}}]
rules:
  - {name: all, from: "plant/#", to: [{sink: out}]}
`

// publish sends n messages and waits for their acknowledgements.
func publish(t *testing.T, addr string, n int) {
	t.Helper()
	i := 0
	source := func() (factory.Message, time.Duration, bool) {
		i++
		return factory.Message{Topic: "plant/press", Payload: fmt.Appendf(nil, "message %d", i)}, 0, i <= n
	}
	o := factory.Options{Addr: addr, ClientID: "press", Version: packet.V5, QoS: 1}
	if err := factory.NewDevice(o, &factory.Counters{}, source).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Two processes' lives on one journal: what the first was sent and what the
// second was sent is in the file once, and the account goes on.
func TestRunStopRunAgain(t *testing.T) {
	dir := t.TempDir()
	for life := 1; life <= 2; life++ {
		var log logBuffer
		a, err := build(t, dir, fmt.Sprintf(oneFile, "127.0.0.1:0"), &log)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1) // 1: the result of Run
		go func() { done <- a.Run(ctx, nil) }()
		publish(t, a.Addrs()[0].String(), 1000)
		want := uint64(1000 * life)
		eventually(t, "delivery", func() bool { total := a.Accounts()[0].Total(); return total.Delivered == want })
		pipelines.AssertBalanced(t, a.Accounts()...)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, line := range []string{"msg=listening", "msg=ready", fmt.Sprintf("msg=account lane=out rule=all in=%d", want)} {
			if strings.Count(log.String(), line) != 1 {
				t.Errorf("not logged once: %s\n%s", line, log.String())
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "out.txt"))
	if err != nil || bytes.Count(text, []byte("\n")) != 2000 {
		t.Errorf("out.txt has %d lines, %v", bytes.Count(text, []byte("\n")), err)
	}
}

// A hang-up opens the files again, so that a rotated log goes on in a new file.
func TestHangUpReopensFiles(t *testing.T) {
	dir := t.TempDir()
	var log logBuffer
	a, err := build(t, dir, fmt.Sprintf(oneFile, "127.0.0.1:0"), &log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	hangups := make(chan os.Signal)
	done := make(chan error, 1) // 1: the result of Run
	go func() { done <- a.Run(ctx, hangups) }()
	out := filepath.Join(dir, "out.txt")
	publish(t, a.Addrs()[0].String(), 10)
	eventually(t, "first delivery", func() bool { total := a.Accounts()[0].Total(); return total.Delivered == 10 })
	if err := os.Rename(out, out+".1"); err != nil {
		t.Fatal(err)
	}
	hangups <- syscall.SIGHUP
	eventually(t, "reopening", func() bool { return strings.Contains(log.String(), "sink reopened") })
	publish(t, a.Addrs()[0].String(), 5)
	eventually(t, "second delivery", func() bool { total := a.Accounts()[0].Total(); return total.Delivered == 15 })
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for path, want := range map[string]int{out: 5, out + ".1": 10} {
		if text, err := os.ReadFile(path); err != nil || bytes.Count(text, []byte("\n")) != want {
			t.Errorf("%s: %q, %v, want %d lines", path, text, err, want)
		}
	}
}

// What fails in New leaves nothing behind: the journal is free again.
func TestNewFailsAndLetsGo(t *testing.T) {
	dir := t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var log logBuffer
	_, err = build(t, dir, fmt.Sprintf(oneFile, taken.Addr()), &log)
	if _, ok := errors.AsType[*app.EnvironmentError](err); !ok || !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("New = %v, want the address in use", err)
	}
	a, err := build(t, dir, fmt.Sprintf(oneFile, "127.0.0.1:0"), &log)
	if err != nil {
		t.Fatal(err)
	}
	_, err = build(t, dir, fmt.Sprintf(oneFile, "127.0.0.1:0"), &log)
	if _, ok := errors.AsType[*app.EnvironmentError](err); !ok {
		t.Errorf("New on a journal in use = %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := a.Run(ctx, nil); err != nil {
		t.Error(err)
	}
}
