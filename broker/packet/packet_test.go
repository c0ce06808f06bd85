package packet_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/broker/packet"
)

const (
	v31  = packet.V31
	v311 = packet.V311
	v5   = packet.V5
)

// A codec is any packet type.
type codec interface {
	Decode(v packet.Version, first byte, body []byte) error
	AppendTo(dst []byte, v packet.Version) []byte
}

// newPacket returns an empty packet of a type, nil for type 0.
func newPacket(t packet.Type) codec {
	return [16]codec{
		nil, &packet.Connect{}, &packet.Connack{}, &packet.Publish{}, &packet.Puback{}, &packet.Pubrec{},
		&packet.Pubrel{}, &packet.Pubcomp{}, &packet.Subscribe{}, &packet.Suback{}, &packet.Unsubscribe{},
		&packet.Unsuback{}, &packet.Pingreq{}, &packet.Pingresp{}, &packet.Disconnect{}, &packet.Auth{},
	}[t&15]
}

// A testCase is one packet on the wire and what it means.
type testCase struct {
	name    string
	version packet.Version
	wire    string // hex, and text in single quotes; blanks are for the eye
	want    codec  // nil: refused
	loose   bool   // want is written in a shorter way than wire
	reason  packet.ReasonCode
	clause  string
}

func ok(name string, v packet.Version, wire string, want codec) testCase {
	return testCase{name: name, version: v, wire: wire, want: want}
}

// loose is ok for a packet that could be written in a shorter way.
func loose(name string, v packet.Version, wire string, want codec) testCase {
	return testCase{name: name, version: v, wire: wire, want: want, loose: true}
}

func bad(name string, v packet.Version, wire string, reason packet.ReasonCode, clause string) testCase {
	return testCase{name: name, version: v, wire: wire, reason: reason, clause: clause}
}

func (c testCase) label() string { return c.version.String() + " " + c.name }

// raw returns the bytes of wire.
func raw(tb testing.TB, wire string) []byte {
	tb.Helper()
	var out []byte
	for word := range strings.FieldsSeq(wire) {
		if text, quoted := strings.CutPrefix(word, "'"); quoted {
			out = append(out, strings.TrimSuffix(text, "'")...)
			continue
		}
		b, err := hex.DecodeString(word)
		if err != nil {
			tb.Fatalf("wire %q: %v", wire, err)
		}
		out = append(out, b...)
	}
	return out
}

// cases is the table that drives decoding, encoding, single-byte reads and the
// fuzzers' seeds.
func cases() []testCase {
	return slices.Concat(connectCases(), connackCases(), publishCases(), propertyCases(), ackCases(),
		subscribeCases(), subackCases(), emptyCases(), authCases())
}

// asLists compares lists by what they hold, not by how it is laid out.
func asLists() cmp.Options {
	return cmp.Options{
		list(func(u packet.UserProperties) (all []any) {
			for name, value := range u.All() {
				all = append(all, string(name), string(value))
			}
			return all
		}),
		list(func(s packet.SubscriptionIDs) (all []any) {
			for id, rest, ok := s.Next(); ok; id, rest, ok = rest.Next() {
				all = append(all, id)
			}
			return all
		}),
		list(func(s packet.Subscriptions) (all []any) {
			for sub := range s.All() {
				all = append(all, sub)
			}
			return all
		}),
		list(func(f packet.Filters) (all []any) {
			for filter := range f.All() {
				all = append(all, string(filter))
			}
			return all
		}),
		cmp.FilterPath(isOf[[]byte], cmp.Comparer(bytes.Equal)),
		cmp.FilterPath(isOf[[]packet.ReasonCode], cmp.Comparer(slices.Equal[[]packet.ReasonCode])),
	}
}

// isOf tells whether a path ends in exactly this type.
func isOf[T any](p cmp.Path) bool { return p.Last().Type() == reflect.TypeFor[T]() }

func list[T any](hold func(T) []any) cmp.Option {
	return cmp.FilterPath(isOf[T], cmp.Transformer("list", hold))
}

// decode finds one packet in b and decodes it into p, or into a new packet of
// its type.
func decode(b []byte, v packet.Version, p codec) (codec, error) {
	first, body, n, err := packet.Next(b, 0)
	if err != nil {
		return nil, err
	}
	if n != len(b) {
		return nil, errors.New("not one whole packet")
	}
	if p == nil {
		p = newPacket(packet.TypeOf(first))
	}
	return p, p.Decode(v, first, body)
}

func (c testCase) check(t *testing.T, got codec, err error) {
	t.Helper()
	if c.want != nil {
		if err != nil {
			t.Fatalf("%s: %v", c.label(), err)
		}
		if diff := cmp.Diff(c.want, got, asLists()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.label(), diff)
		}
		return
	}
	var e *packet.Error
	if !errors.As(err, &e) {
		t.Fatalf("%s: error is %v, want %v [%s]", c.label(), err, c.reason, c.clause)
	}
	if e.Reason != c.reason || e.Clause != c.clause {
		t.Errorf("%s: error is %v, want %v [%s]", c.label(), err, c.reason, c.clause)
	}
}

func TestDecode(t *testing.T) {
	for _, c := range cases() {
		got, err := decode(raw(t, c.wire), c.version, nil)
		c.check(t, got, err)
	}
}

