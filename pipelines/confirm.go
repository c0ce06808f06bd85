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

// outstanding counts the required records that are not settled of one message
// and one rule that somebody waits for.
type outstanding struct {
	open int32
	rule int32 // index
	next int32 // of the same message, as entry.receipt
}

// expect enters that somebody waits for what rule made of a message, of which
// so many records are required.
func (l *ledger) expect(seq uint64, rule int32, required int) {
	e := l.window.at(seq)
	if required == 0 {
		l.receipts.Settle(e.offset, l.rules[rule].number, l.lane, true)
		return
	}
	at := l.spareReceipt
	if at == 0 {
		l.owed = append(l.owed, outstanding{})
		at = int32(len(l.owed))
	} else {
		l.spareReceipt = l.owed[at-1].next
	}
	l.owed[at-1] = outstanding{open: int32(required), rule: rule, next: e.receipt}
	e.receipt = at
}

// confirm enters the fate of a required record of a message that somebody waits for.
func (l *ledger) confirm(e *entry, rule int32, f fate) {
	for link := &e.receipt; *link != 0; link = &l.owed[*link-1].next {
		r := &l.owed[*link-1]
		if r.rule != rule {
			continue
		}
		if r.open--; f != delivered || r.open == 0 {
			at := *link
			*link, r.next = r.next, l.spareReceipt
			l.spareReceipt = at
			l.receipts.Settle(e.offset, l.rules[rule].number, l.lane, f == delivered)
		}
		return
	}
}
