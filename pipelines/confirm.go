package pipelines

// Confirmations are told what became of messages whose publishers wait for
// delivery (C13). The lane's goroutine calls both; neither may block.
type Confirmations interface {
	// Expects reports whether somebody may wait for what the rule makes of a
	// message. It is asked for each message above QoS 0.
	Expects(rule uint32) bool
	// Settle says that all required records that the lane makes of a message by
	// a rule are confirmed, or that there are none, as where a condition was
	// not met; delivered is false as soon as one will not be: it is a dead
	// letter, or dropped. It is called once for each message and rule that
	// Expects said yes to, unless the lane ends before.
	Settle(offset uint64, rule, lane uint32, delivered bool)
}

// A due counts the required records that are not settled of one message
// and one rule that somebody waits for.
type due struct {
	open int32
	rule int32 // index
	next int32 // of the same message, as entry.due
}

// expect enters that somebody waits for what rule made of a message, of which
// so many records are required.
func (l *ledger) expect(seq uint64, rule int32, required int) {
	e := l.window.at(seq)
	if required == 0 {
		l.receipts.Settle(e.offset, l.rules[rule].number, l.lane, true)
		return
	}
	at := l.spareDue
	if at == 0 {
		l.dues = append(l.dues, due{})
		at = int32(len(l.dues))
	} else {
		l.spareDue = l.dues[at-1].next
	}
	l.dues[at-1] = due{open: int32(required), rule: rule, next: e.due}
	e.due = at
}

// confirm enters the fate of a required record of a message that somebody waits for.
func (l *ledger) confirm(e *entry, rule int32, f fate) {
	for link := &e.due; *link != 0; link = &l.dues[*link-1].next {
		r := &l.dues[*link-1]
		if r.rule != rule {
			continue
		}
		if r.open--; f != delivered || r.open == 0 {
			at := *link
			*link, r.next = r.next, l.spareDue
			l.spareDue = at
			l.receipts.Settle(e.offset, l.rules[rule].number, l.lane, f == delivered)
		}
		return
	}
}
