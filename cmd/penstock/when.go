package main

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

var agoForm = regexp.MustCompile(`^([0-9]+)(ms|s|m|h|d)$`)

// A moment is a flag: a time (RFC 3339, or a date), or how long ago (90s, 2h,
// 7d).
type moment struct{ time.Time }

// String is the time as it is sent on.
func (m *moment) String() string {
	if m.IsZero() {
		return ""
	}
	return m.UTC().Format(time.RFC3339Nano)
}

// Type names the flag's form in the help.
func (m *moment) Type() string { return "TIME|AGO" }

// Set reads the flag.
func (m *moment) Set(text string) error {
	if parts := agoForm.FindStringSubmatch(text); parts != nil {
		n, err := strconv.ParseInt(parts[1], 10, 32)
		if err != nil {
			return err
		}
		unit := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[parts[2]]
		m.Time = time.Now().Add(-time.Duration(n) * unit)
		return nil
	}
	for _, form := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(form, text); err == nil {
			m.Time = t
			return nil
		}
	}
	return fmt.Errorf("%q is no time such as 2026-11-22T06:00:00Z or 2026-11-22, nor how long ago, such as 90s, 2h or 7d", text)
}
