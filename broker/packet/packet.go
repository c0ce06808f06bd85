// Package packet reads and writes the 15 MQTT control packets of MQTT 3.1
// (MQIsdp, protocol level 3), 3.1.1 (level 4) and 5.0, in both directions.
//
// Every packet has the same frame:
//
//	byte 0        bytes 1..4          the body
//	┌──────┬─────┬──────────────────┬─────────────────┬────────────┬─────────┐
//	│ type │flags│ remaining length │ variable header │ properties │ payload │
//	│ 4 bit│4 bit│ 7 bits per byte  │                 │ (5.0 only) │         │
//	└──────┴─────┴──────────────────┴─────────────────┴────────────┴─────────┘
//	               low group first,   numbers are big-endian; texts and binary
//	               bit 7: more        data carry a 2-byte length
//
// Next finds a whole packet in a read buffer; the Decode method of the type
// named by its first byte takes it apart; AppendTo writes one. The structs are
// reused from packet to packet and their slices are views into the body, so
// they hold only as long as the read buffer does and PUBLISH and its
// acknowledgements decode without an allocation. Lists (user properties,
// subscriptions, filters) are views of validated bytes with a Next method,
// so that nothing is ever allocated on the word of a length field.
//
// AppendTo trusts its fields: a text of more than 65,535 bytes panics, an
// option out of its range makes a packet that no peer accepts.
//
// Decode checks all that one packet alone can show, and says what was wrong as
// an *Error: the clause and the reason code a 5.0 peer is told; a 3.x peer is
// told nothing and its connection is closed. After an error a struct's fields
// mean nothing, those of Connect that Refusal needs excepted. What depends on
// the connection (is this packet allowed now, from this side, within the
// announced limits) is for the caller; Publish.FromClient and
// Disconnect.FromClient help a server.
package packet

import "strconv"

// A Version is an MQTT protocol level.
type Version byte

// The protocol levels this package speaks.
const (
	V31  Version = 3 // MQTT 3.1, protocol name MQIsdp
	V311 Version = 4 // MQTT 3.1.1
	V5   Version = 5 // MQTT 5.0
)

// String returns the version as the standards call it.
func (v Version) String() string {
	switch v {
	case V31:
		return "3.1"
	case V311:
		return "3.1.1"
	case V5:
		return "5.0"
	}
	return "level " + strconv.Itoa(int(v))
}

// clause picks the number a rule has in the standard of this version; 3.1 has
// no numbers and borrows those of 3.1.1.
func (v Version) clause(five, three string) string {
	if v >= V5 {
		return five
	}
	return three
}

// A Type is a control packet type, the upper half of a packet's first byte.
type Type byte

// The control packet types.
const (
	TypeConnect Type = iota + 1
	TypeConnack
	TypePublish
	TypePuback
	TypePubrec
	TypePubrel
	TypePubcomp
	TypeSubscribe
	TypeSuback
	TypeUnsubscribe
	TypeUnsuback
	TypePingreq
	TypePingresp
	TypeDisconnect
	TypeAuth // 5.0 only
)

// TypeOf returns the type in a packet's first byte.
func TypeOf(first byte) Type { return Type(first >> 4) }

// String returns the type as the standard spells it.
func (t Type) String() string {
	names := [...]string{
		"reserved", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE",
		"SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH",
	}
	return names[t&15]
}

// first returns the first byte of a packet of this type, PUBLISH excepted.
func (t Type) first() byte {
	if t == TypePubrel || t == TypeSubscribe || t == TypeUnsubscribe {
		return byte(t)<<4 | 2
	}
	return byte(t) << 4
}

// MaxRemaining is the largest remaining length four bytes can say.
const MaxRemaining = 1<<28 - 1

// Next finds the first complete packet of buf: its first byte, its body (a
// view into buf) and its total length n. n == 0: more bytes are needed.
//
// The error comes as soon as the header is bad, or says that the whole packet
// is longer than limit bytes, without waiting for the body. limit <= 0 means no
// bound but the protocol's own. A length of more bytes than needed is accepted
// here: 3.x allows it, and the version is not known yet.
func Next(buf []byte, limit int) (first byte, body []byte, n int, err error) {
	if len(buf) == 0 {
		return 0, nil, 0, nil
	}
	if !validHeader(buf[0]) {
		return 0, nil, 0, headerError(buf[0])
	}
	length, size := remaining(buf[1:])
	if size <= 0 {
		return 0, nil, 0, lengthError(size)
	}
	n = 1 + size + length
	if limit > 0 && n > limit {
		return 0, nil, 0, fail(PacketTooLarge, "MQTT-3.2.2-15",
			strconv.Itoa(n)+" bytes, "+strconv.Itoa(limit)+" allowed")
	}
	if n > len(buf) {
		return 0, nil, 0, nil
	}
	return buf[0], buf[1+size : n : n], n, nil
}

// remaining reads a variable byte integer. size is how many bytes it took, 0
// when it is not all there yet, -1 when it is longer than four.
func remaining(b []byte) (value, size int) {
	for i := 0; i < 4 && i < len(b); i++ {
		value |= int(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return value, i + 1
		}
	}
	if len(b) >= 4 {
		return 0, -1
	}
	return 0, 0
}

func lengthError(size int) error {
	if size == 0 {
		return nil
	}
	return malformed("MQTT 5.0 2.1.4", "remaining length of more than four bytes")
}

// validHeader tells whether some version allows this first byte. MQTT 3.1 sets
// DUP when it sends PUBREL, SUBSCRIBE or UNSUBSCRIBE again; checkFirst
// refuses that for later versions.
func validHeader(first byte) bool {
	switch t := TypeOf(first); t {
	case 0:
		return false
	case TypePublish:
		return first&6 != 6
	case TypePubrel, TypeSubscribe, TypeUnsubscribe:
		return first&^8 == t.first()
	default:
		return first&15 == 0
	}
}

func headerError(first byte) error {
	switch TypeOf(first) {
	case 0:
		return malformed("MQTT 5.0 2.1.2", "packet type 0")
	case TypePublish:
		return malformed("MQTT-3.3.1-4", "QoS 3")
	default:
		return malformed("MQTT-2.1.3-1", "wrong flags in the header of "+TypeOf(first).String())
	}
}

// checkFirst checks a first byte against the packet type that is decoded.
func checkFirst(v Version, first byte, t Type) error {
	want := t.first()
	if first == want || (v == V31 && want&15 == 2 && first == want|8) {
		return nil
	}
	return malformed(v.clause("MQTT-2.1.3-1", "MQTT-2.2.2-1"), "wrong flags in the header of "+t.String())
}
