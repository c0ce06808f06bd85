package packet

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// Properties are the properties of one packet, or of a will. A field counts
// only when Present names it: Decode sets both, a sender calls Add.
//
// The slices of decoded properties are views into the body.
type Properties struct {
	Present PropertySet

	PayloadFormat           byte // 0 bytes, 1 UTF-8 text
	RequestProblemInfo      byte // 0 or 1, as the following flags
	RequestResponseInfo     byte
	MaximumQoS              byte
	RetainAvailable         byte
	WildcardSubAvailable    byte
	SubscriptionIDAvailable byte
	SharedSubAvailable      byte

	ServerKeepAlive   uint16 // seconds
	ReceiveMaximum    uint16
	TopicAliasMaximum uint16
	TopicAlias        uint16

	MessageExpiry     uint32 // seconds
	SessionExpiry     uint32 // seconds; 0xFFFFFFFF: never
	WillDelay         uint32 // seconds
	MaximumPacketSize uint32 // bytes of a whole packet

	ContentType      []byte
	ResponseTopic    []byte
	CorrelationData  []byte
	AssignedClientID []byte
	AuthMethod       []byte
	AuthData         []byte
	ResponseInfo     []byte
	ServerReference  []byte
	ReasonString     []byte

	SubscriptionIDs SubscriptionIDs // several only in PUBLISH
	User            UserProperties
}

// Has reports whether all properties of the set are present.
func (p *Properties) Has(set PropertySet) bool { return p.Present&set == set }

// Add marks properties whose fields were set as present.
func (p *Properties) Add(set PropertySet) { p.Present |= set }

// Remove takes properties out, so that AppendTo leaves them out.
func (p *Properties) Remove(set PropertySet) { p.Present &^= set }

// Reset makes p empty. It costs next to nothing when p is empty already.
func (p *Properties) Reset() {
	if p.Present != 0 {
		*p = Properties{}
	}
}

// decode reads the property length and the properties of a packet that may
// carry those of allowed. Before 5.0 there is nothing to read.
func (p *Properties) decode(r *reader, allowed PropertySet) {
	p.Reset()
	if r.v < V5 {
		return
	}
	n := r.varint("property length")
	if n == 0 {
		return
	}
	block := reader{rest: r.take(n, "properties"), v: r.v}
	all := block.rest
	var user, ids span
	for len(block.rest) > 0 {
		from := len(all) - len(block.rest)
		bit := p.decodeOne(&block, allowed)
		to := len(all) - len(block.rest)
		switch bit {
		case PropUser:
			user.extend(from, to)
		case PropSubscriptionID:
			ids.extend(from, to)
		default:
		}
	}
	p.User, p.SubscriptionIDs = UserProperties(user.of(all)), SubscriptionIDs(ids.of(all))
	if block.err == nil && p.Present&PropAuthData != 0 && p.Present&PropAuthMethod == 0 {
		block.err = protocolError("MQTT 5.0 3.1.2.11.10", "authentication data without a method")
	}
	if block.err != nil {
		p.Reset()
		r.fail(block.err)
	}
}

// A span is a part of the property block.
type span struct{ from, to int }

func (s *span) extend(from, to int) {
	if s.to == 0 {
		s.from = from
	}
	s.to = to
}

// of clips, so that an append never writes into the read buffer.
func (s span) of(b []byte) []byte {
	if s.to == 0 {
		return nil
	}
	return b[s.from:s.to:s.to]
}

// decodeOne reads one property and returns which it was.
func (p *Properties) decodeOne(r *reader, allowed PropertySet) PropertySet {
	id := r.byte("property identifier")
	bit := PropertySet(1) << (id & 63)
	if id > 63 || bit&allowed == 0 {
		r.fail(malformed("MQTT 5.0 2.2.2.2", "property that this packet may not carry"))
		return 0
	}
	// A user property may come again, in PUBLISH (which is the one to carry
	// an alias) a subscription identifier too.
	repeats := PropUser | (allowed & PropTopicAlias >> (35 - idSubscription))
	if p.Present&bit&^repeats != 0 {
		r.fail(protocolError("MQTT 5.0 2.2.2.2", "property "+bit.name()+" twice"))
		return 0
	}
	p.Present |= bit
	p.decodeValue(r, bit)
	return bit
}

func (p *Properties) decodeValue(r *reader, bit PropertySet) {
	name := bit.name()
	switch {
	case bit&byteProps != 0:
		*p.byteField(bit) = r.flag(name)
	case bit&uint16Props != 0:
		*p.uint16Field(bit) = r.uint16(name)
	case bit&uint32Props != 0:
		*p.uint32Field(bit) = r.uint32(name)
	case bit&binaryProps != 0:
		*p.bytesField(bit) = r.binary(name)
	case bit == PropResponseTopic:
		p.ResponseTopic = r.responseTopic()
	case bit&textProps != 0:
		*p.bytesField(bit) = r.text(name)
	case bit == PropUser:
		r.text(name)
		r.text(name)
	case bit == PropSubscriptionID:
		if r.varint(name) == 0 {
			r.fail(protocolError("MQTT 5.0 3.8.2.1.2", "subscription identifier 0"))
		}
	}
	p.checkZero(r, bit)
}

