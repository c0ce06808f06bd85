package packet_test

import "github.com/penstock/penstock/broker/packet"

func subscriptions(all ...packet.Subscription) packet.Subscriptions {
	var list packet.Subscriptions
	for _, s := range all {
		list = packet.AppendSubscription(list, s)
	}
	return list
}

func subscribeCases() []testCase {
	filter := func(s string) []byte { return []byte(s) }
	filters := packet.AppendFilter(packet.AppendFilter(nil, "a/b"), "+/#")
	two := subscriptions(packet.Subscription{Filter: filter("a/b"), QoS: 1}, packet.Subscription{Filter: filter("+/#"), QoS: 2})
	all := subscriptions(packet.Subscription{Filter: filter("a"), QoS: 2, NoLocal: true, RetainAsPublished: true, RetainHandling: 2})
	shared := subscriptions(packet.Subscription{Filter: filter("$share/g/a"), QoS: 1})
	return []testCase{
		ok("two", v31, "82 0e 0001 0003 'a/b' 01 0003 '+/#' 02", &packet.Subscribe{ID: 1, Subscriptions: two}),
		ok("two", v311, "82 0e 0001 0003 'a/b' 01 0003 '+/#' 02", &packet.Subscribe{ID: 1, Subscriptions: two}),
		ok("two", v5, "82 0f 0001 00 0003 'a/b' 01 0003 '+/#' 02", &packet.Subscribe{ID: 1, Subscriptions: two}),
		ok("all options and properties", v5, "82 11 0001 0a 0b ffffff7f 26 0000 0000 0001 'a' 2e", &packet.Subscribe{
			ID: 1, Subscriptions: all,
			Properties: packet.Properties{
				Present: packet.PropSubscriptionID | packet.PropUser, User: packet.AppendUser(nil, "", ""),
				SubscriptionIDs: packet.AppendSubscriptionID(nil, packet.MaxRemaining),
			},
		}),
		ok("shared", v5, "82 10 0001 00 000a '$share/g/a' 01", &packet.Subscribe{ID: 1, Subscriptions: shared}),
		loose("sent again", v31, "8a 0e 0001 0003 'a/b' 01 0003 '+/#' 02", &packet.Subscribe{ID: 1, Subscriptions: two}),
		bad("sent again", v311, "8a 08 0001 0003 'a/b' 01", packet.MalformedPacket, "MQTT-2.2.2-1"),
		bad("identifier 0", v311, "82 08 0000 0003 'a/b' 01", packet.ProtocolError, "MQTT-2.3.1-1"),
		bad("no filter", v311, "82 02 0001", packet.ProtocolError, "MQTT-3.8.3-3"),
		bad("no filter", v5, "82 03 0001 00", packet.ProtocolError, "MQTT-3.8.3-2"),
		bad("empty filter", v311, "82 05 0001 0000 00", packet.ProtocolError, "MQTT-4.7.3-1"),
		bad("filter not UTF-8", v311, "82 06 0001 0001 ff 00", packet.MalformedPacket, "MQTT-1.5.3-1"),
		bad("filter with NUL", v5, "82 07 0001 00 0001 00 00", packet.MalformedPacket, "MQTT-1.5.4-2"),
		bad("no options", v311, "82 07 0001 0003 'a/b'", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("second filter cut short", v311, "82 0a 0001 0003 'a/b' 01 0003", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("QoS 3", v311, "82 08 0001 0003 'a/b' 03", packet.MalformedPacket, "MQTT-3.8.3-4"),
		bad("reserved options", v311, "82 08 0001 0003 'a/b' 04", packet.MalformedPacket, "MQTT-3.8.3-4"),
		bad("QoS 3", v5, "82 09 0001 00 0003 'a/b' 03", packet.ProtocolError, "MQTT 5.0 3.8.3.1"),
		bad("retain handling 3", v5, "82 09 0001 00 0003 'a/b' 30", packet.ProtocolError, "MQTT 5.0 3.8.3.1"),
		bad("reserved option 6", v5, "82 09 0001 00 0003 'a/b' 40", packet.MalformedPacket, "MQTT-3.8.3-5"),
		bad("reserved option 7", v5, "82 09 0001 00 0003 'a/b' 80", packet.MalformedPacket, "MQTT-3.8.3-5"),
		bad("shared and No Local", v5, "82 10 0001 00 000a '$share/g/a' 05", packet.ProtocolError, "MQTT-3.8.3-4"),

		ok("unsubscribe", v31, "a2 0c 0001 0003 'a/b' 0003 '+/#'", &packet.Unsubscribe{ID: 1, Filters: filters}),
		ok("unsubscribe", v311, "a2 0c 0001 0003 'a/b' 0003 '+/#'", &packet.Unsubscribe{ID: 1, Filters: filters}),
		ok("unsubscribe", v5, "a2 0d 0001 00 0003 'a/b' 0003 '+/#'", &packet.Unsubscribe{ID: 1, Filters: filters}),
		ok("unsubscribe with a property", v5, "a2 14 0001 07 26 0001 'k' 0001 'v' 0003 'a/b' 0003 '+/#'", &packet.Unsubscribe{
			ID: 1, Filters: filters, Properties: packet.Properties{Present: packet.PropUser, User: packet.AppendUser(nil, "k", "v")},
		}),
		bad("unsubscribe from nothing", v311, "a2 02 0001", packet.ProtocolError, "MQTT-3.10.3-2"),
		bad("unsubscribe from nothing", v5, "a2 03 0001 00", packet.ProtocolError, "MQTT-3.10.3-2"),
		bad("unsubscribe from an empty filter", v311, "a2 04 0001 0000", packet.ProtocolError, "MQTT-4.7.3-1"),
		bad("unsubscribe cut short", v311, "a2 06 0001 0003 'a/'", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("unsubscribe with identifier 0", v5, "a2 06 0000 00 0001 'a'", packet.ProtocolError, "MQTT-2.2.1-3"),
		bad("unsubscribe sent again", v5, "aa 06 0001 00 0001 'a'", packet.MalformedPacket, "MQTT-2.1.3-1"),
	}
}

func subackCases() []testCase {
	reason := packet.Properties{Present: packet.PropReasonString, ReasonString: []byte("no")}
	return []testCase{
		ok("suback", v31, "90 05 0001 00 01 02", &packet.Suback{ID: 1, Codes: []packet.ReasonCode{0, 1, 2}}),
		ok("suback", v311, "90 04 0001 00 80", &packet.Suback{ID: 1, Codes: []packet.ReasonCode{0, 0x80}}),
		ok("suback", v5, "90 05 0001 00 02 87", &packet.Suback{ID: 1, Codes: []packet.ReasonCode{2, packet.NotAuthorized}}),
		ok("suback with a reason", v5, "90 09 0001 05 1f 0002 'no' 8f", &packet.Suback{
			ID: 1, Codes: []packet.ReasonCode{packet.TopicFilterInvalid}, Properties: reason,
		}),
		bad("suback without codes", v311, "90 02 0001", packet.ProtocolError, "MQTT-3.8.4-5"),
		bad("suback without codes", v5, "90 03 0001 00", packet.ProtocolError, "MQTT-3.8.4-6"),
		bad("suback code 3", v311, "90 03 0001 03", packet.ProtocolError, "MQTT 5.0 2.4"),
		bad("suback code of 5.0", v311, "90 03 0001 87", packet.ProtocolError, "MQTT 5.0 2.4"),
		bad("suback code of UNSUBACK", v5, "90 04 0001 00 11", packet.ProtocolError, "MQTT 5.0 2.4"),
		bad("suback for identifier 0", v5, "90 04 0000 00 01", packet.ProtocolError, "MQTT-2.2.1-3"),

		ok("unsuback", v31, "b0 02 0001", &packet.Unsuback{ID: 1}),
		ok("unsuback", v311, "b0 02 0001", &packet.Unsuback{ID: 1}),
		ok("unsuback", v5, "b0 05 0001 00 00 11", &packet.Unsuback{ID: 1, Codes: []packet.ReasonCode{0, packet.NoSubscriptionExisted}}),
		ok("unsuback with a reason", v5, "b0 09 0001 05 1f 0002 'no' 87", &packet.Unsuback{
			ID: 1, Codes: []packet.ReasonCode{packet.NotAuthorized}, Properties: reason,
		}),
		bad("unsuback with codes", v311, "b0 03 0001 00", packet.MalformedPacket, "MQTT 5.0 4.13.1"),
		bad("unsuback without codes", v5, "b0 03 0001 00", packet.ProtocolError, "MQTT-3.11.3-1"),
		bad("unsuback code of SUBACK", v5, "b0 04 0001 00 01", packet.ProtocolError, "MQTT 5.0 2.4"),
	}
}
