// Package bridgetest is the suite that every connector passes against a real
// peer.
//
//	func TestConnector(t *testing.T) {
//		bridgetest.Run(t, bridgetest.Connector{Peer: startKafka})
//	}
//
// The suite is a small lane: it batches records by shard, writes up to four
// batches at a time, never two of a shard, brings a batch again as it was after
// Retry and Unavailable, halves one that was refused, and follows changes of
// the mapping, as C18 wants of a lane. Then it compares what it sent with
// what the peer holds.
//
// What a kind of destination does not have (a file cannot be frozen) its test
// declares in Lacks with the reason, which is logged. A capability that is
// neither given nor declared missing fails the suite.
package bridgetest

import (
	"slices"
	"testing"

	"github.com/penstock/penstock/bridges"
	"github.com/penstock/penstock/internal/message"
)

// A Connector is a kind of sink with its peer.
type Connector struct {
	// Peer starts or reuses a peer. own: the test will stop, freeze or
	// otherwise hurt it, so it must be nobody else's.
	Peer func(t *testing.T, own bool) Peer
	// Lacks says why a capability is missing.
	Lacks map[Capability]string
}

// A Peer is one destination under test: a cluster, a server, a folder.
type Peer struct {
	// Destination makes a new, empty place and returns the Record.Topic for it.
	Destination func(t testing.TB) string
	// Sink returns a new sink that is not open. Time-outs should be a few
	// seconds, for the tests in which the peer does not answer.
	Sink func(t testing.TB, destination string) bridges.Sink
	// Records reads the place back, by other code than the sink's.
	Records func(t testing.TB, destination string) []Received

	Stop, Restart func(t testing.TB) // Restart
	Freeze, Thaw  func(t testing.TB) // Freeze
	// Intruder is a sink whose credentials are wrong. Secret is a part of them
	// that no error may show.
	Intruder func(t testing.TB, destination string) (sink bridges.Sink, secret string)
	TooLarge func(r *message.Record) // makes a record one that is refused for its size
	Poison   func(r *message.Record) // makes a record one that is refused for what it holds
}

// A Received record is what the peer holds of one.
type Received struct {
	Key, Value []byte // nil: null
	ID         string // the header penstock-id
}

// A Capability is something a destination may be able to do or to show.
type Capability string

// The capabilities.
const (
	Restart     Capability = "restart"     // can be stopped and started again
	Freeze      Capability = "freeze"      // can be made to hang
	Credentials Capability = "credentials" // admits only who logs in
	TooLarge    Capability = "too large"   // refuses a record for its size
	Poison      Capability = "poison"      // refuses a record for what it holds
	Keys        Capability = "keys"        // shows keys
	Null        Capability = "null"        // tells null from empty
	IDs         Capability = "ids"         // shows penstock-id
	Bytes       Capability = "bytes"       // takes any bytes, line ends too
	OnceOnly    Capability = "once only"   // stores once what is sent again after a lost answer
)

// Run runs the suite.
func Run(t *testing.T, c Connector) {
	t.Helper()
	suite := []struct {
		name  string
		own   bool
		needs []Capability
		run   func(*bench)
	}{
		{"delivery", false, nil, delivery},
		{"values", false, nil, values},
		{"record too large", false, []Capability{TooLarge}, tooLarge},
		{"poison record", false, []Capability{Poison}, poison},
		{"wrong credentials", false, []Capability{Credentials}, wrongCredentials},
		{"peer down at start", true, []Capability{Restart}, downAtStart},
		{"peer restarts", true, []Capability{Restart}, restart},
		{"opened again", false, nil, again},
		{"peer frozen", true, []Capability{Freeze}, frozen},
		{"opened again while the peer is frozen", true, []Capability{Freeze}, redial},
		{"shutdown in mid-batch", true, []Capability{Freeze}, shutdown},
	}
	for _, s := range suite {
		if missing, reason := c.lacks(s.needs); missing != "" {
			t.Logf("%s is not for this connector: no %s, %s", s.name, missing, reason)
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			b := &bench{T: t, Connector: c, peer: c.Peer(t, s.own)}
			b.complete(t, s.needs)
			s.run(b)
		})
	}
}

func (c Connector) lacks(needs []Capability) (Capability, string) {
	for _, n := range needs {
		if reason, ok := c.Lacks[n]; ok {
			return n, reason
		}
	}
	return "", ""
}

// bench is one test's peer and what may be asked of it.
type bench struct {
	*testing.T
	Connector
	peer Peer
}

func (b *bench) has(c Capability) bool {
	_, missing := b.Lacks[c]
	return !missing
}

// complete fails the test when the peer lacks what it did not declare.
func (b *bench) complete(t *testing.T, needs []Capability) {
	t.Helper()
	p := b.peer
	given := map[Capability]bool{
		Restart: p.Stop != nil && p.Restart != nil, Freeze: p.Freeze != nil && p.Thaw != nil,
		Credentials: p.Intruder != nil, TooLarge: p.TooLarge != nil, Poison: p.Poison != nil,
	}
	for capability, present := range given {
		if !present && slices.Contains(needs, capability) {
			t.Fatalf("the connector neither gives %q nor declares in Lacks why not", capability)
		}
	}
}
