package crashtest_test

import "slices"

// verify checks what arrived since the last time: each record is of a message
// that was given out, comes in order, and a copy only with a cause.
func (w *world) verify() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, d := range w.destinations {
		for ; d.checked < len(d.arrivals); d.checked++ {
			w.verifyArrival(i, d.arrivals[d.checked])
		}
		for id, n := range d.count {
			if n > 1+d.allowed[id] {
				w.failLocked("I2: lane %s delivered %s %d times, %d have a cause (C15)", lanes[i], id, n, 1+d.allowed[id])
			}
		}
	}
}

func (w *world) verifyArrival(lane int, a arrival) {
	d := w.destinations[lane]
	g := w.bySerial[a.serial]
	if g == nil || g.id != a.message || a.value != "v"+string(payload(g.serial, g.size)) || !w.makes(g, lane, a) {
		w.failLocked("I2: lane %s delivered %+v, which no rule makes of message %+v", lanes[lane], a, g)
		return
	}
	if d.seen[a.id] {
		return
	}
	d.seen[a.id] = true
	last, ok := d.newest[a.key]
	if ok && a.message.Offset < last.message.Offset {
		w.failLocked("I3: lane %s delivered offset %d after %d of key %s", lanes[lane], a.message.Offset, last.message.Offset, a.key)
	}
	d.newest[a.key] = a
}

// makes reports whether a rule makes the record of a message.
func (w *world) makes(g *given, lane int, a arrival) bool {
	for _, r := range topics[g.topic].rules {
		if w.numbers[r] != a.rule || !slices.Contains(rules[r].lanes, lane) {
			continue
		}
		t := topics[g.topic].name
		switch wordOf(g.serial, r) {
		case wordOK:
			return a.output == outputOf(lane, 1) && a.key == t
		case wordTwice:
			return a.output == outputOf(lane, 1) && a.key == t || a.output == outputOf(lane, 2) && a.key == t+"/second"
		}
	}
	return false
}
