//go:build !linux

package main

import (
	"os/exec"
	"strconv"
)

func commandLine(pid int) (string, error) {
	out, err := exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return string(out), err
}
