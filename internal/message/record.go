package message

import (
	"slices"
	"strconv"
)

// A Record is what one output of one rule made of one message: what a sink
// writes. Its slices stay valid until the sink has confirmed it.
type Record struct {
	Message  ID
	Rule     uint32 // number of the rule in the journal's table
	Output   uint32 // number of the output in the journal's table
	Received int64  // Unix milliseconds; the timestamp at the destination

	Client  string // client identifier of the publisher
	Topic   string // the destination's own name: Kafka topic, or the published topic
	Key     []byte // nil: no key
	Value   []byte
	Null    bool // the value is null (a Kafka tombstone)
	Headers []Header

	// Order is a hash of the order key: records with equal Order reach the
	// destination in journal order (I3).
	Order uint64

	// Optional: the output says required: false, so that no acknowledgement
	// waits for it (C13).
	Optional bool
	// Run names the replay that made the record, "" for none (C17).
	Run string
}

// A Header is one name-value pair that travels beside the value.
type Header struct {
	Name  string
	Value []byte
}

// AppendID appends the id that is the same in every copy of the record,
// `<message id>.<rule number>.<output number>` (C17).
// A replay adds its name as a last part.
func (r *Record) AppendID(b []byte) []byte {
	b = AppendRecordID(b, r.Message, r.Rule, r.Output)
	if r.Run != "" {
		b = append(b, '.')
		b = append(b, r.Run...)
	}
	return b
}

// AppendRecordID appends a record id from its parts.
func AppendRecordID(b []byte, id ID, rule, output uint32) []byte {
	b, _ = id.AppendText(b)
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(rule), 10)
	b = append(b, '.')
	return strconv.AppendUint(b, uint64(output), 10)
}

// Size is what the record counts against byte bounds.
func (r *Record) Size() int {
	n := len(r.Topic) + len(r.Key) + len(r.Value) + 64
	for i := range r.Headers {
		n += len(r.Headers[i].Name) + len(r.Headers[i].Value) + 8
	}
	return n
}

// An Outcome collects what one rule makes of one message for one sink. The
// lane owns it and calls Reset between messages.
type Outcome struct {
	Records []Record
	Errors  []RuleError
	// Filtered: the rule's condition, or every output's, was not met, so there
	// is nothing to deliver. Missing: because a payload field it reads is absent.
	Filtered, Missing bool
	// Shadow: the rule is a shadow rule, whose records are counted and never
	// sent.
	Shadow bool

	arena []byte
}

// Reset empties the outcome. Records handed out before keep their bytes.
func (o *Outcome) Reset() {
	clear(o.Records)
	clear(o.Errors)
	o.Records, o.Errors = o.Records[:0], o.Errors[:0]
	o.Filtered, o.Missing, o.Shadow = false, false, false
}

// arenaBytes is the size of the chunks that record bytes are carved from: one
// allocation for hundreds of records.
const arenaBytes = 64 << 10

// Scratch returns an empty slice with room for at least n bytes to append a
// record's bytes to; Keep makes what was appended permanent.
func (o *Outcome) Scratch(n int) []byte {
	if cap(o.arena)-len(o.arena) < n {
		o.arena = make([]byte, 0, max(arenaBytes, n))
	}
	return o.arena[len(o.arena):len(o.arena):cap(o.arena)]
}

// Keep takes b, grown from the last Scratch, out of the scratch space and
// returns it clipped, so that nobody appends into the next record.
func (o *Outcome) Keep(b []byte) []byte {
	free := o.arena[len(o.arena):cap(o.arena)]
	if len(b) > 0 && len(b) <= len(free) && &b[0] == &free[:1][0] {
		o.arena = o.arena[:len(o.arena)+len(b)]
	}
	return slices.Clip(b)
}

// A RuleError is one output of a rule that failed on a message (C20): an
// undecodable payload, a wrong type, a nil hole, an unsafe name.
type RuleError struct {
	Output uint32 // number of the output; 0 when the rule's condition failed
	Kind   string // a fixed word per cause: decode, type, nil, unsafe_name, budget ...
	Err    error
	// Drop: the rule says on_error: drop, so it is counted and not kept.
	Drop bool
	// Optional: the output says required: false, as in Record.
	Optional bool
}
