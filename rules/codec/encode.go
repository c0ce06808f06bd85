package codec

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Errors of Append.
var (
	ErrNotFinite = errors.New("a number that is infinite or not a number cannot be written as JSON")
	ErrTooLarge  = errors.New("the value is too large")
	ErrTooDeep   = errors.New("the value is nested too deep")
	ErrBytes     = errors.New("bytes that are not UTF-8 text cannot be written as JSON: use toBase64")
)

const hexDigits = "0123456789abcdef"

// AppendText appends s as a JSON string. What is not UTF-8 becomes U+FFFD.
func AppendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, n := utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscaped(dst, c)
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendEscaped(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	if c >= utf8.RuneSelf {
		return utf8.AppendRune(dst, utf8.RuneError)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// AppendFloat appends f as encoding/json does, or returns ErrNotFinite.
func AppendFloat(dst []byte, f float64) ([]byte, error) {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return dst, ErrNotFinite
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	dst = strconv.AppendFloat(dst, f, format, -1, 64)
	if n := len(dst); format == 'e' && n >= 4 && dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst, nil
}

// AppendTime appends t as RFC 3339 with milliseconds.
func AppendTime(dst []byte, t time.Time) []byte {
	year, month, day := t.Date()
	if t.Location() != time.UTC || year < 0 || year > 9999 {
		return t.AppendFormat(dst, "2006-01-02T15:04:05.000Z07:00")
	}
	hour, minute, second := t.Clock()
	dst = appendTwo(append(dst, '0'+byte(year/1000), '0'+byte(year/100%10)), year%100, '-')
	dst = appendTwo(appendTwo(dst, int(month), '-'), day, 'T')
	dst = appendTwo(appendTwo(appendTwo(dst, hour, ':'), minute, ':'), second, '.')
	ms := t.Nanosecond() / 1e6
	return append(dst, '0'+byte(ms/100), '0'+byte(ms/10%10), '0'+byte(ms%10), 'Z')
}

// appendTwo appends two digits and what stands behind them.
func appendTwo(dst []byte, n int, behind byte) []byte {
	return append(dst, '0'+byte(n/10), '0'+byte(n%10), behind)
}

// Append appends a value as JSON without spaces and with sorted keys, at most
// limit bytes of it.
func Append(dst []byte, value any, limit int) ([]byte, error) {
	e := encoder{limit: len(dst) + limit}
	return e.value(dst, value, 0)
}

type encoder struct{ limit int }

func (e *encoder) value(dst []byte, value any, depth int) ([]byte, error) {
	switch {
	case depth > MaxDepth:
		return dst, ErrTooDeep
	case len(dst) > e.limit:
		return dst, ErrTooLarge
	}
	switch v := value.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case string:
		return AppendText(dst, v), nil
	case int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	case float64:
		return AppendFloat(dst, v)
	case map[string]any:
		return e.object(dst, v, depth)
	case []any:
		return e.array(dst, v, depth)
	}
	return e.rare(dst, value, depth)
}

func (e *encoder) rare(dst []byte, value any, depth int) ([]byte, error) {
	switch v := value.(type) {
	case []byte:
		if !utf8.Valid(v) {
			return dst, ErrBytes
		}
		return AppendText(dst, string(v)), nil
	case time.Time:
		return append(AppendTime(append(dst, '"'), v), '"'), nil
	case time.Duration:
		return AppendText(dst, v.String()), nil
	}
	r := reflect.ValueOf(value)
	switch {
	case r.CanInt():
		return strconv.AppendInt(dst, r.Int(), 10), nil
	case r.CanUint():
		return strconv.AppendUint(dst, r.Uint(), 10), nil
	case r.CanFloat():
		return AppendFloat(dst, r.Float())
	case r.Kind() == reflect.Slice || r.Kind() == reflect.Array:
		return e.list(dst, r.Len(), func(i int) any { return r.Index(i).Interface() }, depth)
	case r.Kind() == reflect.Map:
		return e.anyMap(dst, r, depth)
	}
	return dst, fmt.Errorf("a %T cannot be written as JSON", value)
}

func (e *encoder) array(dst []byte, v []any, depth int) ([]byte, error) {
	return e.list(dst, len(v), func(i int) any { return v[i] }, depth)
}

func (e *encoder) list(dst []byte, n int, at func(int) any, depth int) (_ []byte, err error) {
	dst = append(dst, '[')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = e.value(dst, at(i), depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func (e *encoder) object(dst []byte, v map[string]any, depth int) (_ []byte, err error) {
	keys := make([]string, 0, len(v))
	for k := range v {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	dst = append(dst, '{')
	for i, k := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendText(dst, k), ':')
		if dst, err = e.value(dst, v[k], depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

// anyMap writes a map whose keys are any scalars, as text.
func (e *encoder) anyMap(dst []byte, r reflect.Value, depth int) ([]byte, error) {
	object := make(map[string]any, r.Len())
	for _, k := range r.MapKeys() {
		name, err := KeyText(k.Interface())
		if err != nil {
			return dst, err
		}
		object[name] = r.MapIndex(k).Interface()
	}
	return e.object(dst, object, depth)
}

// KeyText returns a scalar as an object's key.
func KeyText(key any) (string, error) {
	switch k := key.(type) {
	case string:
		return k, nil
	case nil, bool, int, int64, float64:
		b, err := Append(nil, k, 64)
		return string(b), err
	}
	return "", fmt.Errorf("a %T cannot be the key of a JSON object", key)
}
