package packet_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/penstock/penstock/broker/packet"
)

func publishCases() []testCase {
	long := strings.Repeat("x", 200)
	return []testCase{
		ok("QoS 0", v31, "30 05 0003 'a/b'", &packet.Publish{Topic: []byte("a/b")}),
		ok("QoS 0", v311, "30 07 0003 'a/b' 'hi'", &packet.Publish{Topic: []byte("a/b"), Payload: []byte("hi")}),
		ok("QoS 1", v311, "32 06 0001 't' 000a 00", &packet.Publish{QoS: 1, Topic: []byte("t"), ID: 10, Payload: []byte{0}}),
		ok("QoS 2, again, retained", v311, "3d 05 0001 't' ffff", &packet.Publish{Dup: true, QoS: 2, Retain: true, Topic: []byte("t"), ID: 0xffff}),
		ok("200 bytes", v311, "30 cb01 0001 't' '"+long+"'", &packet.Publish{Topic: []byte("t"), Payload: []byte(long)}),
		ok("no properties", v5, "32 07 0001 't' 000a 00 'p'", &packet.Publish{QoS: 1, Topic: []byte("t"), ID: 10, Payload: []byte("p")}),
		ok("no topic but an alias", v5, "30 06 0000 03 23 0001", &packet.Publish{
			Properties: packet.Properties{Present: packet.PropTopicAlias, TopicAlias: 1},
		}),
		ok("topic beyond ASCII", v311, "30 11 000b 'größe/€' f48fbfbf", &packet.Publish{
			Topic: []byte("größe/€"), Payload: []byte{0xf4, 0x8f, 0xbf, 0xbf},
		}),
		ok("all properties", v5, "33 36 0001 't' 0001 2d 01 01 02 0000003c 03 0002 'ct' 08 0003 'r/t' 09 0001 00"+
			" 0b 01 0b 8001 23 0003 26 0001 'a' 0001 'b' 26 0001 'a' 0002 'ab' 'pay'", allPublishProperties()),
		loose("user properties between others", v5, "33 36 0001 't' 0001 2d 26 0001 'a' 0001 'b' 0b 01 01 01 02 0000003c"+
			" 03 0002 'ct' 08 0003 'r/t' 0b 8001 23 0003 26 0001 'a' 0002 'ab' 09 0001 00 'pay'", allPublishProperties()),
		ok("property length of two bytes", v5, "30 d5 01 0001 't' d0 01 03 00cd '"+long+"' '12345'", &packet.Publish{
			Topic: []byte("t"), Payload: nil,
			Properties: packet.Properties{Present: packet.PropContentType, ContentType: []byte(long + "12345")},
		}),

		bad("QoS 3", v311, "36 05 0001 't' 0001", packet.MalformedPacket, "MQTT-3.3.1-4"),
		bad("DUP at QoS 0", v311, "38 03 0001 't'", packet.MalformedPacket, "MQTT-3.3.1-2"),
		bad("no body", v311, "30 00", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("topic cut short", v311, "30 03 0002 't'", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("no identifier", v311, "32 04 0001 't' 00", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("identifier 0", v311, "32 05 0001 't' 0000", packet.ProtocolError, "MQTT-2.3.1-1"),
		bad("identifier 0", v5, "34 06 0001 't' 0000 00", packet.ProtocolError, "MQTT-2.2.1-3"),
		bad("topic with +", v311, "30 05 0003 'a/+'", packet.TopicNameInvalid, "MQTT-3.3.2-2"),
		bad("topic with #", v5, "30 0c 0009 'aaaaaaaa#' 00", packet.TopicNameInvalid, "MQTT-3.3.2-2"),
		bad("topic with NUL", v5, "30 06 0003 610061 00", packet.MalformedPacket, "MQTT-1.5.4-2"),
		bad("topic with NUL in eight", v311, "30 0a 0008 'aaa' 00 'aaaa'", packet.MalformedPacket, "MQTT-1.5.3-2"),
		bad("topic not UTF-8", v311, "30 04 0002 c080", packet.MalformedPacket, "MQTT-1.5.3-1"),
		bad("topic with a surrogate", v5, "30 06 0003 eda080 00", packet.MalformedPacket, "MQTT-1.5.4-1"),
		bad("topic empty", v311, "30 02 0000", packet.ProtocolError, "MQTT-4.7.3-1"),
		bad("topic empty, no alias", v5, "30 03 0000 00", packet.ProtocolError, "MQTT 5.0 3.3.2.1"),
		bad("alias 0", v5, "30 06 0000 03 23 0000", packet.TopicAliasInvalid, "MQTT-3.3.2-8"),
		bad("no property length", v5, "30 03 0001 't'", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
	}
}

func allPublishProperties() *packet.Publish {
	p := packet.Properties{
		Present: packet.PropPayloadFormat | packet.PropMessageExpiry | packet.PropContentType | packet.PropResponseTopic |
			packet.PropCorrelationData | packet.PropSubscriptionID | packet.PropTopicAlias | packet.PropUser,
		PayloadFormat: 1, MessageExpiry: 60, ContentType: []byte("ct"), ResponseTopic: []byte("r/t"),
		CorrelationData: []byte{0}, TopicAlias: 3,
		SubscriptionIDs: packet.AppendSubscriptionID(packet.AppendSubscriptionID(nil, 1), 128),
		User:            packet.AppendUser(packet.AppendUser(nil, "a", "b"), "a", "ab"),
	}
	return &packet.Publish{QoS: 1, Retain: true, Topic: []byte("t"), ID: 1, Properties: p, Payload: []byte("pay")}
}

func TestPublishFromClient(t *testing.T) {
	p := allPublishProperties()
	if err := p.FromClient(); err == nil {
		t.Error("a client may send a subscription identifier [MQTT-3.3.4-6]")
	} else {
		wantError(t, err)
	}
	p.Properties.Remove(packet.PropSubscriptionID)
	if err := p.FromClient(); err != nil {
		t.Error(err)
	}
	if again, err := decode(p.AppendTo(nil, v5), v5, nil); err != nil || again.(*packet.Publish).FromClient() != nil {
		t.Error("a removed property was written")
	}
}

// TestTopicText compares the check of topic names, eight bytes at a time, with
// the plain one, for every byte at every place.
func TestTopicText(t *testing.T) {
	for size := range 18 {
		for place := range size {
			for c := range 256 {
				topic := bytes.Repeat([]byte{'a'}, size)
				topic[place] = byte(c)
				checkTopic(t, topic)
			}
		}
	}
}

func checkTopic(t *testing.T, topic []byte) {
	t.Helper()
	p := packet.Publish{Topic: topic}
	want := len(topic) > 0 && utf8.Valid(topic) && !bytes.ContainsAny(topic, "+#\x00")
	_, err := decode(p.AppendTo(nil, v311), v311, nil)
	if (err == nil) != want {
		t.Fatalf("topic %q: %v", topic, err)
	}
}

// TestHotPathAllocates holds the promise that a message and its
// acknowledgements are decoded and written without an allocation.
func TestHotPathAllocates(t *testing.T) {
	var p packet.Publish
	var ack packet.Puback
	var ping packet.Pingreq
	var sub packet.Subscribe
	full := allPublishProperties().AppendTo(nil, v5)
	acked := (&packet.Puback{ID: 1, Reason: packet.NotAuthorized}).AppendTo(nil, v5)
	subscribed := raw(t, "82 09 0001 00 0003 'a/#' 01")
	out := make([]byte, 0, 1024)
	users := 0
	got := testing.AllocsPerRun(100, func() {
		first, body, _, err := packet.Next(full, 0)
		if err != nil || p.Decode(v5, first, body) != nil {
			panic("PUBLISH refused")
		}
		for range p.Properties.User.All() {
			users++
		}
		if ack.Decode(v5, acked[0], acked[2:]) != nil || ping.Decode(v5, 0xc0, nil) != nil ||
			sub.Decode(v5, subscribed[0], subscribed[2:]) != nil {
			panic("refused")
		}
		for s := range sub.Subscriptions.All() {
			users += int(s.QoS)
		}
		out = p.AppendTo(out[:0], v5)
		out = ack.AppendTo(out, v5)
		out = packet.AppendAck(out, packet.TypePubrec, 7)
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}
