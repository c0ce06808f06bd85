package main_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asPenstock is the variable that turns this test binary into penstock itself.
const asPenstock = "PENSTOCK_TEST_RUN_MAIN"

// A process is a penstock of its own, which a test may kill.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	args []string
	env  []string
	dir  string

	mu     sync.Mutex
	log    []string      // guarded by mu: every line of standard error so far
	more   chan struct{} // guarded by mu: closed at each new line
	closed bool          // guarded by mu: standard error has ended

	exited chan struct{} // closed after Wait returned
}

// startPenstock starts penstock in dir and waits until it is ready.
func startPenstock(t testing.TB, dir string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, args: args, env: env, dir: dir}
	p.start()
	t.Cleanup(p.kill)
	return p
}

func (p *process) start() {
	p.t.Helper()
	p.launch()
	p.waitFor("msg=ready")
}

// launch starts the process and follows its log.
func (p *process) launch() {
	p.t.Helper()
	p.cmd = exec.CommandContext(context.WithoutCancel(p.t.Context()), os.Args[0], p.args...)
	p.cmd.Dir = p.dir
	p.cmd.Env = append(append(os.Environ(), asPenstock+"=1"), p.env...)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.log, p.more, p.closed = nil, make(chan struct{}), false
	p.mu.Unlock()
	p.exited = make(chan struct{})
	go p.follow(stderr, p.cmd, p.exited)
}

func (p *process) follow(r io.Reader, cmd *exec.Cmd, exited chan struct{}) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		p.mu.Lock()
		p.log = append(p.log, s.Text())
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
	_ = cmd.Wait()
	p.mu.Lock()
	p.closed = true
	close(p.more)
	p.mu.Unlock()
	close(exited)
}

// waitFor waits for a log line that holds text and returns it.
func (p *process) waitFor(text string) string {
	p.t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		p.mu.Lock()
		log, more, closed := p.log, p.more, p.closed
		p.mu.Unlock()
		for _, line := range log {
			if strings.Contains(line, text) {
				return line
			}
		}
		if closed {
			p.t.Fatalf("penstock ended without logging %q:\n%s", text, strings.Join(log, "\n"))
		}
		select {
		case <-more:
		case <-deadline:
			p.t.Fatalf("penstock did not log %q:\n%s", text, strings.Join(log, "\n"))
		}
	}
}

// lines returns the log lines that hold text.
func (p *process) lines(text string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []string
	for _, line := range p.log {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

var listenerAddr = regexp.MustCompile(`msg=listening listener="?([^ "]+)`)

// addr returns the address the i-th listener really got.
func (p *process) addr(i int) string {
	p.t.Helper()
	lines := p.lines("msg=listening")
	if i >= len(lines) {
		p.t.Fatalf("penstock logged %d listening lines", len(lines))
	}
	return listenerAddr.FindStringSubmatch(lines[i])[1]
}

// stop ends the process as a service manager does and checks its exit code.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	<-p.exited
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("exit code %d after SIGTERM:\n%s", code, strings.Join(p.lines(""), "\n"))
	}
}

// kill ends the process with kill -9.
func (p *process) kill() {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Error(err)
	}
	<-p.exited
}

// freeze stops the process where it stands, thaw lets it go on.
func (p *process) freeze() { p.signal(syscall.SIGSTOP) }

func (p *process) thaw() { p.signal(syscall.SIGCONT) }

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}
