package pipelines

// A dropReason says why a record was given up without a dead letter.
type dropReason uint8

// The reasons; their order is part of the cursor's format.
const (
	dropOnError    dropReason = iota // the rule says on_error: drop
	dropLetters                      // a rule error, and the dead letters had no room
	dropUnreadable                   // the journal's frame could not be decoded
	dropShadow                       // the rule is a shadow rule, which sends nothing
	dropFull                         // the lane was full: drop_oldest or drop_newest
	dropSuperseded                   // keep_latest: a newer record of the topic waits
	dropExpired                      // older than max.age
	dropReasons
)

func (r dropReason) String() string {
	return [...]string{"on_error", "dead_letters_full", "unreadable", "shadow", "lane_full", "superseded", "expired"}[r]
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
		&f.dropped[dropOnError], &f.dropped[dropLetters], &f.dropped[dropUnreadable], &f.dropped[dropShadow],
		&f.dropped[dropFull], &f.dropped[dropSuperseded], &f.dropped[dropExpired],
	}
}
