package journal

import (
	"fmt"
	"regexp"
	"time"
)

// Sync says when the journal makes appended entries durable: at once, in
// groups (the zero value); at an interval; or only when a segment is full.
// With the weaker two, stored means written (C2).
type Sync time.Duration

// The syncs that are not an interval.
const (
	SyncGroup Sync = 0
	SyncOff   Sync = -1
)

// The bounds of an interval: below a group commit is as good, above it is as
// good as off.
const (
	minInterval = time.Millisecond
	maxInterval = time.Hour
)

// String returns the sync as it is written in a configuration.
func (s Sync) String() string {
	switch d := time.Duration(s); {
	case s == SyncGroup:
		return "group"
	case s < 0:
		return "off"
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d%time.Second == 0:
		return fmt.Sprintf("%ds", d/time.Second)
	default:
		return fmt.Sprintf("%dms", d/time.Millisecond)
	}
}

// Weak reports whether stored means written only (C9).
func (s Sync) Weak() bool { return s != SyncGroup }

// ParseSync reads `group`, `off` or an interval of 1ms to 1h; "" is group.
func ParseSync(text string) (Sync, error) {
	switch text {
	case "", "group":
		return SyncGroup, nil
	case "off":
		return SyncOff, nil
	}
	if ok, _ := regexp.MatchString(`^[0-9]+(ms|s|m|h)$`, text); !ok {
		return 0, fmt.Errorf("%q is not group, off or an interval such as 100ms", text)
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < minInterval || d > maxInterval {
		return 0, fmt.Errorf("the interval %s is not between 1ms and 1h", text)
	}
	return Sync(d), nil
}
