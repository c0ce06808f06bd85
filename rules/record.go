package rules

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/penstock/penstock/internal/message"
)

// maxTopics bounds how many topic names an Evaluator keeps.
const maxTopics = 4096

// headerChunk is how many headers are allocated at a time.
const headerChunk = 1024

// output adds what one output makes of the message. left: a record or an error
// came of it; missing: nothing did, because a field of the payload is absent.
func (e *Evaluator) output(f *feed, o *numbered, out *message.Outcome) (left, missing bool) {
	if e.trace == nil {
		return e.produce(f, o, out)
	}
	records, errors := len(out.Records), len(out.Errors)
	left, missing = e.produce(f, o, out)
	e.trace.made(e, o, out, records, errors)
	return left, missing
}

func (e *Evaluator) produce(f *feed, o *numbered, out *message.Outcome) (left, missing bool) {
	met, missing, failed := e.met(o.when, o.places.when)
	if failed == nil && !met {
		return false, missing
	}
	r := message.Record{
		Message: e.m.ID, Rule: f.number, Output: o.number,
		Received: e.m.Received, Client: e.m.Client, Topic: e.m.Topic, Optional: o.optional,
	}
	if failed == nil {
		failed = e.fillRecord(&r, o, out)
	}
	if failed != nil {
		e := ruleError(failed, o.number, f.drop)
		e.Optional = o.optional
		out.Errors = append(out.Errors, e)
		return true, false
	}
	out.Records = append(out.Records, r)
	return true, false
}

func (e *Evaluator) fillRecord(r *message.Record, o *numbered, out *message.Outcome) *fault {
	if f := e.fillTopic(r, o); f != nil {
		return f
	}
	if f := e.fillKey(r, o, out); f != nil {
		return f
	}
	if f := e.fillWith(r, o, out); f != nil {
		return f
	}
	if f := e.fillHeaders(r, o, out); f != nil {
		return f
	}
	return e.fillOrder(r, o)
}

// fillTopic renders the topic and keeps it within what a Kafka topic may hold
// (I8). Names that came before are neither checked nor allocated again.
func (e *Evaluator) fillTopic(r *message.Record, o *numbered) *fault {
	if o.topic == nil {
		return nil
	}
	if o.topic.constant() {
		r.Topic = o.topic.tail
		return nil
	}
	name, err := e.render(e.name[:0], o.topic)
	if err != nil {
		return at(o.places.topic, err)
	}
	e.name = name
	if known, ok := e.topics[string(name)]; ok {
		r.Topic = known
		return nil
	}
	if !kafkaTopic(name) {
		return at(o.places.topic, newFault(kindUnsafe, "%.80q is not a Kafka topic", name))
	}
	if len(e.topics) >= maxTopics {
		clear(e.topics)
	}
	r.Topic = string(name)
	e.topics[r.Topic] = r.Topic
	return nil
}

func (e *Evaluator) fillKey(r *message.Record, o *numbered, out *message.Outcome) *fault {
	switch {
	case o.topicKey:
		r.Key = bytesOf(e.m.Topic)
	case o.key == nil:
	case o.key.constant():
		r.Key = bytesOf(o.key.tail)
	default:
		key, err := e.render(out.Scratch(64), o.key)
		if err != nil {
			return at(o.places.key, err)
		}
		r.Key = out.Keep(key)
	}
	return nil
}

// fillWith fills in the value: without one, the payload goes through byte for
// byte and nobody looks at it.
func (e *Evaluator) fillWith(r *message.Record, o *numbered, out *message.Outcome) *fault {
	if o.value == nil {
		r.Value = e.m.Payload
		return nil
	}
	written, null, err := e.write(out.Scratch(256), o.value)
	switch {
	case err != nil:
		return at(o.places.value, err)
	case null && !o.tombstone:
		return at(o.places.value, newFault(kindNil, "there is no value, and the output does not say tombstone: true"))
	case null:
		r.Null = true
	default:
		r.Value = out.Keep(written)
	}
	return nil
}

