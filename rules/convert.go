package rules

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/penstock/penstock/rules/codec"
)

func toInt(args []any) (any, error) {
	switch v := args[0].(type) {
	case int64, int:
		n, _ := integer(v)
		return n, nil
	case float64:
		if v >= -1<<63 && v < 1<<63 {
			return int64(v), nil
		}
		return nil, errOverflow
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("int: %.40q is not a whole number", v)
		}
		return n, nil
	}
	if r := reflect.ValueOf(args[0]); r.IsValid() && r.CanInt() {
		return r.Int(), nil // a time.Month, a time.Duration
	}
	return nil, fmt.Errorf("int: a number or text was expected, not %s", typeName(args[0]))
}

// toString returns text as it is and everything else as JSON.
func toString(b *budget, args []any) (any, error) {
	switch v := args[0].(type) {
	case string:
		return v, nil
	case []byte:
		if err := b.grow(len(v)); err != nil {
			return nil, err
		}
		return string(v), nil
	case time.Time:
		return string(codec.AppendTime(nil, v)), nil
	case time.Duration:
		return v.String(), nil
	}
	return toJSON(b, args)
}

func toJSON(b *budget, args []any) (any, error) {
	if err := b.weigh(args[0]); err != nil {
		return nil, err
	}
	text, err := codec.Append(nil, args[0], b.text)
	if err != nil {
		return nil, err
	}
	return string(text), b.grow(len(text))
}

func fromJSON(b *budget, args []any) (any, error) {
	var text []byte
	switch v := args[0].(type) {
	case string:
		text = []byte(v)
	case []byte:
		text = v
	default:
		return nil, fmt.Errorf("fromJSON: text was expected, not %s", typeName(v))
	}
	if err := b.spend(len(text) / 16); err != nil {
		return nil, err
	}
	return codec.Decode(text)
}

func toBase64(b *budget, args []any) (any, error) {
	switch v := args[0].(type) {
	case string:
		return base64.StdEncoding.EncodeToString([]byte(v)), b.grow(2 * len(v))
	case []byte:
		return base64.StdEncoding.EncodeToString(v), b.grow(2 * len(v))
	}
	return nil, fmt.Errorf("toBase64: text or bytes were expected, not %s", typeName(args[0]))
}

// typeName names what a value is, for a person.
func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case bool:
		return "true or false"
	case int, int64, float64:
		return "a number"
	case string:
		return "text"
	case []byte:
		return "bytes"
	case time.Time:
		return "a time"
	case time.Duration:
		return "a duration"
	}
	switch reflect.ValueOf(v).Kind() {
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map:
		return "a map"
	default:
		return fmt.Sprintf("a %T", v)
	}
}
