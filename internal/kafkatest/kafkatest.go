// Package kafkatest runs a real Apache Kafka for tests: one node in KRaft mode
// from the jars that Apache publishes to Maven Central, on free loopback ports,
// with a listener for each way to connect, and read back by kcat, which shares
// no code with Penstock.
//
//	func TestMain(m *testing.M) { kafkatest.Main(m) }
//
//	func TestX(t *testing.T) {
//		b := kafkatest.Shared(t)           // one broker for the whole process
//		b.CreateTopic(t, "telemetry", 4, nil)
//		...
//		records := b.Records(t, "telemetry")
//	}
//
// A test that stops or freezes the broker starts its own with Start. What is
// missing on the machine (Java, Maven, kcat) fails the test with the name of
// the package to install: a test that skips itself shows nothing.
package kafkatest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// Version is the Apache Kafka that is run.
const Version = "4.1.0"

// User and Password are admitted by every SASL mechanism.
const (
	User     = "penstock"
	Password = "secret"
)

// sharedBroker is the broker of this test process.
type sharedBroker struct {
	mu     sync.Mutex
	broker *Broker // guarded by mu, like what follows
	err    error
	dir    string
}

// shared is what a process has one of; its methods own it.
var shared = new(sharedBroker)

// Shared returns the broker of this test process, started on first use and
// ended by Main. Tests share it, so each uses topics of its own (Topic).
func Shared(t testing.TB) *Broker {
	t.Helper()
	b, err := shared.get(isBenchmark(t))
	if err != nil {
		t.Fatalf("start the shared Kafka: %v", err)
	}
	return b
}

func (s *sharedBroker) get(optimise bool) (*Broker, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broker == nil && s.err == nil {
		if s.dir, s.err = os.MkdirTemp("", "penstock-kafka-"); s.err == nil {
			s.broker, s.err = Launch(Options{Dir: s.dir, Optimise: optimise})
		}
	}
	return s.broker, s.err
}

// end kills the broker: nobody needs its data.
func (s *sharedBroker) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.broker != nil {
		err = s.broker.kill()
		s.broker = nil
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
		s.dir = ""
	}
	return err
}

// Main runs the tests of a package and ends the shared broker, also when tests
// failed. A process that dies without it takes its broker along on Linux.
func Main(m *testing.M) {
	code := m.Run()
	if err := EndShared(); err != nil {
		fmt.Fprintln(os.Stderr, "end the shared Kafka:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// EndShared ends the shared broker, for a TestMain that does more than Main.
func EndShared() error { return shared.end() }

// Start runs a broker that belongs to this test alone and ends with it.
func Start(t testing.TB) *Broker {
	t.Helper()
	dir := t.TempDir()
	b, err := Launch(Options{Dir: dir, Optimise: isBenchmark(t)})
	if err != nil {
		t.Fatalf("start Kafka: %v", err)
	}
	t.Cleanup(func() {
		if err := b.kill(); err != nil {
			t.Errorf("end Kafka: %v", err)
		}
	})
	return b
}

func isBenchmark(t testing.TB) bool {
	t.Helper()
	_, ok := t.(*testing.B)
	return ok
}

// tool finds a program or says which Debian package has it.
func tool(name, debian string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is not installed; on Debian: apt-get install %s", name, debian)
	}
	return path, nil
}
