package crashtest_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"

	"github.com/penstock/penstock/internal/message"
)

// lanes are the destinations, each with a lane of its own.
var lanes = [...]string{"even", "sharded", "odd"}

// rules says which lanes a rule feeds, and wants which topics a rule wants:
// each lane has its own rules, some shared.
var rules = [...]struct {
	name  string
	lanes []int
}{
	{"all", []int{0, 1, 2}},
	{"first", []int{0}},
	{"pair", []int{0, 1}},
	{"last", []int{2}},
}

var topics = [...]struct {
	name  string
	rules []int
}{
	{"t/0", []int{0}},
	{"t/1", []int{1, 2}},
	{"t/2", []int{0, 3}},
	{"t/3", []int{2}},
	{"t/4", []int{3}},
	{"t/5", []int{0, 1, 2, 3}},
}

// A word is what a rule makes of a message. It follows from the message's
// serial and the rule alone: rules are pure (C16).
type word int

const (
	wordOK word = iota
	wordFilter
	wordMissing
	wordError
	wordDrop
	wordTwice
	wordPoison // the sink refuses it
)

func (w word) String() string {
	return [...]string{"ok", "filter", "missing", "error", "drop", "twice", "poison"}[w]
}

func wordOf(serial, rule int) word {
	h := fnv.New32a()
	fmt.Fprintf(h, "%d %d", serial, rule)
	switch h.Sum32() % 24 {
	case 0:
		return wordFilter
	case 1:
		return wordMissing
	case 2:
		return wordError
	case 3:
		return wordDrop
	case 4, 5:
		return wordTwice
	case 6:
		return wordPoison
	}
	return wordOK
}

// Output numbers: of a record, of the second one of two, of one that failed.
func outputOf(lane, n int) uint32 { return uint32(1000 + 10*lane + n) }

// payload is the serial twice, around padding: what lies between the two is
// found in a damaged file, too.
func payload(serial, padding int) []byte {
	b := fmt.Appendf(nil, "#%d#", serial)
	b = append(b, bytes.Repeat([]byte{'.'}, padding)...)
	return fmt.Appendf(b, "#/%d#", serial)
}

// serialOf reads the serial at the beginning of a payload; -1 for none.
func serialOf(b []byte) int {
	if len(b) == 0 || b[0] != '#' {
		return -1
	}
	end := bytes.IndexByte(b[1:], '#')
	if end < 0 {
		return -1
	}
	n, err := strconv.Atoi(string(b[1 : 1+end]))
	if err != nil {
		return -1
	}
	return n
}

// An evaluator is the rules of one lane under the numbers of the journal.
type evaluator struct {
	lane    int
	numbers map[uint32]int // rule number -> index in rules
	order   []uint32
}

func newEvaluator(lane int, numbers []uint32) *evaluator {
	e := &evaluator{lane: lane, numbers: map[uint32]int{}}
	for i, r := range rules {
		for _, l := range r.lanes {
			if l == lane {
				e.numbers[numbers[i]] = i
				e.order = append(e.order, numbers[i])
			}
		}
	}
	return e
}

func (e *evaluator) Rules() []uint32 { return e.order }

func (e *evaluator) Evaluate(rule uint32, m *message.Message, out *message.Outcome) {
	w := wordOf(serialOf(m.Payload), e.numbers[rule])
	switch w {
	case wordFilter:
		out.Filtered = true
	case wordMissing:
		out.Filtered, out.Missing = true, true
	case wordError, wordDrop:
		out.Errors = append(out.Errors, message.RuleError{
			Output: outputOf(e.lane, 9), Kind: "type", Err: errors.New("not a number"), Drop: w == wordDrop,
		})
	case wordTwice:
		out.Records = append(out.Records, e.record(rule, 1, m, "v", m.Topic), e.record(rule, 2, m, "v", m.Topic+"/second"))
	case wordPoison:
		out.Records = append(out.Records, e.record(rule, 1, m, "x", m.Topic))
	default:
		out.Records = append(out.Records, e.record(rule, 1, m, "v", m.Topic))
	}
}

func (e *evaluator) record(rule uint32, n int, m *message.Message, mark, key string) message.Record {
	h := fnv.New64a()
	h.Write([]byte(key))
	return message.Record{
		Message: m.ID, Rule: rule, Output: outputOf(e.lane, n), Received: m.Received, Client: m.Client, Topic: m.Topic,
		Key: []byte(key), Value: append([]byte(mark), m.Payload...), Order: h.Sum64(),
	}
}
