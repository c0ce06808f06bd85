package kafkatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// Options say how to run a broker outside a test.
type Options struct {
	Dir      string // absolute folder for configuration, data and log; data in it are used again
	Port     int    // wanted for the plain listener; any other when it is taken or 0
	Optimise bool   // let the JVM compile fully: slower to start, faster later
	Detach   bool   // outlive this process
}

// A Broker is one Apache Kafka process and the addresses it listens on.
type Broker struct {
	Addr    string // no TLS, no log-in
	SASL    string // PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512
	TLS     string // certificate signed by File("ca.pem")
	MTLS    string // TLS, and a client certificate (client.pem, client.key) is required
	SASLTLS string // both

	options Options
	ports   ports
	jars    string
	process *process
}

// process is one run of the broker. exited is closed by the goroutine that
// started it, once it has been waited for.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
}

// startTimeout bounds how long a broker may take to answer; 3 s is usual.
const startTimeout = 60 * time.Second

// Launch formats the folder when it is new, starts a broker and waits until it
// answers.
func Launch(o Options) (*Broker, error) {
	b := &Broker{options: o}
	var err error
	if b.jars, err = jars(); err != nil {
		return nil, err
	}
	if b.ports, err = choosePorts(o.Port); err != nil {
		return nil, err
	}
	at := b.ports.at
	b.Addr, b.SASL, b.TLS, b.MTLS, b.SASLTLS = at["PLAIN"], at["SASL"], at["TLS"], at["MTLS"], at["SASLTLS"]
	if err := b.prepare(); err != nil {
		return nil, err
	}
	return b, b.start()
}

// At stands for a broker that something else has started: its topics can be
// made and read, the process itself is not ours.
func At(addr string) *Broker { return &Broker{Addr: addr} }

// File returns the path of a file the broker was given: ca.pem, client.pem,
// client.key, or stranger.pem and stranger.key that nobody it trusts signed.
func (b *Broker) File(name string) string { return filepath.Join(b.options.Dir, name) }

// PID returns the process id of the broker.
func (b *Broker) PID() int { return b.process.cmd.Process.Pid }

func (b *Broker) prepare() error {
	if err := os.MkdirAll(b.options.Dir, 0o755); err != nil {
		return err
	}
	if err := writeCertificates(b.options.Dir); err != nil {
		return err
	}
	files := map[string]string{
		"server.properties": b.ports.properties(b.options.Dir),
		"log4j2.properties": logProperties,
	}
	for name, text := range files {
		if err := os.WriteFile(b.File(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if _, err := os.Stat(b.File("data/meta.properties")); err == nil {
		return nil
	}
	return b.format()
}

const logProperties = `status=warn
appender.out.type=Console
appender.out.name=OUT
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %m (%c)%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=OUT
`

func (b *Broker) format() error {
	args := []string{"format", "-t", "cGVuc3RvY2t0ZXN0a2Fma2E", "-c", b.File("server.properties")}
	for _, m := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		args = append(args, "--add-scram", m+"=[name="+User+",password="+Password+"]")
	}
	cmd, err := b.java("kafka.tools.StorageTool", args...)
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("format kafka storage: %w\n%s", err, out)
	}
	return nil
}

func (b *Broker) java(class string, args ...string) (*exec.Cmd, error) {
	java, err := tool("java", "default-jre-headless")
	if err != nil {
		return nil, err
	}
	all := []string{
		"-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xshare:auto",
		"-Dlog4j2.configurationFile=" + b.File("log4j2.properties"),
		"-cp", filepath.Join(b.jars, "*"),
	}
	if !b.options.Optimise {
		all = append(all, "-XX:TieredStopAtLevel=1")
	}
	return exec.Command(java, append(append(all, class), args...)...), nil
}

// start runs the broker once and waits until it answers.
func (b *Broker) start() error {
	p, err := b.spawn()
	if err != nil {
		return err
	}
	b.process = p
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		if err = b.ping(ctx); err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("kafka ended while it started:\n%s", b.logTail())
		case <-ctx.Done():
			_ = b.kill()
			return fmt.Errorf("kafka did not answer within %v: %w\n%s", startTimeout, err, b.logTail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// spawn starts the process from a thread of its own and keeps that thread until
// the process has ended: on Linux the kernel kills it when the thread dies.
func (b *Broker) spawn() (*process, error) {
	cmd, err := b.java("kafka.Kafka", b.File("server.properties"))
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(b.File("server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, attached()
	if b.options.Detach {
		cmd.SysProcAttr = detached()
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(p.exited)
	}()
	return p, <-started
}

// ping asks for the cluster's metadata.
func (b *Broker) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := kafka.DialContext(ctx, "tcp", b.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	brokers, err := conn.Brokers()
	if err == nil && len(brokers) == 0 {
		err = errors.New("no broker has registered yet")
	}
	return err
}

// Stop ends the broker in good order (SIGTERM) and waits for it.
func (b *Broker) Stop(t testing.TB) {
	t.Helper()
	if err := b.end(sigTerm); err != nil {
		t.Fatalf("stop Kafka: %v", err)
	}
}

// Kill ends the broker at once (SIGKILL) and waits for it.
func (b *Broker) Kill(t testing.TB) {
	t.Helper()
	if err := b.kill(); err != nil {
		t.Fatalf("kill Kafka: %v", err)
	}
}

// Restart starts a broker that was stopped or killed, on the same ports and data.
func (b *Broker) Restart(t testing.TB) {
	t.Helper()
	if err := b.start(); err != nil {
		t.Fatalf("restart Kafka: %v", err)
	}
}

// Freeze stops the process where it stands (SIGSTOP): connections stay open and
// nothing is answered. It is thawed at the end of the test at the latest.
func (b *Broker) Freeze(t testing.TB) {
	t.Helper()
	p := b.process.cmd.Process
	if err := p.Signal(sigStop); err != nil {
		t.Fatalf("freeze Kafka: %v", err)
	}
	t.Cleanup(func() { _ = p.Signal(sigCont) })
}

// Thaw lets a frozen broker go on (SIGCONT).
func (b *Broker) Thaw(t testing.TB) {
	t.Helper()
	if err := b.process.cmd.Process.Signal(sigCont); err != nil {
		t.Fatalf("thaw Kafka: %v", err)
	}
}

func (b *Broker) kill() error { return b.end(os.Kill) }

func (b *Broker) end(signal os.Signal) error {
	p := b.process
	if p == nil {
		return nil
	}
	select {
	case <-p.exited:
		return nil
	default:
	}
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(startTimeout):
		return fmt.Errorf("process %d did not end within %v of %v", b.PID(), startTimeout, signal)
	}
}

// logTail returns the end of the broker's log for an error message.
func (b *Broker) logTail() []byte {
	text, err := os.ReadFile(b.File("server.log"))
	if err != nil {
		return []byte(err.Error())
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-30):], nil)
}
