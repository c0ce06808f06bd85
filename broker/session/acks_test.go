package session_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/broker/session"
)

func due(a *session.Acks, stored uint64) (ids []uint16) {
	for k, ok := a.Pop(stored, 0); ok; k, ok = a.Pop(stored, 0) {
		ids = append(ids, k.ID)
	}
	return ids
}

// Acknowledgements leave in the order of their PUBLISH packets (C12), none
// before its offset is stored (C10).
func TestAcksModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a session.Acks
		var model []session.Ack
		var offset, stored uint64
		t.Repeat(map[string]func(*rapid.T){
			"wait": func(t *rapid.T) {
				offset += rapid.Uint64Range(0, 2).Draw(t, "step")
				k := session.Ack{Offset: offset, ID: rapid.Uint16().Draw(t, "id"), Kind: session.AckKind(rapid.IntRange(0, 2).Draw(t, "kind"))}
				a.Wait(k)
				model = append(model, k)
			},
			"store": func(t *rapid.T) {
				stored += rapid.Uint64Range(0, 5).Draw(t, "stored")
				for {
					k, ok := a.Pop(stored, 0)
					if want := len(model) > 0 && model[0].Offset <= stored; ok != want {
						t.Fatalf("pop: %v, want %v", ok, want)
					}
					if !ok {
						return
					}
					if k != model[0] {
						t.Fatalf("got %+v, want %+v", k, model[0])
					}
					model = model[1:]
				}
			},
			"": func(t *rapid.T) {
				n := 0
				for _, k := range model {
					if k.Kind == session.PubAck {
						n++
					}
				}
				if a.Len() != len(model) || a.PubAcks() != n {
					t.Fatalf("%d wait, %d of them PUBACK; want %d, %d", a.Len(), a.PubAcks(), len(model), n)
				}
			},
		})
	})
}

// A resend joins the offset of the first (C11), and what became of it since.
func TestRejoin(t *testing.T) {
	var a session.Acks
	a.Wait(session.Ack{Offset: 1, Hash: 11, ID: 1})
	a.Wait(session.Ack{Offset: 2, Hash: 22, ID: 2, Delivery: true})
	a.Wait(session.Ack{Offset: 3, ID: 3, Kind: session.PubRec})
	if !a.Knows(2, 22) {
		t.Error("what waits is not known")
	}
	if a.Knows(2, 23) {
		t.Error("another payload joined")
	}
	if !a.Waits(2, session.PubAck) || a.Waits(3, session.PubAck) || !a.Waits(3, session.PubRec) {
		t.Error("wrong about what waits")
	}
	a.Detach(true, 10)
	if a.Len() != 0 || a.PubAcks() != 0 || a.Waits(1, session.PubAck) {
		t.Error("something waits without a connection")
	}
	a.Resolve(2, session.Delivered)
	if k, ok := a.Rejoin(2, 22); !ok || k.Offset != 2 || k.Outcome != session.Delivered {
		t.Errorf("after a reconnect: %+v, %v", k, ok)
	}
	if _, ok := a.Rejoin(2, 22); ok {
		t.Error("joined twice")
	}
	a.Forget(1)
	if a.Knows(1, 11) {
		t.Error("known after its identifier was used anew")
	}
}

func TestDetachBound(t *testing.T) {
	var a session.Acks
	for id := uint16(1); id <= 5; id++ {
		a.Wait(session.Ack{Offset: uint64(id), ID: id})
	}
	a.Detach(true, 2)
	var known []uint16
	for id := uint16(1); id <= 5; id++ {
		if a.Knows(id, 0) {
			known = append(known, id)
		}
	}
	if diff := cmp.Diff([]uint16{4, 5}, known); diff != "" {
		t.Error(diff)
	}
	a.Wait(session.Ack{Offset: 9, ID: 9})
	a.Detach(false, 2)
	if a.Knows(9, 0) || due(&a, 100) != nil {
		t.Error("kept for a session that ended")
	}
}

func TestInbound(t *testing.T) {
	var in session.Inbound
	if _, known := in.Receive(1); known || in.Release(1) {
		t.Error("an empty one knows 1")
	}
	in.Accept(1, session.Receipt{Offset: 7, Delivery: true})
	in.Accept(2, session.Receipt{})
	in.Resolve(7, session.Failed)
	in.Resolve(8, session.Failed)
	if r, known := in.Receive(1); !known || r.Offset != 7 || r.Outcome != session.Failed || in.Len() != 2 {
		t.Errorf("got %+v, %v", r, known)
	}
	if !in.Release(1) || in.Release(1) {
		t.Error("released once")
	}
}
