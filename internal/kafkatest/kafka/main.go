// Command kafka keeps a real Apache Kafka running for a person at work:
// `make kafka` starts one in .kafka/ of the working folder, `make kafka-stop`
// ends it. Its data stay there until the folder is deleted.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/penstock/penstock/internal/kafkatest"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "kafka:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	dir, err := filepath.Abs(".kafka")
	if err != nil {
		return err
	}
	switch {
	case len(args) == 1 && args[0] == "start":
		return start(dir)
	case len(args) == 1 && args[0] == "stop":
		return stop(dir)
	case len(args) == 3 && args[0] == "topic":
		return topic(dir, args[1], args[2])
	}
	return errors.New("usage: kafka start | stop | topic NAME PARTITIONS")
}

func start(dir string) error {
	if pid, ok := running(dir); ok {
		usage, err := os.ReadFile(filepath.Join(dir, "usage.txt"))
		fmt.Printf("Apache Kafka is running already (process %d).\n%s", pid, usage)
		return err
	}
	fmt.Println("starting Apache Kafka", kafkatest.Version, "(the first time Maven fetches 54 MB)")
	b, err := kafkatest.Launch(kafkatest.Options{Dir: dir, Port: 9092, Optimise: true, Detach: true})
	if err != nil {
		return err
	}
	usage := describe(b, dir)
	fmt.Print(usage)
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "pid"), []byte(strconv.Itoa(b.PID())+"\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "addr"), []byte(b.Addr+"\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "usage.txt"), []byte(usage), 0o600),
	)
}

func describe(b *kafkatest.Broker, dir string) string {
	return fmt.Sprintf(`Apache Kafka %s runs as process %d, data and log in %s

  plain      %s
  SASL       %s   user %s, password %s (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512)
  TLS        %s   certificate authority %s
  SASL, TLS  %s
  TLS with client certificate  %s   client.pem, client.key

  kcat -b %s -L                              what is there
  kcat -b %s -t TOPIC -C -o beginning -e     read a topic
  make kafka-stop                                         end it

  go run ./internal/kafkatest/kafka topic TOPIC 4         make a topic (writing to one does not)
`, kafkatest.Version, b.PID(), dir, b.Addr, b.SASL, kafkatest.User, kafkatest.Password,
		b.TLS, b.File("ca.pem"), b.SASLTLS, b.MTLS, b.Addr, b.Addr)
}

func topic(dir, name, partitions string) error {
	addr, err := os.ReadFile(filepath.Join(dir, "addr"))
	if err != nil {
		return errors.New("no Kafka of this folder is running; start one with: make kafka")
	}
	n, err := strconv.Atoi(partitions)
	if err != nil {
		return err
	}
	return kafkatest.At(strings.TrimSpace(string(addr))).MakeTopic(name, n)
}

func stop(dir string) error {
	pid, ok := running(dir)
	if !ok {
		fmt.Println("no Kafka of this folder is running")
		return nil
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	if err := process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	for range 600 {
		if _, ok := running(dir); !ok {
			fmt.Printf("Kafka (process %d) has ended\n", pid)
			return os.Remove(filepath.Join(dir, "pid"))
		}
		<-time.After(100 * time.Millisecond)
	}
	return fmt.Errorf("process %d did not end within a minute", pid)
}

// running tells whether the process of the pid file is still this folder's
// Kafka: a pid may by now belong to somebody else.
func running(dir string) (pid int, ok bool) {
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		return 0, false
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, false
	}
	line, err := commandLine(pid)
	return pid, err == nil && strings.Contains(line, filepath.Join(dir, "server.properties"))
}
