package broker_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// mosquitto runs Debian's mosquitto until the benchmark ends, with its default
// settings but for the bound of its queues, so that it delivers everything as
// we do. It returns the address.
func mosquitto(b *testing.B) string {
	b.Helper()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			b.Fatal("mosquitto is not installed: apt-get install mosquitto")
		}
	}
	addr := freeAddr(b)
	_, port, _ := net.SplitHostPort(addr)
	config := filepath.Join(b.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n", port)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), program, "-c", config)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		if nc, err := net.Dial("tcp", addr); err == nil {
			_ = nc.Close()
			return addr
		}
	}
	b.Fatal("mosquitto does not answer")
	return ""
}

func freeAddr(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
