package broker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstock/penstock/broker"
)

// What is retained is bounded, the index of its topics included: a topic of a
// thousand levels counts for what it takes. The rest is dropped and counted,
// and removing messages makes room again (I6).
func TestRetainedIsBounded(t *testing.T) {
	s := serve(t, broker.Options{Listeners: []broker.ListenerConfig{local()}})
	s.LimitRetained(1 << 20)
	l := newLoad(t, s, "", 0)
	retain := func(payload string) {
		t.Helper()
		for i := range 20 {
			p := pub(fmt.Sprintf("%d%s", i, strings.Repeat("/", 1000)), 1, uint16(i+1), payload)
			p.Retain = true
			if _, err := l.nc.Write(p.AppendTo(nil, 4)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := l.next(); err != nil {
				t.Fatal(err)
			}
		}
	}
	retain("x")
	if got := s.Stats(); got.Retained != 8 || got.Dropped["retained_full"] != 12 {
		t.Errorf("retained %d, dropped %v; 1 MiB holds 8 topics of 1001 levels", got.Retained, got.Dropped)
	}
	retain("")
	if got := s.Stats(); got.Retained != 0 {
		t.Errorf("retained %d after each was removed", got.Retained)
	}
	retain("x")
	if got := s.Stats(); got.Retained != 8 {
		t.Errorf("retained %d, the room of removed messages was not given back", got.Retained)
	}
}
