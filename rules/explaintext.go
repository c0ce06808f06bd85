package rules

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxShown is how many bytes of a text are shown to people.
const maxShown = 400

// WriteText writes the explanation for people, a paragraph for each rule.
func (x Explanation) WriteText(w io.Writer) error {
	var b strings.Builder
	for i := range x.Rules {
		x.Rules[i].write(&b)
	}
	if len(x.Rules) == 0 {
		b.WriteString("there are no rules\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *RuleExplained) write(b *strings.Builder) {
	switch r.Result {
	case ResultGone:
		fmt.Fprintf(b, "rule number %d: no rule has this number any more\n", r.Number)
		return
	case ResultNoMatch:
		fmt.Fprintf(b, "rule %s: no match, from is %s\n", r.Rule, strings.Join(r.Filters, ", "))
		return
	}
	fmt.Fprintf(b, "rule %s: %s\n", r.Rule, r.summary())
	line(b, 1, "from", r.Filter+captureText(r.Captures))
	line(b, 1, "ack", r.Ack)
	if r.Where != nil {
		r.Where.write(b, 1, "where")
	}
	for i := range r.Outputs {
		r.Outputs[i].write(b)
	}
}

func (r *RuleExplained) summary() string {
	var text string
	switch r.Result {
	case ResultFiltered:
		text = "filtered"
	case ResultMissing:
		text = "filtered, a field is missing"
	case ResultFailed:
		text = "failed"
	default:
		records := 0
		for i := range r.Outputs {
			if r.Outputs[i].Record != nil {
				records++
			}
		}
		text = "1 record"
		if records > 1 {
			text = strconv.Itoa(records) + " records"
		}
	}
	if r.Shadow {
		text += ", shadow: nothing is sent"
	}
	return text
}

func captureText(captures []Capture) string {
	var b strings.Builder
	for i, c := range captures {
		b.WriteString([...]string{": ", ", "}[min(i, 1)])
		b.WriteString(c.Name + "=" + shown([]byte(c.Text)))
	}
	return b.String()
}

func (c *ConditionExplained) write(b *strings.Builder, depth int, key string) {
	verdict := "not met"
	switch {
	case c.Error != nil:
		verdict = "error " + c.Error.Kind
	case c.Missing:
		verdict = "not met, a field is missing"
	case c.Met:
		verdict = "met"
	}
	line(b, depth, key, oneLine(c.Text)+" -> "+verdict)
	if c.Error != nil {
		line(b, depth+1, "", c.Error.Text)
	}
	writeFields(b, depth+1, c.Reads)
}

func writeFields(b *strings.Builder, depth int, fields []Field) {
	for _, f := range fields {
		value := string(f.Value)
		switch {
		case f.Absent:
			value = "absent"
		case f.Value == nil:
			value = "(all of it)"
		}
		line(b, depth, f.Name, shown([]byte(value)))
	}
}

func (o *OutputExplained) write(b *strings.Builder) {
	sink := o.Sink
	if o.Record != nil && o.Record.Optional {
		sink += " (not required)"
	}
	line(b, 1, fmt.Sprintf("to[%d]", o.Index), sink)
	if o.When != nil {
		o.When.write(b, 2, "when")
	}
	if o.Error != nil {
		line(b, 2, "error "+o.Error.Kind, o.Error.Text)
	}
	if o.Record != nil {
		o.Record.write(b)
	}
	if len(o.Reads) > 0 {
		line(b, 2, "reads", "")
		writeFields(b, 3, o.Reads)
	}
}

func (r *RecordExplained) write(b *strings.Builder) {
	line(b, 2, "topic", shown([]byte(r.Topic)))
	if r.Key != nil {
		line(b, 2, "key", shown(r.Key))
	}
	if r.Null {
		line(b, 2, "value", tombstoneText)
	} else {
		line(b, 2, "value", shown(r.Value))
	}
	for _, h := range r.Headers {
		line(b, 2, "header", h.Name+": "+shown(h.Value))
	}
}

// line writes a key and what it says, indented.
func line(b *strings.Builder, depth int, key, text string) {
	b.WriteString(strings.TrimRight(strings.Repeat("  ", depth)+strings.TrimLeft(key+" ", " ")+text, " ") + "\n")
}

// oneLine puts a program that was written over several lines on one.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// shown returns bytes as a terminal can show them, cut to a length that people
// read. What is not plain text stands in quotes, with escapes.
func shown(b []byte) string {
	total := len(b)
	b = b[:min(total, maxShown)]
	for i := 0; i < utf8.UTFMax && total > maxShown && len(b) > 0 && !utf8.Valid(b); i++ {
		b = b[:len(b)-1] // not in the middle of a character
	}
	text := string(b)
	if !utf8.Valid(b) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		text = strconv.Quote(text)
	}
	if total > maxShown {
		text += fmt.Sprintf("... (%d bytes)", total)
	}
	return text
}
