package pipelines

import "time"

// behindAfter is the age at which a record that is about to be written shows
// that its lane is behind.
const behindAfter = time.Second

// drainSlices is how many writes a second a throttled lane spreads its rate
// over.
const drainSlices = 20

// A throttle bounds how fast a lane that is behind catches up, in favour of
// intake and other lanes (C19). It is a bucket of tokens, one for each record;
// a write may overdraw it, and the next waits until it is positive.
type throttle struct {
	rate   int // records a second, 0 = no limit
	tokens float64
	at     time.Time // when tokens was right
}

// portion is how many records a throttled lane writes at a time.
func (t *throttle) portion() int { return max(1, t.rate/drainSlices) }

// fill adds what has come since the last call.
func (t *throttle) fill(now time.Time) {
	if !t.at.IsZero() {
		t.tokens = min(float64(t.portion()), t.tokens+now.Sub(t.at).Seconds()*float64(t.rate))
	} else {
		t.tokens = float64(t.portion())
	}
	t.at = now
}

// wait returns how long until a write may begin.
func (t *throttle) wait() time.Duration {
	if t.tokens > 0 {
		return 0
	}
	return max(time.Millisecond, time.Duration((1-t.tokens)/float64(t.rate)*float64(time.Second)))
}

// behind reports whether a batch is of the past. A lane that keeps up is never
// throttled, however much it writes.
func (l *Lane) behind(b *batch) bool {
	return l.now.UnixMilli()-b.records[0].Received > behindAfter.Milliseconds()
}

// throttled reports whether the next write must wait for the drain rate.
func (l *Lane) throttled() bool {
	t := &l.throttle
	if t.rate == 0 || !l.behind(l.schedule.ready.head.head) {
		return false
	}
	t.fill(l.now)
	return t.wait() > 0
}

// pace takes what one write of a lane that is behind hands over from the
// bucket. A batch that was never written is cut to a portion.
func (l *Lane) pace(s *shard) {
	t := &l.throttle
	b := s.head
	if t.rate == 0 || !l.behind(b) {
		return
	}
	if n := t.portion(); len(b.records) > n && !b.tried {
		rest := l.schedule.pool.cut(b, n)
		rest.next, b.next = b.next, rest
		if s.tail == b {
			s.tail = rest
		}
	}
	t.tokens -= float64(len(b.records))
}

// wakeToDrain returns when a throttled lane may write again.
func (l *Lane) wakeToDrain() time.Time {
	if l.throttle.rate == 0 || l.schedule.ready.head == nil || !l.throttled() {
		return time.Time{}
	}
	return l.now.Add(l.throttle.wait())
}
