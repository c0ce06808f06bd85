package packet_test

import (
	"testing"

	"github.com/penstock/penstock/broker/packet"
)

func emptyCases() []testCase {
	return []testCase{
		ok("ping", v31, "c0 00", &packet.Pingreq{}),
		ok("ping", v5, "c0 00", &packet.Pingreq{}),
		ok("pong", v311, "d0 00", &packet.Pingresp{}),
		bad("ping with a body", v5, "c0 01 00", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("pong with a flag", v5, "d1 00", packet.MalformedPacket, "MQTT-2.1.3-1"),

		ok("disconnect", v31, "e0 00", &packet.Disconnect{}),
		ok("disconnect", v311, "e0 00", &packet.Disconnect{}),
		ok("disconnect", v5, "e0 00", &packet.Disconnect{}),
		loose("disconnect with success", v5, "e0 01 00", &packet.Disconnect{}),
		ok("disconnect with will", v5, "e0 01 04", &packet.Disconnect{Reason: packet.DisconnectWithWillMessage}),
		ok("disconnect with properties", v5, "e0 16 8e 14 11 00000000 1c 0001 's' 1f 0001 'r' 26 0001 'k' 0001 'v'", &packet.Disconnect{
			Reason: packet.SessionTakenOver,
			Properties: packet.Properties{
				Present:         packet.PropSessionExpiry | packet.PropServerReference | packet.PropReasonString | packet.PropUser,
				ServerReference: []byte("s"), ReasonString: []byte("r"), User: packet.AppendUser(nil, "k", "v"),
			},
		}),
		bad("disconnect with a reason", v311, "e0 01 00", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("disconnect with a foreign reason", v5, "e0 01 01", packet.ProtocolError, "MQTT 5.0 2.4"),
		bad("disconnect with more", v5, "e0 03 00 00 00", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
	}
}

func authCases() []testCase {
	method := packet.Properties{Present: packet.PropAuthMethod, AuthMethod: []byte("m")}
	return []testCase{
		ok("auth", v5, "f0 00", &packet.Auth{}),
		loose("auth with no properties", v5, "f0 02 00 00", &packet.Auth{}),
		ok("auth goes on", v5, "f0 06 18 04 15 0001 'm'", &packet.Auth{Reason: packet.ContinueAuthentication, Properties: method}),
		ok("auth again", v5, "f0 06 19 04 15 0001 'm'", &packet.Auth{Reason: packet.ReAuthenticate, Properties: method}),
		bad("auth", v311, "f0 00", packet.MalformedPacket, "MQTT 3.1.1 2.2.1"),
		bad("auth without a method", v5, "f0 02 18 00", packet.ProtocolError, "MQTT 5.0 3.15.2.2.2"),
		bad("auth without a property length", v5, "f0 01 18", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("auth with a foreign reason", v5, "f0 06 87 04 15 0001 'm'", packet.ProtocolError, "MQTT 5.0 2.4"),
		bad("auth with a flag", v5, "f2 00", packet.MalformedPacket, "MQTT-2.1.3-1"),
	}
}

func TestDisconnectFromClient(t *testing.T) {
	reference := packet.Properties{Present: packet.PropServerReference}
	for _, tt := range []struct {
		packet packet.Disconnect
		ok     bool
	}{
		{packet.Disconnect{}, true},
		{packet.Disconnect{Reason: packet.DisconnectWithWillMessage}, true},
		{packet.Disconnect{Reason: packet.PayloadFormatInvalid}, true},
		{packet.Disconnect{Reason: packet.ServerShuttingDown}, false},
		{packet.Disconnect{Properties: reference}, false},
	} {
		err := tt.packet.FromClient()
		if (err == nil) != tt.ok {
			t.Errorf("%v: %v", tt.packet.Reason, err)
		}
		if err != nil {
			wantError(t, err)
		}
	}
}
