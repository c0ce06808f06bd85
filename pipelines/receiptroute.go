package pipelines

// Route says what is expected from now on: for each rule with `ack: delivered`
// the numbers of the lanes with a required output of it. It is called at the
// start and at each reload, before messages come that the new rules want.
//
// Messages whose receipts are open are answered where the change decides: with
// false when the rule is gone or says something else now, since nobody will
// deliver what is owed to it; a lane that is no longer required is not waited
// for.
func (r *Receipts) Route(lanes map[uint32][]uint32) {
	r.sweepAll(r.install(lanes))
}

// install is the first half of Route, which takes no longer however many
// receipts are open.
func (r *Receipts) install(lanes map[uint32][]uint32) *receiptRoute {
	r.mu.Lock()
	defer r.mu.Unlock()
	route := r.route.Load().change(lanes, r.next())
	r.route.Store(route)
	return route
}

// sweepAll is the other half. Another install may not come in between.
func (r *Receipts) sweepAll(route *receiptRoute) {
	for i := range r.shards {
		r.sweep(&r.shards[i], route)
	}
}

// change makes the route that follows; next is the first offset of what it
// adds.
func (t *receiptRoute) change(lanes map[uint32][]uint32, next uint64) *receiptRoute {
	route := &receiptRoute{
		rules: make(map[uint32]*receiptRule, len(lanes)),
		gone:  make(map[uint32]struct{}),
		lanes: make(map[uint32]*receiptLane),
	}
	for rule, required := range lanes {
		made := &receiptRule{from: next}
		before := t.rules[rule]
		if before != nil {
			made.from = before.from
		}
		for _, number := range required {
			made.needs = append(made.needs, need{lane: route.lane(t, number), from: before.since(number, next)})
		}
		route.rules[rule] = made
	}
	for rule := range t.rules {
		route.leave(rule)
	}
	for rule := range t.gone {
		route.leave(rule)
	}
	return route
}

// leave notes a rule of an earlier route that the new one lacks.
func (t *receiptRoute) leave(rule uint32) {
	if t.rules[rule] == nil {
		t.gone[rule] = struct{}{}
	}
}

// lane returns the lane with a number, the one of the route before if that has
// it.
func (t *receiptRoute) lane(before *receiptRoute, number uint32) *receiptLane {
	l := t.lanes[number]
	if l == nil {
		l = before.lanes[number]
	}
	if l == nil {
		l = &receiptLane{number: number}
	}
	t.lanes[number] = l
	return l
}

// since returns from where on a lane is needed by the rule: next, unless it was
// needed before.
func (rule *receiptRule) since(lane uint32, next uint64) uint64 {
	if rule == nil {
		return next
	}
	for i := range rule.needs {
		if rule.needs[i].lane.number == lane {
			return rule.needs[i].from
		}
	}
	return next
}

// An answer is a call of done that is due.
type answer struct {
	done      func(offset uint64, delivered bool)
	offset    uint64
	delivered bool
}

// sweep ends the pairs that are no longer expected.
func (r *Receipts) sweep(s *receiptShard, route *receiptRoute) {
	var answers []answer
	s.mu.Lock()
	for offset, rc := range s.byOff {
		if !rc.awaited {
			continue
		}
		failed, changed := r.drop(rc, offset, route)
		if !changed {
			continue
		}
		if done, delivered := s.answer(offset, rc, failed); done != nil {
			answers = append(answers, answer{done, offset, delivered})
		}
	}
	s.mu.Unlock()
	for _, a := range answers {
		a.done(a.offset, a.delivered)
	}
}

// drop ends the pairs of one receipt that are no longer expected, and reports
// whether that means that the message is not delivered.
func (r *Receipts) drop(rc *receipt, offset uint64, route *receiptRoute) (failed, changed bool) {
	for i := range rc.pairs {
		p := &rc.pairs[i]
		if p.settled || route.need(offset, p.rule, p.lane.number) != nil {
			continue
		}
		rule := route.rules[p.rule]
		failed = failed || rule == nil || offset < rule.from
		changed = true
		r.settle(rc, p)
	}
	return failed, changed
}

// fill notes that a lane has as much to settle as it may.
func (r *Receipts) fill(l *receiptLane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.room == nil && l.waits.Load() > receiptsRoom {
		l.room = make(chan struct{})
		r.crowded.Add(1)
	}
}

// makeRoom ends that.
func (r *Receipts) makeRoom(l *receiptLane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.room != nil {
		close(l.room)
		l.room = nil
		r.crowded.Add(-1)
	}
}

// full returns the lane that has too much to settle already for another message
// of these rules, and when that ends; nil when there is room (I6).
func (r *Receipts) full(rules []uint32) (lane uint32, room <-chan struct{}) {
	if r.crowded.Load() == 0 {
		return 0, nil
	}
	route := r.route.Load()
	for _, rule := range rules {
		found := route.rules[rule]
		if found == nil {
			continue
		}
		for i := range found.needs {
			l := found.needs[i].lane
			l.mu.Lock()
			room := l.room
			l.mu.Unlock()
			if room != nil {
				return l.number, room
			}
		}
	}
	return 0, nil
}
