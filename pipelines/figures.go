package pipelines

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// A dropReason says why a record was given up without a dead letter.
type dropReason uint8

// The reasons; their order is part of the cursor's format.
const (
	dropOnError    dropReason = iota // the rule says on_error: drop
	dropLetters                      // a rule error, and the dead letters had no room
	dropUnreadable                   // the journal's frame could not be decoded
	dropFull                         // the lane was full: drop_oldest or drop_newest
	dropSuperseded                   // keep_latest: a newer record of the topic waits
	dropExpired                      // older than max.age
	dropReasons
)

func (r dropReason) String() string {
	return [...]string{"on_error", "dead_letters_full", "unreadable", "lane_full", "superseded", "expired"}[r]
}

// figures are what one lane counted of one rule (C22). in, filtered, missing,
// errors and passed are messages; the others are output records, among which
// an output that failed to evaluate counts as one.
type figures struct {
	in, filtered, missing, errors, passed     uint64
	records, delivered, deadLettered, pending uint64
	dropped                                   [dropReasons]uint64
}

// add adds the figures of a settled message; pending stays what it is.
func (f *figures) add(o *figures) {
	f.in += o.in
	f.filtered += o.filtered
	f.missing += o.missing
	f.errors += o.errors
	f.passed += o.passed
	f.records += o.records
	f.delivered += o.delivered
	f.deadLettered += o.deadLettered
	for i := range o.dropped {
		f.dropped[i] += o.dropped[i]
	}
}

// fields are what is kept in a cursor, in the order of its format. pending is
// not: a cursor counts only what is settled.
func (f *figures) fields() [8 + int(dropReasons)]*uint64 {
	return [...]*uint64{
		&f.in, &f.filtered, &f.missing, &f.errors, &f.passed, &f.records, &f.delivered, &f.deadLettered,
		&f.dropped[dropOnError], &f.dropped[dropLetters], &f.dropped[dropUnreadable],
		&f.dropped[dropFull], &f.dropped[dropSuperseded], &f.dropped[dropExpired],
	}
}

// countersVersion is the first byte of a cursor's counters:
//
//	version 1 | rules n | n times: rule number, fields k, k figures      all but the version are uvarints
//
// A reader ignores fields it does not know and takes missing ones as zero.
const countersVersion = 1

var errCounters = errors.New("counters are cut short")

// appendCounters appends the counters of every rule that counted something.
func appendCounters(dst []byte, rules []ruleState) []byte {
	n := 0
	for i := range rules {
		if rules[i].settled.in > 0 {
			n++
		}
	}
	dst = append(dst, countersVersion)
	dst = binary.AppendUvarint(dst, uint64(n))
	for i := range rules {
		if rules[i].settled.in > 0 {
			dst = appendFigures(dst, rules[i].number, &rules[i].settled)
		}
	}
	return dst
}

func appendFigures(dst []byte, rule uint32, f *figures) []byte {
	fields := f.fields()
	dst = binary.AppendUvarint(dst, uint64(rule))
	dst = binary.AppendUvarint(dst, uint64(len(fields)))
	for _, v := range fields {
		dst = binary.AppendUvarint(dst, *v)
	}
	return dst
}

// decodeCounters hands each rule's figures to keep.
func decodeCounters(b []byte, keep func(rule uint32, f figures)) error {
	if len(b) == 0 {
		return nil
	}
	if b[0] != countersVersion {
		return fmt.Errorf("counters have version %d, not %d", b[0], countersVersion)
	}
	d := varints{b[1:]}
	n, ok := d.next()
	for ; ok && n > 0; n-- {
		var rule uint64
		var f figures
		if rule, ok = d.next(); ok {
			ok = rule <= math.MaxUint32 && d.figures(&f)
		}
		if ok {
			keep(uint32(rule), f)
		}
	}
	if !ok {
		return errCounters
	}
	return nil
}

type varints struct{ b []byte }

func (d *varints) next() (uint64, bool) {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		return 0, false
	}
	d.b = d.b[n:]
	return v, true
}

func (d *varints) figures(f *figures) bool {
	fields := f.fields()
	k, ok := d.next()
	for i := uint64(0); ok && i < k; i++ {
		var v uint64
		if v, ok = d.next(); ok && i < uint64(len(fields)) {
			*fields[i] = v
		}
	}
	return ok
}
