package packet_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/broker/packet"
)

// ackCases are the same four times over, but for the reason codes.
func ackCases() []testCase {
	reason := packet.Properties{Present: packet.PropReasonString, ReasonString: []byte("no")}
	type body struct {
		ID         uint16
		Reason     packet.ReasonCode
		Properties packet.Properties
	}
	kinds := []struct {
		first  string
		failed packet.ReasonCode
		make   func(b body) codec
	}{
		{"40", packet.NotAuthorized, func(b body) codec { p := packet.Puback(b); return &p }},
		{"50", packet.QuotaExceeded, func(b body) codec { p := packet.Pubrec(b); return &p }},
		{"62", packet.PacketIdentifierNotFound, func(b body) codec { p := packet.Pubrel(b); return &p }},
		{"70", packet.PacketIdentifierNotFound, func(b body) codec { p := packet.Pubcomp(b); return &p }},
	}
	var all []testCase
	for _, k := range kinds {
		failed := fmt.Sprintf("%02x", byte(k.failed))
		all = append(all,
			ok("ack "+k.first, v31, k.first+" 02 0102", k.make(body{ID: 0x102})),
			ok("ack "+k.first, v311, k.first+" 02 ffff", k.make(body{ID: 0xffff})),
			ok("ack "+k.first, v5, k.first+" 02 0001", k.make(body{ID: 1})),
			loose("ack with success "+k.first, v5, k.first+" 03 0001 00", k.make(body{ID: 1})),
			loose("ack with no properties "+k.first, v5, k.first+" 04 0001 00 00", k.make(body{ID: 1})),
			ok("ack with a reason "+k.first, v5, k.first+" 03 0001 "+failed, k.make(body{ID: 1, Reason: k.failed})),
			ok("ack with properties "+k.first, v5, k.first+" 09 0001 "+failed+" 05 1f 0002 'no'",
				k.make(body{ID: 1, Reason: k.failed, Properties: reason})),
			bad("ack identifier 0 "+k.first, v311, k.first+" 02 0000", packet.ProtocolError, "MQTT-2.3.1-1"),
			bad("ack cut short "+k.first, v311, k.first+" 01 00", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
			bad("ack with more "+k.first, v311, k.first+" 03 0001 00", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
			bad("ack with more "+k.first, v5, k.first+" 05 0001 00 00 00", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
			bad("ack with a foreign reason "+k.first, v5, k.first+" 03 0001 8d", packet.ProtocolError, "MQTT 5.0 2.4"),
			bad("ack with an unknown reason "+k.first, v5, k.first+" 03 0001 ff", packet.ProtocolError, "MQTT 5.0 2.4"),
		)
	}
	return append(all,
		loose("PUBREL again", v31, "6a 02 0001", &packet.Pubrel{ID: 1}),
		bad("PUBREL again", v311, "6a 02 0001", packet.MalformedPacket, "MQTT-2.2.2-1"),
		bad("PUBREL again", v5, "6a 02 0001", packet.MalformedPacket, "MQTT-2.1.3-1"))
}

func TestAppendAck(t *testing.T) {
	for _, p := range []codec{&packet.Puback{ID: 258}, &packet.Pubrec{ID: 258}, &packet.Pubrel{ID: 258}, &packet.Pubcomp{ID: 258}} {
		want := p.AppendTo(nil, v5)
		if got := packet.AppendAck(nil, packet.TypeOf(want[0]), 258); !bytes.Equal(got, want) {
			t.Errorf("%x, want %x", got, want)
		}
	}
}

// TestReasonCarriers walks MQTT 5.0 table 2-6, written down by packet here and
// by code in the package.
func TestReasonCarriers(t *testing.T) {
	want := map[packet.Type]string{
		packet.TypeConnack:    "00 80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f",
		packet.TypePuback:     "00 10 80 83 87 90 91 97 99",
		packet.TypePubrec:     "00 10 80 83 87 90 91 97 99",
		packet.TypePubrel:     "00 92",
		packet.TypePubcomp:    "00 92",
		packet.TypeSuback:     "00 01 02 80 83 87 8f 91 97 9e a1 a2",
		packet.TypeUnsuback:   "00 11 80 83 87 8f 91",
		packet.TypeDisconnect: "00 04 80 81 82 83 87 89 8b 8c 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2",
		packet.TypeAuth:       "00 18 19",
	}
	var named int
	for code := range 256 {
		r := packet.ReasonCode(code)
		carried := false
		for i := range packet.Type(16) {
			in := slices.Contains(raw(t, want[i]), byte(code))
			carried = carried || in
			if r.In(i) != in {
				t.Errorf("%v in %v: %v", r, i, r.In(i))
			}
		}
		unnamed := fmt.Sprintf("Reason Code 0x%x", code)
		if carried == (r.String() == unnamed) {
			t.Errorf("name of %#x: %v", code, r)
		}
		if carried {
			named++
		}
	}
	if diff := cmp.Diff(43, named); diff != "" {
		t.Error(diff)
	}
}