func (e *Evaluator) fillHeaders(r *message.Record, o *numbered, out *message.Outcome) *fault {
	n := len(o.headers)
	if o.standard {
		n += len(standardHeaders)
	}
	if n == 0 {
		return nil
	}
	if cap(e.headers)-len(e.headers) < n {
		e.headers = make([]message.Header, 0, max(headerChunk, n))
	}
	begin := len(e.headers)
	headers := e.headers[begin:begin:cap(e.headers)]
	if o.standard {
		headers = e.appendStandard(headers, r, out)
	}
	for i := range o.headers {
		value, f := e.headerValue(&o.headers[i], o, out)
		if f != nil {
			return f
		}
		headers = setHeader(headers, o.headers[i].name, value)
	}
	e.headers = e.headers[:begin+len(headers)]
	r.Headers = slices.Clip(headers)
	return nil
}

func (e *Evaluator) appendStandard(headers []message.Header, r *message.Record, out *message.Outcome) []message.Header {
	id := out.Keep(r.AppendID(out.Scratch(64)))
	received := out.Keep(e.appendReceived(out.Scratch(32)))
	return append(
		headers,
		message.Header{Name: standardHeaders[0], Value: id},
		message.Header{Name: standardHeaders[1], Value: bytesOf(e.m.Client)},
		message.Header{Name: standardHeaders[2], Value: bytesOf(e.m.Topic)},
		message.Header{Name: standardHeaders[3], Value: received},
	)
}

// setHeader adds a header, in the place of the one with its name.
func setHeader(headers []message.Header, name string, value []byte) []message.Header {
	for i := range headers {
		if headers[i].Name == name {
			headers[i].Value = value
			return headers
		}
	}
	return append(headers, message.Header{Name: name, Value: value})
}

func (e *Evaluator) headerValue(h *header, o *numbered, out *message.Outcome) ([]byte, *fault) {
	if h.value.constant() {
		return bytesOf(h.value.tail), nil
	}
	place := o.places.headers + "." + h.name
	value, err := e.render(out.Scratch(64), h.value)
	if err != nil {
		return nil, at(place, err)
	}
	if bytes.ContainsAny(value, "\r\n") {
		return nil, at(place, newFault(kindUnsafe, "a header may not hold a line break"))
	}
	return out.Keep(value), nil
}

// fillOrder fills in the hash of the order key (I3): the record key for Kafka,
// what the sink's `delivery.order` says, and otherwise client id and topic.
func (e *Evaluator) fillOrder(r *message.Record, o *numbered) *fault {
	switch {
	case o.order != nil:
		text, err := e.render(e.name[:0], o.order)
		if err != nil {
			return at("order of sink "+o.sink.Name, err)
		}
		e.name = text
		r.Order = hash(offset64, text)
	case o.sink.Kind == "kafka" && r.Key != nil:
		r.Order = hash(offset64, r.Key)
	default:
		h := hash(offset64, bytesOf(e.m.Client))
		r.Order = hash(hash(h, []byte{'/'}), bytesOf(e.m.Topic))
	}
	return nil
}

const (
	offset64 = 0xcbf29ce484222325
	prime64  = 0x9e3779b97f4a7c15
)

// hash mixes b into h, eight bytes at a time. It is the same on every machine.
func hash(h uint64, b []byte) uint64 {
	h ^= uint64(len(b)) * prime64
	for ; len(b) >= 8; b = b[8:] {
		h = mix(h ^ binary.LittleEndian.Uint64(b))
	}
	var last uint64
	for i, c := range b {
		last |= uint64(c) << (8 * i)
	}
	return mix(h ^ last)
}

func mix(h uint64) uint64 {
	h *= prime64
	h ^= h >> 32
	h *= prime64
	return h ^ h>>29
}
