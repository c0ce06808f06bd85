package config

import (
	"reflect"
	"strings"
)

// A field is one key that a struct accepts.
type field struct {
	key  string
	typ  reflect.Type
	unit string // bytes: a size
}

// fieldsOf returns the keys of a struct in the order they are declared.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for f := range t.Fields() {
		if key := f.Tag.Get("koanf"); key != "" && f.IsExported() {
			fields = append(fields, field{key, f.Type, f.Tag.Get("unit")})
		}
	}
	return fields
}

func keysOf(fields []field) []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return keys
}

func find(fields []field, key string) (field, bool) {
	for _, f := range fields {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

// A spot is where the walk stands: path names the value, shape is the same
// without list indexes and with * for the keys of free maps, so that it names
// the key in the language.
type spot struct {
	path, shape string
	unit        string
	nested      bool // inside a list or free YAML
}

func (s spot) key(name string) string {
	if s.path == "" {
		return name
	}
	return s.path + "." + name
}

// leaf returns the last key of the path.
func (s spot) leaf() string {
	shape := strings.TrimSuffix(s.shape, ".*")
	return shape[strings.LastIndexByte(shape, '.')+1:]
}

// A role is what a text is for; it decides how its mistakes are explained and
// what is expanded in it.
type role byte

const (
	text       role = iota
	expression      // a program: nothing is expanded
	template        // literal text with holes: what is expanded in it is literal
	filter          // an MQTT topic filter with captures
	filePath        // relative to the folder of the file that names it
	secret          // never shown
)

// roleOf returns the role of the texts with a shape.
func roleOf(shape string) role {
	switch shape {
	case "rules.where", "rules.to.when", "rules.to.value":
		return expression
	case "rules.to.topic", "rules.to.key", "rules.to.headers.*", "sinks.delivery.order":
		return template
	case "rules.from", "journal.record":
		return filter
	case "auth.users_file", "journal.dir", "admin.socket", "sinks.file.path", "rules.tests.given.payload_file",
		"listeners.tls.cert", "listeners.tls.key", "listeners.tls.client_ca",
		"sinks.kafka.tls.ca", "sinks.kafka.tls.cert", "sinks.kafka.tls.key":
		return filePath
	case "sinks.kafka.sasl.password", "admin.token":
		return secret
	}
	return text
}

// wordsOf are the words that a text with a shape may be; the others may be any.
var wordsOf = map[string][]string{
	"listeners.tls.username_from": {"cn", "san"},
	"listeners.ack_order":         {"strict"},
	"log.level":                   {"debug", "info", "warn", "error"},
	"log.format":                  {"text", "json"},
	"journal.compression":         {"none", "zstd"},
	"sinks.kafka.acks":            {"all"},
	"sinks.kafka.compression":     {"none", "gzip", "snappy", "lz4", "zstd"},
	"sinks.kafka.sasl.mechanism":  {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"},
	"sinks.file.format":           {"value", "envelope"},
	"sinks.stdout.format":         {"value", "envelope"},
	"sinks.delivery.on_full":      {"block", "drop_oldest", "drop_newest", "keep_latest"},
	"rules.ack":                   {"received", "stored", "delivered"},
	"rules.ack.level":             {"received", "stored", "delivered"},
	"rules.on_error":              {"dead_letter", "drop"},
}

// exampleOf returns how a text with a role could look.
func exampleOf(s spot) string {
	switch roleOf(s.shape) {
	case expression:
		return "'payload.temp > 80'"
	case template:
		return "'telemetry.{line}'"
	case filter:
		if s.shape == "journal.record" {
			return "plant/+/telemetry"
		}
		return "plant/{line}/telemetry"
	case filePath:
		return "file.pem"
	default:
		if words := wordsOf[s.shape]; words != nil {
			return words[0]
		}
		return "text"
	}
}
