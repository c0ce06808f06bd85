package packet_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/broker/packet"
)

// propertyCases are the rules of the property block, shown in PUBLISH.
func propertyCases() []testCase {
	return []testCase{
		bad("unknown property", v5, "30 06 0001 't' 02 04 00", packet.MalformedPacket, "MQTT 5.0 2.2.2.2"),
		bad("property beyond 63", v5, "30 06 0001 't' 02 41 00", packet.MalformedPacket, "MQTT 5.0 2.2.2.2"),
		bad("property of two bytes", v5, "30 07 0001 't' 03 8100 00", packet.MalformedPacket, "MQTT 5.0 2.2.2.2"),
		bad("property of CONNECT", v5, "30 09 0001 't' 05 11 00000001", packet.MalformedPacket, "MQTT 5.0 2.2.2.2"),
		bad("property twice", v5, "30 08 0001 't' 04 01 01 01 01", packet.ProtocolError, "MQTT 5.0 2.2.2.2"),
		bad("payload format 2", v5, "30 06 0001 't' 02 01 02", packet.ProtocolError, "MQTT 5.0 2.2.2.2"),
		bad("length beyond the packet", v5, "30 06 0001 't' 03 01 01", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("length of five bytes", v5, "30 08 0001 't' 80808080 00", packet.MalformedPacket, "MQTT-1.5.5-1"),
		bad("padded length", v5, "30 05 0001 't' 8000", packet.MalformedPacket, "MQTT-1.5.5-1"),
		bad("length not all there", v5, "30 04 0001 't' 80", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("value cut short", v5, "30 08 0001 't' 04 02 000000", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("text beyond the block", v5, "30 0a 0001 't' 04 03 0002 'a' 'bc'", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("text not UTF-8", v5, "30 08 0001 't' 04 03 0001 80", packet.MalformedPacket, "MQTT-1.5.4-1"),
		bad("response topic with a wildcard", v5, "30 08 0001 't' 04 08 0001 '+'", packet.TopicNameInvalid, "MQTT-3.3.2-14"),
		bad("response topic empty", v5, "30 07 0001 't' 03 08 0000", packet.ProtocolError, "MQTT-4.7.3-1"),
		bad("user property without value", v5, "30 08 0001 't' 04 26 0001 'a'", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("user name with NUL", v5, "30 0a 0001 't' 06 26 0001 00 0000", packet.MalformedPacket, "MQTT-1.5.4-2"),
		bad("user value not UTF-8", v5, "30 0a 0001 't' 06 26 0000 0001 ff", packet.MalformedPacket, "MQTT-1.5.4-1"),
		bad("subscription identifier 0", v5, "30 06 0001 't' 02 0b 00", packet.ProtocolError, "MQTT 5.0 3.8.2.1.2"),
		bad("subscription identifier padded", v5, "30 07 0001 't' 03 0b 8100", packet.MalformedPacket, "MQTT-1.5.5-1"),
		bad("subscription identifier of five bytes", v5, "30 0a 0001 't' 06 0b ffffffff 01", packet.MalformedPacket, "MQTT-1.5.5-1"),
		bad("subscription identifier twice in SUBSCRIBE", v5, "82 0b 0001 04 0b 01 0b 02 0001 'a' 00", packet.ProtocolError, "MQTT 5.0 2.2.2.2"),
	}
}

// TestPropertyCarriers walks MQTT 5.0 table 2-4: every property in every
// packet and in the will, with a valid value.
func TestPropertyCarriers(t *testing.T) {
	values := map[byte]string{
		1: "01", 2: "00000001", 3: "0001 'a'", 8: "0001 'a'", 9: "0001 'a'", 11: "01", 17: "00000001",
		18: "0001 'a'", 19: "0001", 21: "0001 'a'", 22: "0001 'a' 15 0001 'a'", 23: "01", 24: "00000001",
		25: "01", 26: "0001 'a'", 28: "0001 'a'", 31: "0001 'a'", 33: "0001", 34: "0001", 35: "0001", 36: "01",
		37: "01", 38: "0001 'a' 0001 'b'", 39: "00000001", 40: "01", 41: "01", 42: "01",
	}
	want := map[string]string{
		"CONNECT":   "17 21 22 23 25 33 34 38 39",
		"Will":      "1 2 3 8 9 24 38",
		"CONNACK":   "17 18 19 21 22 26 28 31 33 34 36 37 38 39 40 41 42",
		"PUBLISH":   "1 2 3 8 9 11 35 38",
		"PUBACK":    "31 38",
		"PUBREC":    "31 38",
		"PUBREL":    "31 38",
		"PUBCOMP":   "31 38",
		"SUBSCRIBE": "11 38",
		"SUBACK":    "31 38", "UNSUBSCRIBE": "38", "UNSUBACK": "31 38",
		"DISCONNECT": "17 28 31 38",
		"AUTH":       "21 22 31 38",
	}
	// What stands before and behind the property block in each packet.
	frames := map[string][3]string{
		"CONNECT": {"10", "0004 'MQTT' 05 02 0000", "0000"}, "Will": {"10", "0004 'MQTT' 05 06 0000 00 0000", "0001 't' 0000"},
		"CONNACK": {"20", "00 00"}, "PUBLISH": {"30", "0001 't'"}, "PUBACK": {"40", "0001 00"}, "PUBREC": {"50", "0001 00"},
		"PUBREL": {"62", "0001 00"}, "PUBCOMP": {"70", "0001 00"}, "SUBSCRIBE": {"82", "0001", "0001 'a' 00"},
		"SUBACK": {"90", "0001", "00"}, "UNSUBSCRIBE": {"a2", "0001", "0001 'a'"}, "UNSUBACK": {"b0", "0001", "00"},
		"DISCONNECT": {"e0", "00"}, "AUTH": {"f0", "00"},
	}
	for name, f := range frames {
		var got []string
		for id := range 64 {
			block := append([]byte{byte(id)}, raw(t, values[byte(id)])...)
			body := append(raw(t, f[1]), byte(len(block)))
			body = append(append(body, block...), raw(t, f[2])...)
			first := raw(t, f[0])[0]
			if newPacket(packet.TypeOf(first)).Decode(v5, first, body) == nil {
				got = append(got, strconv.Itoa(id))
			}
		}
		if diff := cmp.Diff(want[name], strings.Join(got, " ")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestPropertiesSet(t *testing.T) {
	var p packet.Properties
	p.ReceiveMaximum = 5
	p.Add(packet.PropReceiveMaximum | packet.PropUser)
	if !p.Has(packet.PropReceiveMaximum) || p.Has(packet.PropReceiveMaximum|packet.PropTopicAlias) {
		t.Errorf("present: %x", p.Present)
	}
	p.Remove(packet.PropUser)
	if p.Present != packet.PropReceiveMaximum {
		t.Errorf("present: %x", p.Present)
	}
	p.Reset()
	if p.Present != 0 || p.ReceiveMaximum != 0 {
		t.Errorf("not empty: %+v", p)
	}
}

// TestListsOfGarbage shows that the iterators end where the bytes make no
// sense any more: a sender may have put anything there.
func TestListsOfGarbage(t *testing.T) {
	for _, wire := range []string{"", "26", "26 ff", "26 0001 'a' ff", "04 00", "ff ff", "0b 80", "0b", "02 00", "26 0001 'a' 0002 'b'"} {
		b := raw(t, wire)
		if _, _, _, ok := packet.UserProperties(b).Next(); ok {
			t.Errorf("%q holds a user property", wire)
		}
		if packet.SubscriptionIDs(b).First() != 0 {
			t.Errorf("%q holds a subscription identifier", wire)
		}
	}
	for _, wire := range []string{"", "00", "0001", "0002 'a'"} {
		if _, _, ok := packet.Filters(raw(t, wire)).Next(); ok {
			t.Errorf("%q holds a filter", wire)
		}
		if _, _, ok := packet.Subscriptions(raw(t, wire)).Next(); ok {
			t.Errorf("%q holds a subscription", wire)
		}
	}
}

func TestListsStopEarly(t *testing.T) {
	users := packet.AppendUser(packet.AppendUser(nil, "a", "1"), "b", "2")
	filters := packet.AppendFilter(packet.AppendFilter(nil, "a"), "b")
	subs := packet.AppendSubscription(packet.AppendSubscription(nil, packet.Subscription{}), packet.Subscription{})
	n := 0
	for range users.All() {
		n++
		break
	}
	for range filters.All() {
		n++
		break
	}
	for range subs.All() {
		n++
		break
	}
	if n != 3 {
		t.Errorf("%d rounds, want 3", n)
	}
}
