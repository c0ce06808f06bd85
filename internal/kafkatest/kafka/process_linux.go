package main

import (
	"fmt"
	"os"
)

func commandLine(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return string(text), err
}
