package kafkatest

import "syscall"

// lockFile locks nothing here: packages that fetch at the same time fetch twice.
func lockFile(string) (unlock func(), err error) { return func() {}, nil }

const (
	sigTerm = syscall.SIGKILL
	sigStop = syscall.Signal(19) // refused by os.Process.Signal, as it should be
	sigCont = syscall.Signal(18)
)

func detached() *syscall.SysProcAttr { return nil }
