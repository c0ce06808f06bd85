package file

import (
	"encoding/base64"
	"time"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/message"
)

// An appendLine appends one record as one line.
type appendLine func(dst []byte, r *message.Record) []byte

func lines(format string) appendLine {
	if format == formatEnvelope {
		return appendEnvelope
	}
	return appendValue
}

// appendValue appends the value as it is, then a newline. A value that holds
// newlines makes several lines, a null one an empty line: the envelope is for those.
func appendValue(dst []byte, r *message.Record) []byte {
	return append(append(dst, r.Value...), '\n')
}

// appendEnvelope appends one JSON object:
//
//	{"id":"...","received":"2026-01-02T03:04:05.006Z","client":"press-1","topic":"plant/7/press",
//	 "key":"press","headers":{"site":"a"},"value":"..."}
//
// key, value and header values are text. What is not UTF-8 is in key_base64,
// value_base64 and headers_base64 instead. No key, and a null value, are null.
func appendEnvelope(dst []byte, r *message.Record) []byte {
	dst = append(dst, `{"id":"`...)
	dst = r.AppendID(dst)
	dst = append(dst, `","received":"`...)
	dst = time.UnixMilli(r.Received).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	dst = append(dst, `","client":`...)
	dst = appendText(dst, r.Client)
	dst = append(dst, `,"topic":`...)
	dst = appendText(dst, r.Topic)
	dst = appendField(append(dst, ','), "key", r.Key, r.Key == nil)
	dst = appendHeaders(dst, r.Headers)
	dst = appendField(append(dst, ','), "value", r.Value, r.Null)
	return append(dst, "}\n"...)
}

// appendField appends `"name":"text"`, or `"name_base64":"..."` for what is not
// UTF-8, or `"name":null`.
func appendField(dst []byte, name string, value []byte, null bool) []byte {
	switch {
	case null:
		return append(appendText(dst, name), ":null"...)
	case utf8.Valid(value):
		return appendText(append(appendText(dst, name), ':'), value)
	}
	dst = append(append(append(dst, '"'), name...), `_base64":"`...)
	return append(base64.StdEncoding.AppendEncode(dst, value), '"')
}

func appendHeaders(dst []byte, headers []message.Header) []byte {
	dst = append(dst, `,"headers":{`...)
	binary, first := false, true
	for i := range headers {
		if !utf8.Valid(headers[i].Value) {
			binary = true
			continue
		}
		dst = appendComma(dst, &first)
		dst = append(appendText(dst, headers[i].Name), ':')
		dst = appendText(dst, headers[i].Value)
	}
	dst = append(dst, '}')
	if !binary {
		return dst
	}
	dst, first = append(dst, `,"headers_base64":{`...), true
	for i := range headers {
		if utf8.Valid(headers[i].Value) {
			continue
		}
		dst = appendComma(dst, &first)
		dst = append(appendText(dst, headers[i].Name), `:"`...)
		dst = append(base64.StdEncoding.AppendEncode(dst, headers[i].Value), '"')
	}
	return append(dst, '}')
}

func appendComma(dst []byte, first *bool) []byte {
	if !*first {
		dst = append(dst, ',')
	}
	*first = false
	return dst
}

const hexDigits = "0123456789abcdef"

// appendText appends s, which is UTF-8, as a JSON string. Bytes above ASCII go
// through as they are.
func appendText[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(dst, s[from:]...), '"')
}
