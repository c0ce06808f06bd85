package kafkatest

import "syscall"

// attached makes a process that dies with the thread that started it.
func attached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
