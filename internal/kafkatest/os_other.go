//go:build !linux

package kafkatest

import "syscall"

// attached: only Linux can tie a process to the life of another.
func attached() *syscall.SysProcAttr { return nil }
