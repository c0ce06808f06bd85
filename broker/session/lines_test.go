package session_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/broker/session"
)

// lines checks Acks against plain lists, one for each order that is kept.
type lines struct {
	a      session.Acks
	lists  map[[2]int][]session.Ack // by kind and limit, {-1, 0} for all that wait for the journal only
	lost   []session.Ack
	offset uint64
	stored uint64
	now    int64
	id     uint16
}

func (m *lines) key(k session.Ack) [2]int {
	switch {
	case m.a.Strict && k.Kind == session.PubComp:
		return [2]int{int(k.Kind), 0}
	case m.a.Strict || !k.Delivery:
		return [2]int{-1, 0}
	}
	return [2]int{int(k.Kind), int(k.Within)}
}

func (m *lines) put(k session.Ack) {
	m.a.Wait(k)
	key := m.key(k)
	m.lists[key] = append(m.lists[key], k)
}

func (m *lines) Wait(t *rapid.T) {
	m.offset++
	m.id++
	k := session.Ack{Offset: m.offset, Hash: uint64(m.id), ID: m.id, Kind: session.AckKind(rapid.IntRange(0, 2).Draw(t, "kind"))}
	if k.Kind != session.PubRec {
		k.Delivery = rapid.Bool().Draw(t, "delivery")
	}
	if limit := rapid.SampledFrom([]int32{0, 5, 50}).Draw(t, "within"); k.Delivery && k.Kind == session.PubAck && limit > 0 {
		k.Within, k.Until = limit, m.now+int64(limit)
	}
	m.put(k)
}

func (m *lines) Resolve(t *rapid.T) {
	offset := rapid.Uint64Range(0, m.offset).Draw(t, "offset")
	o := rapid.SampledFrom([]session.Outcome{session.Delivered, session.Failed}).Draw(t, "outcome")
	m.a.Resolve(offset, o)
	note := func(list []session.Ack) {
		for i := range list {
			if list[i].Offset == offset && list[i].Delivery {
				list[i].Outcome = o
			}
		}
	}
	for _, list := range m.lists {
		note(list)
	}
	note(m.lost)
}

func (m *lines) due(k session.Ack) bool {
	return k.Offset <= m.stored && (!k.Delivery || k.Outcome != session.Undecided || k.Until != 0 && k.Until <= m.now)
}

// Release lets time pass and the watermark advance, and takes what is due.
func (m *lines) Release(t *rapid.T) {
	m.stored = min(m.offset, m.stored+rapid.Uint64Range(0, 4).Draw(t, "stored"))
	m.now += rapid.Int64Range(0, 20).Draw(t, "passes")
	for k, ok := m.a.Pop(m.stored, m.now); ok; k, ok = m.a.Pop(m.stored, m.now) {
		list := m.lists[m.key(k)]
		if len(list) == 0 || list[0] != k {
			t.Fatalf("got %+v, not the first of %+v", k, list)
		}
		if !m.due(k) {
			t.Fatalf("%+v is not due at %d with %d stored", k, m.now, m.stored)
		}
		m.lists[m.key(k)] = list[1:]
	}
	for _, list := range m.lists {
		if len(list) > 0 && m.due(list[0]) {
			t.Fatalf("%+v is due at %d with %d stored, and was not taken", list[0], m.now, m.stored)
		}
	}
}

// Reconnect ends the connection; its PUBACKs are remembered.
func (m *lines) Reconnect(*rapid.T) {
	m.a.Detach(true, 1000)
	for _, list := range m.lists {
		for _, k := range list {
			if k.Kind == session.PubAck {
				m.lost = append(m.lost, k)
			}
		}
	}
	clear(m.lists)
}

// Resend takes one up that was lost.
func (m *lines) Resend(t *rapid.T) {
	if len(m.lost) == 0 {
		t.Skip("nothing was lost")
	}
	i := rapid.IntRange(0, len(m.lost)-1).Draw(t, "which")
	want := m.lost[i]
	m.lost = slices.Delete(m.lost, i, i+1)
	if !m.a.Knows(want.ID, want.Hash) {
		t.Fatalf("%+v is not known", want)
	}
	k, ok := m.a.Rejoin(want.ID, want.Hash)
	if !ok || k != want {
		t.Fatalf("got %+v, %v, want %+v", k, ok, want)
	}
	m.put(k)
}

func (m *lines) Check(t *rapid.T) {
	n, acks, deadline, waits := 0, 0, int64(0), false
	for _, list := range m.lists {
		n += len(list)
		for i, k := range list {
			if k.Kind == session.PubAck {
				acks++
			}
			if i > 0 {
				continue
			}
			waits = waits || k.Offset > m.stored
			if k.Until != 0 && k.Offset <= m.stored && (deadline == 0 || k.Until < deadline) {
				deadline = k.Until
			}
		}
	}
	if m.a.Len() != n || m.a.PubAcks() != acks {
		t.Fatalf("%d wait, %d of them PUBACK; want %d, %d", m.a.Len(), m.a.PubAcks(), n, acks)
	}
	if got := m.a.Deadline(m.stored); got != deadline {
		t.Fatalf("deadline %d, want %d", got, deadline)
	}
	if got := m.a.AwaitsStored(m.stored); got != waits {
		t.Fatalf("waits for the journal: %v, want %v", got, waits)
	}
}

// What waits for delivery holds back nothing but its own kind and limit (C12),
// leaves when its outcome is known or its time is over (C13), and survives its
// connection (C11).
func TestLinesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &lines{lists: map[[2]int][]session.Ack{}, now: 1000}
		strict := rapid.Bool().Draw(t, "strict")
		m.a.Strict = strict
		t.Repeat(map[string]func(*rapid.T){
			"wait": m.Wait, "wait2": m.Wait, "resolve": m.Resolve, "release": m.Release, "resend": m.Resend,
			"reconnect": func(t *rapid.T) {
				m.Reconnect(t)
				m.a.Strict = strict
			},
			"": m.Check,
		})
	})
}
