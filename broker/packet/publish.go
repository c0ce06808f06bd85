package packet

import "encoding/binary"

// Publish is a PUBLISH packet. Its slices are views into the decoded body.
type Publish struct {
	Dup        bool
	QoS        byte
	Retain     bool
	Topic      []byte // may be empty in 5.0, when there is a topic alias
	ID         uint16 // packet identifier; 0 at QoS 0
	Properties Properties
	Payload    []byte
}

// Decode takes a PUBLISH apart without allocating. A topic alias is checked
// against 0 only; the connection knows its maximum.
func (p *Publish) Decode(v Version, first byte, body []byte) error {
	p.Dup, p.QoS, p.Retain = first&8 != 0, first>>1&3, first&1 != 0
	if first>>4 != byte(TypePublish) || p.QoS == 3 || (p.Dup && p.QoS == 0) {
		return publishFlags(first)
	}
	if len(body) < 2 {
		return truncated("topic name")
	}
	n := 2 + (int(body[0])<<8 | int(body[1]))
	if len(body) < n {
		return truncated("topic name")
	}
	p.Topic = body[2:n:n]
	if f := checkTopic(p.Topic); f != 0 {
		return f.error(v, "topic name")
	}
	body = body[n:]
	p.ID = 0
	if p.QoS > 0 {
		if len(body) < 2 {
			return truncated("packet identifier")
		}
		if p.ID = binary.BigEndian.Uint16(body); p.ID == 0 {
			return zeroID(v)
		}
		body = body[2:]
	}
	return p.decodeRest(v, body)
}

// decodeRest reads properties and payload.
func (p *Publish) decodeRest(v Version, body []byte) error {
	switch {
	case v < V5:
		p.Properties.Reset()
	case len(body) > 0 && body[0] == 0: // the usual: no properties
		p.Properties.Reset()
		body = body[1:]
	default:
		r := reader{rest: body, v: v}
		p.Properties.decode(&r, publishProps)
		if r.err != nil {
			return r.err
		}
		body = r.rest
	}
	p.Payload = body
	if len(p.Topic) == 0 && p.Properties.Present&PropTopicAlias == 0 {
		return protocolError(v.clause("MQTT 5.0 3.3.2.1", "MQTT-4.7.3-1"), "topic name is empty")
	}
	return nil
}

func publishFlags(first byte) error {
	switch {
	case first>>4 != byte(TypePublish):
		return malformed("MQTT-2.1.3-1", "wrong flags in the header of PUBLISH")
	case first>>1&3 == 3:
		return malformed("MQTT-3.3.1-4", "QoS 3")
	}
	return malformed("MQTT-3.3.1-2", "DUP at QoS 0")
}

// FromClient returns what is wrong when a client sends this packet: only a
// server's PUBLISH carries subscription identifiers [MQTT-3.3.4-6].
func (p *Publish) FromClient() error {
	if p.Properties.Present&PropSubscriptionID == 0 {
		return nil
	}
	return protocolError("MQTT-3.3.4-6", "subscription identifier in a PUBLISH from a client")
}

// AppendTo appends the packet in the form of version v. Properties go out in
// 5.0 only, the packet identifier at QoS 1 and 2 only.
func (p *Publish) AppendTo(dst []byte, v Version) []byte {
	first := byte(TypePublish)<<4 | p.QoS<<1
	if p.Dup {
		first |= 8
	}
	if p.Retain {
		first |= 1
	}
	if v >= V5 && p.Properties.Present != 0 {
		return p.appendSlow(append(dst, first), v)
	}
	n := 2 + len(p.Topic) + len(p.Payload)
	if p.QoS > 0 {
		n += 2
	}
	if v >= V5 {
		n++
	}
	checkRemaining(n)
	dst = p.appendHead(appendVarint(append(dst, first), n))
	if v >= V5 {
		dst = append(dst, 0)
	}
	return append(dst, p.Payload...)
}

func (p *Publish) appendHead(dst []byte) []byte {
	dst = appendBinary(dst, p.Topic)
	if p.QoS > 0 {
		dst = binary.BigEndian.AppendUint16(dst, p.ID)
	}
	return dst
}

// appendSlow learns the length only from what it has appended.
func (p *Publish) appendSlow(dst []byte, v Version) []byte {
	dst, mark := openLength(dst)
	dst = p.Properties.appendTo(p.appendHead(dst), v, publishProps)
	return closeLength(append(dst, p.Payload...), mark)
}
