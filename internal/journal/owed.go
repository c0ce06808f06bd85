package journal

import (
	"errors"
	"slices"
)

// Owed returns how many messages the lane's stored cursor leaves it owed, and
// their bytes, as Frame.Size and Entry.Size count them, rounded up to a
// multiple of 8. It is an upper bound: exact where the lane is in the middle of
// a segment, which is read, and from the footers elsewhere. It is asked once,
// when a lane starts.
func (j *Journal) Owed(lane uint32) (messages, bytes int64) {
	j.stateMu.Lock()
	c, ok := j.state.cursors[lane]
	j.stateMu.Unlock()
	if !ok {
		return 0, 0
	}
	l := newClaim(c)
	for _, s := range j.cat.behind(&l) {
		n, b := j.owedIn(s, &l)
		messages, bytes = messages+n, bytes+b
	}
	return messages, bytes
}

// Forget drops a lane's cursor and so all it is owed, and returns how many
// messages that was (C16). The lane's number stays, and a cursor that is stored
// for it later begins anew. It returns when that is stored.
func (j *Journal) Forget(lane uint32) (messages int64, err error) {
	messages, _ = j.Owed(lane)
	if _, ok := j.Cursor(lane); !ok {
		return 0, nil
	}
	offset, err := j.appendState(kindForget, le.AppendUint32([]byte{secLane, 4}, lane), true)
	if err != nil {
		return 0, err
	}
	return messages, j.wait(offset)
}

// behind returns the segments in which the lane has not settled everything.
func (c *catalog) behind(l *claim) []*segment {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*segment
	for _, s := range c.list {
		if l.open(s.facts) {
			list = append(list, s)
		}
	}
	return list
}

// owedIn is what one segment owes a lane.
func (j *Journal) owedIn(s *segment, l *claim) (messages, bytes int64) {
	if messages, bytes, ok := j.cat.sum(s, l); ok {
		return messages, bytes
	}
	err := j.each(s, func(f []byte) error {
		if o := frameOffset(f); frameKind(f) == kindMessage && !l.settledAt(o) && l.feeds(string(peek(f).rules)) {
			messages++
			bytes += int64(align(len(f)))
		}
		return nil
	})
	if err != nil {
		return j.cat.atMost(s, l)
	}
	return messages, bytes
}

// sum adds up the groups of a segment that feed the lane; ok is false when the
// lane is in the middle of it, or the groups don't hold all.
func (c *catalog) sum(s *segment, l *claim) (messages, bytes int64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.partly(s.facts) || s.facts.other.count > 0 {
		return 0, 0, false
	}
	messages, bytes = s.facts.owed(l)
	return messages, bytes, true
}

// atMost is what a segment that cannot be read may owe a lane.
func (c *catalog) atMost(s *segment, l *claim) (messages, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	messages, bytes = s.facts.owed(l)
	return messages + s.facts.other.count, bytes + s.facts.other.bytes
}

func (x *facts) owed(l *claim) (messages, bytes int64) {
	for i := range x.groups {
		if g := &x.groups[i]; l.feeds(g.rules) {
			messages, bytes = messages+g.count, bytes+g.bytes
		}
	}
	return messages, bytes
}

// each calls f for every frame of a segment that is in the log. The bytes are
// overwritten afterwards.
func (j *Journal) each(s *segment, f func(b []byte) error) error {
	if err := j.cat.enter(s); err != nil {
		return err
	}
	sc := newScan(s.file, s, 0, s.end.Load())
	sc.reuse = true
	var damaged error
	sc.bad = func(from, to int64, last uint64, _ *item) {
		j.setAside(s, from, to, last+1, asideDamage)
		damaged = errDamaged
	}
	err := sc.walk(func(_ int64, b []byte) error { return f(b) })
	return errors.Join(err, damaged, j.release(s))
}

// enter opens a segment that is in the log.
func (c *catalog) enter(s *segment) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.list, s) {
		return errGone
	}
	return c.open(s)
}

var (
	// errGone is for those who come for a segment that has left.
	errGone = errors.New("the segment has left the log")
	// errDamaged says that not all of a segment could be read.
	errDamaged = errors.New("the segment is damaged")
)
