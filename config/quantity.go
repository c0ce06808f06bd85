package config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/problem"
)

// parseDuration reads 0 or numbers with the units ms, s, m, h and d: 5ms,
// 1h30m, 1.5d.
func parseDuration(text string) (time.Duration, error) {
	if text == "0" {
		return 0, nil
	}
	total, rest := 0.0, text
	for first := true; first || rest != ""; first = false {
		number, unit, tail := splitQuantity(rest)
		if number == "" {
			return 0, fmt.Errorf("a duration is expected, such as 5ms, 30s or 1h30m")
		}
		factor, ok := durationUnit(unit)
		if !ok {
			return 0, unitError("duration", number, unit, []string{"ms", "s", "m", "h", "d"}, "ms")
		}
		v, _ := strconv.ParseFloat(number, 64) // a number too large is +Inf
		total += v * float64(factor)
		rest = tail
	}
	if total >= math.MaxInt64 {
		return 0, fmt.Errorf("the duration is too long")
	}
	return time.Duration(total), nil
}

func durationUnit(unit string) (time.Duration, bool) {
	switch unit {
	case "ms":
		return time.Millisecond, true
	case "s":
		return time.Second, true
	case "m":
		return time.Minute, true
	case "h":
		return time.Hour, true
	case "d":
		return 24 * time.Hour, true
	}
	return 0, false
}

// parseSize reads 0 or a number with one of the units B, KB, MB, GB (1000) and
// KiB, MiB, GiB (1024).
func parseSize(text string) (int64, error) {
	if text == "0" {
		return 0, nil
	}
	number, unit, rest := splitQuantity(text)
	if number == "" || rest != "" {
		return 0, fmt.Errorf("a size is expected, such as 64KiB, 1MiB or 10GiB")
	}
	factor, ok := sizeUnit(unit)
	if !ok {
		return 0, unitError("size", number, unit, []string{"B", "KB", "MB", "GB", "KiB", "MiB", "GiB"}, "B")
	}
	v, _ := strconv.ParseFloat(number, 64)
	if v *= factor; v >= math.MaxInt64 {
		return 0, fmt.Errorf("the size is too large")
	}
	return int64(v), nil
}

func sizeUnit(unit string) (float64, bool) {
	switch unit {
	case "B":
		return 1, true
	case "KB":
		return 1e3, true
	case "MB":
		return 1e6, true
	case "GB":
		return 1e9, true
	case "KiB":
		return 1 << 10, true
	case "MiB":
		return 1 << 20, true
	case "GiB":
		return 1 << 30, true
	}
	return 0, false
}

// splitQuantity cuts a number and the unit behind it off the beginning.
func splitQuantity(s string) (number, unit, rest string) {
	m := regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)([^0-9.]*)`).FindStringSubmatch(s)
	if m == nil {
		return "", "", s
	}
	return m[1], m[2], s[len(m[0]):]
}

// A quantityError carries the hint of the complaint.
type quantityError struct{ message, hint string }

func (e *quantityError) Error() string { return e.message }

// unitError says what is wrong with a unit, or that there is none.
func unitError(what, number, unit string, units []string, usual string) error {
	if unit == "" {
		return &quantityError{
			fmt.Sprintf("a %s needs a unit", what),
			fmt.Sprintf("write %s%s; units are %s", number, usual, strings.Join(units, ", ")),
		}
	}
	trimmed := strings.TrimSpace(unit)
	hint := "units are " + strings.Join(units, ", ")
	for _, u := range units {
		if strings.EqualFold(u, trimmed) || strings.EqualFold(u, trimmed+"iB") {
			hint = fmt.Sprintf("did you mean %q?", number+u)
		}
	}
	return &quantityError{fmt.Sprintf("%q is not a unit of a %s", trimmed, what), hint}
}

// quantityProblem turns the error of a quantity into a complaint.
func quantityProblem(path string, err error) problem.Problem {
	p := problem.New(path, "%v", err)
	if q, ok := err.(*quantityError); ok { //nolint:errorlint // made two lines above, never wrapped
		p.Hint = q.hint
	}
	return p
}