// TestDecodeReused decodes every packet into the struct that held the one
// before, valid or not: nothing of it may be left over.
func TestDecodeReused(t *testing.T) {
	var held [16]codec
	for i := range held {
		held[i] = newPacket(packet.Type(i))
	}
	all := cases()
	for range 2 {
		slices.Reverse(all)
		for _, c := range all {
			b := raw(t, c.wire)
			got, err := decode(b, c.version, held[packet.TypeOf(b[0])])
			c.check(t, got, err)
		}
	}
}

func TestEncode(t *testing.T) {
	for _, c := range cases() {
		if c.want == nil {
			continue
		}
		want := append([]byte("before"), raw(t, c.wire)...)
		got := c.want.AppendTo([]byte("before"), c.version)
		if !c.loose && !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", c.label(), got, want)
		}
		again, err := decode(got[len("before"):], c.version, nil)
		c.check(t, again, err)
	}
}

// TestNextByteByByte feeds every packet one byte at a time, with the next
// packet behind it.
func TestNextByteByByte(t *testing.T) {
	for _, c := range cases() {
		if c.want == nil {
			continue
		}
		b := raw(t, c.wire)
		for i := range b {
			if _, _, n, err := packet.Next(b[:i:i], 0); n != 0 || err != nil {
				t.Fatalf("%s, %d bytes: n = %d, error %v", c.label(), i, n, err)
			}
		}
		first, body, n, err := packet.Next(append(b, 0xc0, 0), 0)
		if n != len(b) || err != nil || first != b[0] || cap(body) != len(body) || !bytes.HasSuffix(b, body) {
			t.Errorf("%s: first %x, body %x (cap %d), n %d, error %v", c.label(), first, body, cap(body), n, err)
		}
	}
}

// TestTruncated cuts the body of every packet short without changing what the
// header says of its content.
func TestTruncated(t *testing.T) {
	for _, c := range cases() {
		b := raw(t, c.wire)
		first, body, n, _ := packet.Next(b, 0)
		if n == 0 {
			continue
		}
		for i := range body {
			p := newPacket(packet.TypeOf(first))
			if err := p.Decode(c.version, first, body[:i:i]); err != nil {
				wantError(t, err)
			}
		}
	}
}

func wantError(t *testing.T, err error) {
	t.Helper()
	var e *packet.Error
	if !errors.As(err, &e) || !e.Reason.IsError() || e.Clause == "" || e.Detail == "" {
		t.Fatalf("error without reason, clause or detail: %#v", err)
	}
}

func TestNext(t *testing.T) {
	tests := []struct {
		name, wire string
		limit, n   int
		reason     packet.ReasonCode
	}{
		{name: "nothing"},
		{name: "first byte", wire: "30"},
		{name: "length not all there", wire: "30 ff ff ff"},
		{name: "largest length", wire: "30 ff ff ff 7f"},
		{name: "length of five bytes", wire: "30 ff ff ff ff", reason: packet.MalformedPacket},
		{name: "padded length", wire: "c0 80 80 80 00", n: 5},
		{name: "length 128", wire: "30 80 01" + strings.Repeat(" 00", 128), n: 131},
		{name: "within the limit", wire: "40 02 00 01", limit: 4, n: 4},
		{name: "over the limit", wire: "40 02 00 01", limit: 3, reason: packet.PacketTooLarge},
		{name: "over the limit, known from the header", wire: "30 80 01", limit: 130, reason: packet.PacketTooLarge},
		{name: "type 0", wire: "00", reason: packet.MalformedPacket},
		{name: "QoS 3, known from the first byte", wire: "36", reason: packet.MalformedPacket},
		{name: "SUBSCRIBE without its flag", wire: "80", reason: packet.MalformedPacket},
		{name: "PUBREL sent again in 3.1", wire: "6a 02 00 01", n: 4},
		{name: "CONNECT with a flag", wire: "11", reason: packet.MalformedPacket},
	}
	for _, tt := range tests {
		_, body, n, err := packet.Next(raw(t, tt.wire), tt.limit)
		if n != tt.n || (err != nil) != (tt.reason != 0) || (n == 0) != (body == nil) {
			t.Errorf("%s: n = %d, body %x, error %v", tt.name, n, body, err)
		}
		var e *packet.Error
		if errors.As(err, &e) && e.Reason != tt.reason {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.reason)
		}
	}
}

func TestWrongType(t *testing.T) {
	for i := range packet.Type(16) {
		if i == 0 {
			continue
		}
		for first := range 256 {
			if packet.TypeOf(byte(first)) == i {
				continue
			}
			if err := newPacket(i).Decode(v5, byte(first), []byte{0, 1}); err == nil {
				t.Errorf("%v takes first byte %02x", i, first)
			}
		}
	}
}

// hugeString is longer than MQTT can say.
var hugeString = make([]byte, 1<<16)

func TestTooLongToEncode(t *testing.T) {
	defer func() {
		if s, _ := recover().(string); !strings.HasPrefix(s, "BUG: ") {
			t.Errorf("recovered %q", s)
		}
	}()
	(&packet.Publish{Topic: hugeString}).AppendTo(nil, v311)
}

func TestStrings(t *testing.T) {
	var got []string
	for _, v := range []packet.Version{v31, v311, v5, 6} {
		got = append(got, v.String())
	}
	got = append(got, packet.TypePubrel.String(), packet.Type(0).String(),
		(&packet.Error{Reason: packet.ProtocolError, Clause: "MQTT-3.1.0-2", Detail: "second CONNECT"}).Error())
	want := []string{"3.1", "3.1.1", "5.0", "level 6", "PUBREL", "reserved", "Protocol Error: second CONNECT [MQTT-3.1.0-2]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
