package packet_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/broker/packet"
)

func connectCases() []testCase {
	const head3, head31, head5 = "0004 'MQTT' 04", "0006 'MQIsdp' 03", "0004 'MQTT' 05"
	return []testCase{
		ok("least", v311, "10 0d "+head3+" 02 003c 0001 'a'",
			&packet.Connect{Version: v311, CleanStart: true, KeepAlive: 60, ClientID: []byte("a")}),
		ok("least", v31, "10 0f "+head31+" 02 003c 0001 'a'",
			&packet.Connect{Version: v31, CleanStart: true, KeepAlive: 60, ClientID: []byte("a")}),
		ok("least", v5, "10 0e "+head5+" 02 003c 00 0001 'a'",
			&packet.Connect{Version: v5, CleanStart: true, KeepAlive: 60, ClientID: []byte("a")}),
		ok("no client identifier", v311, "10 0c "+head3+" 02 0000 0000", &packet.Connect{Version: v311, CleanStart: true}),
		ok("will, user, password", v311, "10 1b "+head3+" f4 000a 0001 'a' 0002 'w/' 0001 01 0001 'u' 0002 0001", &packet.Connect{
			Version: v311, KeepAlive: 10, ClientID: []byte("a"),
			HasWill: true, Will: packet.Will{QoS: 2, Retain: true, Topic: []byte("w/"), Payload: []byte{1}},
			HasUserName: true, UserName: []byte("u"), HasPassword: true, Password: []byte{0, 1},
		}),
		ok("empty user and password", v311, "10 11 "+head3+" c2 0000 0001 'a' 0000 0000", &packet.Connect{
			Version: v311, CleanStart: true, ClientID: []byte("a"), HasUserName: true, HasPassword: true,
		}),
		ok("password alone", v5, "10 11 "+head5+" 40 0000 00 0001 'a' 0001 'p'", &packet.Connect{
			Version: v5, ClientID: []byte("a"), HasPassword: true, Password: []byte("p"),
		}),
		ok("all properties", v5, "10 48 "+head5+" 04 0001 24"+
			" 11 ffffffff 15 0001 'm' 16 0002 0001 17 00 19 01 21 0001 22 000a 26 0001 'k' 0001 'v' 27 00001000"+
			" 0001 'a' 10 01 01 02 00000002 08 0001 'r' 18 00000003 0001 't' 0000", &packet.Connect{
			Version: v5, KeepAlive: 1, ClientID: []byte("a"),
			Properties: packet.Properties{
				Present: packet.PropSessionExpiry | packet.PropAuthMethod | packet.PropAuthData |
					packet.PropRequestProblemInfo | packet.PropRequestResponseInfo | packet.PropReceiveMaximum |
					packet.PropTopicAliasMaximum | packet.PropUser | packet.PropMaximumPacketSize,
				SessionExpiry: 0xffffffff, AuthMethod: []byte("m"), AuthData: []byte{0, 1}, RequestResponseInfo: 1,
				ReceiveMaximum: 1, TopicAliasMaximum: 10, User: packet.AppendUser(nil, "k", "v"), MaximumPacketSize: 4096,
			},
			HasWill: true, Will: packet.Will{Topic: []byte("t"), Properties: packet.Properties{
				Present: packet.PropPayloadFormat | packet.PropMessageExpiry | packet.PropResponseTopic |
					packet.PropWillDelay,
				PayloadFormat: 1, MessageExpiry: 2, WillDelay: 3, ResponseTopic: []byte("r"),
			}},
		}),
		loose("user name flag without a user name", v31, "10 0f "+head31+" c2 003c 0001 'a'",
			&packet.Connect{Version: v31, CleanStart: true, KeepAlive: 60, ClientID: []byte("a")}),
		loose("bits without a meaning", v31, "10 0f "+head31+" 3b 003c 0001 'a'",
			&packet.Connect{Version: v31, CleanStart: true, KeepAlive: 60, ClientID: []byte("a")}),

		bad("protocol name", v311, "10 0d 0004 'MQTP' 04 02 003c 0001 'a'", packet.UnsupportedProtocolVersion, "MQTT-3.1.2-1"),
		bad("level 6", v5, "10 0d 0004 'MQTT' 06 02 003c 0001 'a'", packet.UnsupportedProtocolVersion, "MQTT-3.1.2-2"),
		bad("level 3 named MQTT", v31, "10 0d 0004 'MQTT' 03 02 003c 0001 'a'", packet.UnsupportedProtocolVersion, "MQTT-3.1.2-2"),
		bad("level 4 named MQIsdp", v311, "10 0f 0006 'MQIsdp' 04 02 003c 0001 'a'", packet.UnsupportedProtocolVersion, "MQTT-3.1.2-2"),
		bad("no level", v311, "10 06 0004 'MQTT'", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("nothing", v311, "10 00", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("header flag", v311, "12 00", packet.MalformedPacket, "MQTT-2.1.3-1"),
		bad("reserved flag", v311, "10 0d "+head3+" 03 003c 0001 'a'", packet.MalformedPacket, "MQTT-3.1.2-3"),
		bad("will QoS 3", v311, "10 0d "+head3+" 1c 003c 0001 'a'", packet.MalformedPacket, "MQTT-3.1.2-14"),
		bad("will QoS 3", v5, "10 0e "+head5+" 1c 003c 00 0001 'a'", packet.MalformedPacket, "MQTT-3.1.2-12"),
		bad("will QoS 3", v31, "10 0f "+head31+" 1c 003c 0001 'a'", packet.MalformedPacket, "MQTT-3.1.2-14"),
		bad("will QoS without will", v311, "10 0d "+head3+" 08 003c 0001 'a'", packet.MalformedPacket, "MQTT-3.1.2-13"),
		bad("will QoS without will", v5, "10 0e "+head5+" 08 003c 00 0001 'a'", packet.MalformedPacket, "MQTT-3.1.2-11"),
		bad("will retain without will", v311, "10 0d "+head3+" 20 003c 0001 'a'", packet.MalformedPacket, "MQTT-3.1.2-15"),
		bad("will retain without will", v5, "10 0e "+head5+" 20 003c 00 0001 'a'", packet.MalformedPacket, "MQTT-3.1.2-13"),
		bad("password without user name", v311, "10 10 "+head3+" 40 003c 0001 'a' 0001 'p'", packet.MalformedPacket, "MQTT-3.1.2-22"),
		bad("client identifier with NUL", v311, "10 0d "+head3+" 02 003c 0001 00", packet.MalformedPacket, "MQTT-1.5.3-2"),
		bad("client identifier with a surrogate", v5, "10 10 "+head5+" 02 003c 00 0003 eda080", packet.MalformedPacket, "MQTT-1.5.4-1"),
		bad("user name not UTF-8", v311, "10 10 "+head3+" 82 003c 0001 'a' 0001 ff", packet.MalformedPacket, "MQTT-1.5.3-1"),
		bad("will topic with a wildcard", v311, "10 12 "+head3+" 04 003c 0001 'a' 0001 '#' 0000", packet.TopicNameInvalid, "MQTT-3.3.2-2"),
		bad("will topic empty", v311, "10 11 "+head3+" 04 003c 0001 'a' 0000 0000", packet.ProtocolError, "MQTT-4.7.3-1"),
		bad("user name cut short", v311, "10 0f "+head3+" 82 003c 0001 'a' 0001", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("user name missing", v311, "10 0d "+head3+" 82 003c 0001 'a'", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("user name cut short", v31, "10 10 "+head31+" 82 003c 0001 'a' 00", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("trailing byte", v311, "10 0e "+head3+" 02 003c 0001 'a' 00", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("receive maximum 0", v5, "10 11 "+head5+" 02 003c 03 21 0000 0001 'a'", packet.ProtocolError, "MQTT 5.0 3.1.2.11.3"),
		bad("maximum packet size 0", v5, "10 13 "+head5+" 02 003c 05 27 00000000 0001 'a'", packet.ProtocolError, "MQTT 5.0 3.1.2.11.4"),
		bad("problem information 2", v5, "10 10 "+head5+" 02 003c 02 17 02 0001 'a'", packet.ProtocolError, "MQTT 5.0 2.2.2.2"),
		bad("data without method", v5, "10 12 "+head5+" 02 003c 04 16 0001 00 0001 'a'", packet.ProtocolError, "MQTT 5.0 3.1.2.11.10"),
		bad("property of PUBLISH", v5, "10 10 "+head5+" 02 003c 02 01 01 0001 'a'", packet.MalformedPacket, "MQTT 5.0 2.2.2.2"),
		bad("will property in CONNECT", v5, "10 13 "+head5+" 02 003c 05 18 00000001 0001 'a'", packet.MalformedPacket, "MQTT 5.0 2.2.2.2"),
		bad("CONNECT property in the will", v5, "10 17 "+head5+" 04 003c 00 0001 'a' 03 21 0001 0001 't' 0000", packet.MalformedPacket, "MQTT 5.0 2.2.2.2"),
	}
}

func connackCases() []testCase {
	return []testCase{
		ok("accepted", v31, "20 02 00 00", &packet.Connack{}),
		ok("accepted", v311, "20 02 01 00", &packet.Connack{SessionPresent: true}),
		ok("accepted", v5, "20 03 01 00 00", &packet.Connack{SessionPresent: true}),
		ok("version", v311, "20 02 00 01", &packet.Connack{Reason: packet.UnsupportedProtocolVersion}),
		ok("identifier", v311, "20 02 00 02", &packet.Connack{Reason: packet.ClientIdentifierNotValid}),
		ok("server unavailable", v311, "20 02 00 03", &packet.Connack{Reason: packet.ServerUnavailable}),
		ok("bad password", v311, "20 02 00 04", &packet.Connack{Reason: packet.BadUserNameOrPassword}),
		ok("not authorized", v31, "20 02 00 05", &packet.Connack{Reason: packet.NotAuthorized}),
		ok("version", v5, "20 03 00 84 00", &packet.Connack{Reason: packet.UnsupportedProtocolVersion}),
		loose("flags mean nothing", v31, "20 02 ff 00", &packet.Connack{}),
		ok("all properties", v5, "20 3c 00 00 39 11 00000001 12 0001 'c' 13 000a 15 0001 'm' 16 0000 1a 0001 'i' 1c 0001 's'"+
			" 1f 0001 'r' 21 0014 22 0005 24 01 25 00 26 0000 0000 27 00000100 28 00 29 00 2a 00", &packet.Connack{
			Properties: packet.Properties{
				Present: packet.PropSessionExpiry | packet.PropAssignedClientID | packet.PropServerKeepAlive |
					packet.PropAuthMethod | packet.PropAuthData | packet.PropResponseInfo | packet.PropServerReference |
					packet.PropReasonString | packet.PropReceiveMaximum | packet.PropTopicAliasMaximum |
					packet.PropMaximumQoS | packet.PropRetainAvailable | packet.PropUser | packet.PropMaximumPacketSize |
					packet.PropWildcardSubAvailable | packet.PropSubscriptionIDAvailable | packet.PropSharedSubAvailable,
				SessionExpiry: 1, AssignedClientID: []byte("c"), ServerKeepAlive: 10, AuthMethod: []byte("m"),
				ResponseInfo: []byte("i"), ServerReference: []byte("s"), ReasonString: []byte("r"), ReceiveMaximum: 20,
				TopicAliasMaximum: 5, MaximumQoS: 1, User: packet.AppendUser(nil, "", ""), MaximumPacketSize: 256,
			},
		}),
		bad("reserved flag", v311, "20 02 02 00", packet.MalformedPacket, "MQTT-3.2.2-1"),
		bad("session in a refusal", v311, "20 02 01 05", packet.ProtocolError, "MQTT-3.2.2-4"),
		bad("session in a refusal", v5, "20 03 01 87 00", packet.ProtocolError, "MQTT-3.2.2-6"),
		bad("return code 6", v311, "20 02 00 06", packet.MalformedPacket, "MQTT 3.1.1 3.2.2.3"),
		bad("reason of PUBACK", v5, "20 03 00 10 00", packet.ProtocolError, "MQTT 5.0 2.4"),
		bad("trailing byte", v311, "20 03 00 00 00", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("properties missing", v5, "20 02 00 00", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("maximum QoS 2", v5, "20 05 00 00 02 24 02", packet.ProtocolError, "MQTT 5.0 2.2.2.2"),
	}
}

// TestRefusal shows how a CONNECT that Decode refuses is answered.
func TestRefusal(t *testing.T) {
	tests := []struct{ name, wire, answer string }{
		{"level 6", "10 0d 0004 'MQTT' 06 02 003c 0001 'a'", "20 03 00 84 00"},
		{"level 3 named MQTT", "10 0d 0004 'MQTT' 03 02 003c 0001 'a'", "20 02 00 01"},
		{"level 5 named MQIsdp", "10 0d 0006 'MQIsdp' 05 02 003c 00", "20 03 00 84 00"},
		{"bridge to 3.1.1", "10 0d 0004 'MQTT' 84 02 003c 0001 'a'", "20 02 00 01"},
		{"bridge to 5.0", "10 0d 0004 'MQTT' 85 02 003c 0001 'a'", "20 03 00 84 00"},
		{"not MQTT", "10 0d 0004 'HTTP' 04 02 003c 0001 'a'", ""},
		{"malformed 3.1.1", "10 0d 0004 'MQTT' 04 03 003c 0001 'a'", ""},
		{"malformed 5.0", "10 0e 0004 'MQTT' 05 03 003c 00 0001 'a'", "20 03 00 81 00"},
		{"wildcard in the will topic, 5.0", "10 14 0004 'MQTT' 05 04 003c 00 0001 'a' 00 0001 '+' 0000", "20 03 00 90 00"},
	}
	for _, tt := range tests {
		c := &packet.Connect{}
		_, err := decode(raw(t, tt.wire), 0, c)
		if err == nil {
			t.Fatalf("%s: not refused", tt.name)
		}
		var got []byte
		if answer, v, ok := c.Refusal(err); ok {
			got = answer.AppendTo(nil, v)
		}
		if diff := cmp.Diff(string(raw(t, tt.answer)), string(got)); diff != "" {
			t.Errorf("%s (%v): %s", tt.name, err, diff)
		}
	}
	if _, _, ok := (&packet.Connect{Version: v5}).Refusal(errors.New("another")); ok {
		t.Error("an error of another kind is answered")
	}
}

func TestConnackReturnCodes(t *testing.T) {
	for reason, want := range map[packet.ReasonCode]byte{
		packet.Success: 0, packet.UnsupportedProtocolVersion: 1, packet.ClientIdentifierNotValid: 2,
		packet.ServerBusy: 3, packet.QuotaExceeded: 3, packet.BadAuthenticationMethod: 4, packet.Banned: 5,
	} {
		got := (&packet.Connack{SessionPresent: true, Reason: reason}).AppendTo(nil, v311)
		present := byte(0)
		if reason == packet.Success {
			present = 1
		}
		if diff := cmp.Diff([]byte{0x20, 2, present, want}, got); diff != "" {
			t.Errorf("%v: %s", reason, diff)
		}
	}
}
