package main_test

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	penstock "github.com/penstock/penstock/cmd/penstock"
	"github.com/penstock/penstock/internal/kafkatest"
)

// TestMain runs the tests, or penstock itself where a test starts this binary
// as a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv(asPenstock) != "" {
		penstock.Main()
		return
	}
	testscript.Main(tests{m}, map[string]func(){"penstock": penstock.Main})
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
