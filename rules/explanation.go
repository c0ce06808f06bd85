package rules

import (
	"encoding/json"
	"slices"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/message"
)

// An Explanation is what rules make of one message, step by step.
type Explanation struct {
	Topic string          `json:"topic"`
	Rules []RuleExplained `json:"rules"`
}

// The results of a rule.
const (
	ResultGone     = "gone"     // no rule has this number any more
	ResultNoMatch  = "no_match" // none of its filters matches the topic
	ResultFiltered = "filtered" // a condition is not met
	ResultMissing  = "missing"  // filtered, because the condition needs a field that is absent
	ResultFailed   = "failed"   // a rule error, in the condition or in every output
	ResultRecords  = "records"  // at least one record
)

// A RuleExplained is what one rule made of the message.
type RuleExplained struct {
	Number   uint32              `json:"number,omitempty"` // 0 while the rules have no numbers
	Rule     string              `json:"rule,omitempty"`   // its name
	Result   string              `json:"result"`
	Shadow   bool                `json:"shadow,omitempty"` // nothing of it is sent
	Ack      string              `json:"ack,omitempty"`    // what an acknowledgement waits for
	Filters  []string            `json:"filters,omitempty"`
	Filter   string              `json:"filter,omitempty"` // the filter that matches
	Captures []Capture           `json:"captures,omitempty"`
	Where    *ConditionExplained `json:"where,omitempty"`
	Outputs  []OutputExplained   `json:"outputs,omitempty"`
}

// A Capture is what a {name} of the filter stands for.
type Capture struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// A ConditionExplained is a where or a when and how it turned out.
type ConditionExplained struct {
	Text  string `json:"text"`
	Met   bool   `json:"met"`
	Error *Fault `json:"error,omitempty"`
	// Missing: not met, because it failed where a field that it reads is absent.
	Missing bool    `json:"missing,omitempty"`
	Reads   []Field `json:"reads,omitempty"`
}

// A Field is a field of the payload that an expression reads.
type Field struct {
	Name   string          `json:"name"` // payload.temp; payload alone is all of it
	Value  json.RawMessage `json:"value,omitempty"`
	Absent bool            `json:"absent,omitempty"` // there is none, or it is null
}

// A Fault is why something failed.
type Fault struct {
	Kind string `json:"kind"` // decode, type, nil, unsafe_name, number, budget
	Text string `json:"text"`
}

// An OutputExplained is what one output made of the message: nothing, because
// its When is not met, a record, or an error.
type OutputExplained struct {
	Index  int                 `json:"index"` // in the rule's `to`
	Number uint32              `json:"number,omitempty"`
	Sink   string              `json:"sink"`
	When   *ConditionExplained `json:"when,omitempty"`
	Record *RecordExplained    `json:"record,omitempty"`
	Error  *Fault              `json:"error,omitempty"`
	Reads  []Field             `json:"reads,omitempty"` // by its templates and its value
}

// A RecordExplained is a record as people read it. Bytes that are not UTF-8
// have the form _base64.
type RecordExplained struct {
	Topic    string            `json:"topic"`
	Key      Bytes             `json:"key,omitzero"`
	Value    Bytes             `json:"value,omitzero"`
	Null     bool              `json:"null,omitempty"` // a tombstone
	Headers  []HeaderExplained `json:"headers,omitempty"`
	Optional bool              `json:"optional,omitempty"` // no acknowledgement waits for it
}

// A HeaderExplained is one header of a record.
type HeaderExplained struct {
	Name  string `json:"name"`
	Value Bytes  `json:"value"`
}

// Bytes are some bytes of a record: a JSON string, or an object {"base64": ...}
// when they are not UTF-8.
type Bytes []byte

// IsZero reports whether there are none at all, which is not the same as an
// empty text.
func (b Bytes) IsZero() bool { return b == nil }

// MarshalJSON writes the text, or the bytes in base64.
func (b Bytes) MarshalJSON() ([]byte, error) {
	if utf8.Valid(b) {
		return json.Marshal(string(b))
	}
	return json.Marshal(map[string][]byte{"base64": b})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (b *Bytes) UnmarshalJSON(text []byte) error {
	var plain string
	if err := json.Unmarshal(text, &plain); err == nil {
		*b = Bytes(plain)
		return nil
	}
	var coded struct {
		Base64 []byte `json:"base64"`
	}
	err := json.Unmarshal(text, &coded)
	*b = coded.Base64
	return err
}

// Explain evaluates a message by the rules with these numbers, or by all rules
// when none is given, with the code that lanes use, and says what happened in
// each step. A Set without numbers explains all its rules; the ids in their
// records then stand for nothing.
func (s *Set) Explain(m *message.Message, numbers ...uint32) Explanation {
	x := Explanation{Topic: m.Topic}
	e := newEvaluator()
	for i, r := range s.rules {
		number, outputs := s.numbering(i)
		if len(numbers) > 0 && !slices.Contains(numbers, number) {
			continue
		}
		e.add(r, number, outputs, "")
		x.Rules = append(x.Rules, e.explain(number, m, r.ackOr(s.defaultAck)))
		if s.numbers == nil {
			x.Rules[len(x.Rules)-1].forgetNumbers()
		}
	}
	for _, n := range numbers {
		if !slices.Contains(s.numbers, n) {
			x.Rules = append(x.Rules, RuleExplained{Number: n, Result: ResultGone})
		}
	}
	return x
}

// numbering returns the numbers of a rule and its outputs, or their places
// where they have none.
func (s *Set) numbering(i int) (rule uint32, outputs []uint32) {
	if s.numbers != nil {
		return s.numbers[i], s.outputs[i]
	}
	for j := range s.rules[i].outputs {
		outputs = append(outputs, uint32(j)+1)
	}
	return uint32(i) + 1, outputs
}

func (r *RuleExplained) forgetNumbers() {
	r.Number = 0
	for i := range r.Outputs {
		r.Outputs[i].Number = 0
	}
}