// checkZero refuses 0 where a number has no meaning as 0.
func (p *Properties) checkZero(r *reader, bit PropertySet) {
	switch {
	case r.err != nil:
	case bit == PropReceiveMaximum && p.ReceiveMaximum == 0:
		r.fail(protocolError("MQTT 5.0 3.1.2.11.3", "receive maximum 0"))
	case bit == PropMaximumPacketSize && p.MaximumPacketSize == 0:
		r.fail(protocolError("MQTT 5.0 3.1.2.11.4", "maximum packet size 0"))
	case bit == PropTopicAlias && p.TopicAlias == 0:
		r.fail(fail(TopicAliasInvalid, "MQTT-3.3.2-8", "topic alias 0"))
	}
}

// flag reads a byte that is 0 or 1.
func (r *reader) flag(name string) byte {
	b := r.byte(name)
	if b > 1 {
		r.fail(protocolError("MQTT 5.0 2.2.2.2", name+" is neither 0 nor 1"))
	}
	return b
}

// responseTopic reads a topic name without wildcards [MQTT-3.3.2-14].
func (r *reader) responseTopic() []byte {
	b := r.text("response topic")
	if bytes.ContainsAny(b, "+#") {
		r.fail(fail(TopicNameInvalid, "MQTT-3.3.2-14", "response topic contains a wildcard"))
	} else if len(b) == 0 {
		r.fail(protocolError("MQTT-4.7.3-1", "response topic is empty"))
	}
	return b
}

// appendTo appends the property length and those present properties that the
// packet may carry; nothing before 5.0.
func (p *Properties) appendTo(dst []byte, v Version, allowed PropertySet) []byte {
	if v < V5 {
		return dst
	}
	dst, mark := openLength(dst)
	for set := p.Present & allowed; set != 0; set &= set - 1 {
		dst = p.appendOne(dst, bits.TrailingZeros64(uint64(set)))
	}
	return closeLength(dst, mark)
}

func (p *Properties) appendOne(dst []byte, id int) []byte {
	bit := PropertySet(1) << id
	switch bit {
	case PropUser:
		return appendProperties(dst, p.User, idUser)
	case PropSubscriptionID:
		return appendProperties(dst, p.SubscriptionIDs, idSubscription)
	default:
	}
	dst = append(dst, byte(id))
	switch {
	case bit&byteProps != 0:
		return append(dst, *p.byteField(bit))
	case bit&uint16Props != 0:
		return binary.BigEndian.AppendUint16(dst, *p.uint16Field(bit))
	case bit&uint32Props != 0:
		return binary.BigEndian.AppendUint32(dst, *p.uint32Field(bit))
	}
	return appendBinary(dst, *p.bytesField(bit))
}

func (p *Properties) byteField(bit PropertySet) *byte {
	switch bit {
	case PropPayloadFormat:
		return &p.PayloadFormat
	case PropRequestProblemInfo:
		return &p.RequestProblemInfo
	case PropRequestResponseInfo:
		return &p.RequestResponseInfo
	case PropMaximumQoS:
		return &p.MaximumQoS
	case PropRetainAvailable:
		return &p.RetainAvailable
	case PropWildcardSubAvailable:
		return &p.WildcardSubAvailable
	case PropSubscriptionIDAvailable:
		return &p.SubscriptionIDAvailable
	default:
		return &p.SharedSubAvailable
	}
}

func (p *Properties) uint16Field(bit PropertySet) *uint16 {
	switch bit {
	case PropServerKeepAlive:
		return &p.ServerKeepAlive
	case PropReceiveMaximum:
		return &p.ReceiveMaximum
	case PropTopicAliasMaximum:
		return &p.TopicAliasMaximum
	default:
		return &p.TopicAlias
	}
}

func (p *Properties) uint32Field(bit PropertySet) *uint32 {
	switch bit {
	case PropMessageExpiry:
		return &p.MessageExpiry
	case PropSessionExpiry:
		return &p.SessionExpiry
	case PropWillDelay:
		return &p.WillDelay
	default:
		return &p.MaximumPacketSize
	}
}

func (p *Properties) bytesField(bit PropertySet) *[]byte {
	switch bit {
	case PropContentType:
		return &p.ContentType
	case PropResponseTopic:
		return &p.ResponseTopic
	case PropCorrelationData:
		return &p.CorrelationData
	case PropAssignedClientID:
		return &p.AssignedClientID
	case PropAuthMethod:
		return &p.AuthMethod
	case PropAuthData:
		return &p.AuthData
	case PropResponseInfo:
		return &p.ResponseInfo
	case PropServerReference:
		return &p.ServerReference
	default:
		return &p.ReasonString
	}
}
