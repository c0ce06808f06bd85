// Package topic knows MQTT topic names and topic filters, and finds the
// filters that match a name (Tree) and the names that match a filter
// (Retained) without looking at all of them.
//
// A name or filter is a list of levels between slashes; levels may be empty.
// In a filter `+` stands for one level and `#`, always last, for the level
// before it and all below. A name that begins with `$` is not matched by a
// filter that begins with a wildcard [MQTT-4.7.2-1].
//
//	filter       matches               but not
//	a/+/c        a/b/c, a//c           a/c, a/b/b/c
//	a/#          a, a/b, a/b/c         ab
//	+/x          a/x, /x               $SYS/x
//	#            everything            $SYS, $SYS/x
package topic

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// Why a name or a filter is refused.
var (
	ErrEmpty       = errors.New("it is empty [MQTT-4.7.3-1]")
	ErrNUL         = errors.New("it contains U+0000 [MQTT-4.7.3-2]")
	ErrTooLong     = errors.New("it is longer than 65,535 bytes [MQTT-4.7.3-3]")
	ErrUTF8        = errors.New("it is not well-formed UTF-8 [MQTT-1.5.4-1]")
	ErrTooDeep     = errors.New("it has more than 200 levels")
	ErrWildcard    = errors.New("a topic name contains neither + nor # [MQTT-4.7.0-1]")
	ErrHash        = errors.New("# stands alone in the last level [MQTT-4.7.1-1]")
	ErrPlus        = errors.New("+ stands alone in its level [MQTT-4.7.1-2]")
	ErrShareName   = errors.New("the name of a shared subscription is not empty and contains neither + nor # [MQTT-4.8.2-1] [MQTT-4.8.2-2]")
	ErrShareFilter = errors.New("the name of a shared subscription is followed by a slash and a filter [MQTT-4.8.2-2]")
)

// MaxLevels bounds the levels of a filter, and so the depth and the memory that
// one filter takes in a Tree. The standard has no such bound.
const MaxLevels = 200

// maxBytes is what the two bytes of a string's length can say.
const maxBytes = 65535

// sharePrefix begins a shared subscription.
const sharePrefix = "$share/"

// ValidName returns why s is not a topic name that can be published to, nil
// when it is.
func ValidName(s string) error {
	if err := validText(s); err != nil {
		return err
	}
	if strings.ContainsAny(s, "+#") {
		return ErrWildcard
	}
	return nil
}

// ValidFilter returns why s is not a topic filter that can be subscribed to,
// nil when it is. A shared subscription, `$share/name/filter`, is checked in
// both its parts.
func ValidFilter(s string) error {
	if err := validText(s); err != nil {
		return err
	}
	if strings.HasPrefix(s, sharePrefix) {
		return validShare(s[len(sharePrefix):])
	}
	return validLevels(s)
}

func validText(s string) error {
	switch {
	case s == "":
		return ErrEmpty
	case len(s) > maxBytes:
		return ErrTooLong
	case strings.IndexByte(s, 0) >= 0:
		return ErrNUL
	case !utf8.ValidString(s):
		return ErrUTF8
	}
	return nil
}

func validShare(s string) error {
	name, filter, _ := strings.Cut(s, "/")
	if name == "" || strings.ContainsAny(name, "+#") {
		return ErrShareName
	}
	if filter == "" {
		return ErrShareFilter
	}
	return validLevels(filter)
}

func validLevels(filter string) error {
	if Levels(filter) > MaxLevels {
		return ErrTooDeep
	}
	for more := true; more; {
		var level string
		level, filter, more = strings.Cut(filter, "/")
		switch {
		case strings.IndexByte(level, '#') >= 0 && (level != "#" || more):
			return ErrHash
		case strings.IndexByte(level, '+') >= 0 && level != "+":
			return ErrPlus
		}
	}
	return nil
}

// Levels returns how many levels a name or filter has.
func Levels(s string) int { return strings.Count(s, "/") + 1 }

// SplitShare takes a valid shared subscription apart. share is "" when s is an
// ordinary filter, which is returned as it is.
func SplitShare(s string) (share, filter string) {
	rest, shared := strings.CutPrefix(s, sharePrefix)
	if !shared {
		return "", s
	}
	share, filter, _ = strings.Cut(rest, "/")
	return share, filter
}

// HasWildcard reports whether a valid filter can match more than one name.
func HasWildcard(filter string) bool { return strings.ContainsAny(filter, "+#") }

// Match reports whether a valid filter matches a topic name. Of a shared
// subscription, pass the filter that SplitShare returns.
func Match(filter, name string) bool {
	if filter == "" || name == "" {
		return false
	}
	if name[0] == '$' && (filter[0] == '+' || filter[0] == '#') {
		return false // [MQTT-4.7.2-1]
	}
	for f, n := true, true; f; {
		var level, wanted string
		wanted, filter, f = cut(filter)
		if wanted == "#" {
			return true // also the level before it: n may be false
		}
		if !n {
			return false
		}
		level, name, n = cut(name)
		if wanted != "+" && wanted != level {
			return false
		}
		if !f {
			return !n
		}
	}
	return false
}

// cut returns the first level of s and the rest; more is false when the level
// was the last.
func cut(s string) (level, rest string, more bool) { return strings.Cut(s, "/") }
