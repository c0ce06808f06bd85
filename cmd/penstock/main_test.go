package main_test

import (
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	penstock "github.com/penstock/penstock/cmd/penstock"
	"github.com/penstock/penstock/internal/kafkatest"
)

// TestMain runs the tests, or penstock itself where a test starts this binary
// as a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv(asPenstock) != "" {
		profileTo(os.Getenv("PENSTOCK_BENCH_PROFILE"))
		penstock.Main()
		return
	}
	testscript.Main(tests{m}, map[string]func(){"penstock": penstock.Main})
}

// profileTo writes a CPU profile of penstock until it is told to stop.
func profileTo(path string) {
	if path == "" {
		return
	}
	f, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		panic(err)
	}
	stop := make(chan os.Signal, 1) // 1: the signal that also stops penstock
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		pprof.StopCPUProfile()
		_ = f.Close()
	}()
}

// tests ends the shared Kafka after the tests.
type tests struct{ *testing.M }

func (t tests) Run() int {
	code := t.M.Run()
	if err := kafkatest.EndShared(); err != nil {
		os.Stderr.WriteString("end Kafka: " + err.Error() + "\n")
		code = max(code, 1)
	}
	return code
}
