package packet

import "math/bits"

// A PropertySet is a set of MQTT 5.0 properties: bit n stands for the property
// with identifier n.
type PropertySet uint64

// The properties, each a set of one, named as in MQTT 5.0 section 2.2.2.2.
const (
	PropPayloadFormat           PropertySet = 1 << 1
	PropMessageExpiry           PropertySet = 1 << 2
	PropContentType             PropertySet = 1 << 3
	PropResponseTopic           PropertySet = 1 << 8
	PropCorrelationData         PropertySet = 1 << 9
	PropSubscriptionID          PropertySet = 1 << 11
	PropSessionExpiry           PropertySet = 1 << 17
	PropAssignedClientID        PropertySet = 1 << 18
	PropServerKeepAlive         PropertySet = 1 << 19
	PropAuthMethod              PropertySet = 1 << 21
	PropAuthData                PropertySet = 1 << 22
	PropRequestProblemInfo      PropertySet = 1 << 23
	PropWillDelay               PropertySet = 1 << 24
	PropRequestResponseInfo     PropertySet = 1 << 25
	PropResponseInfo            PropertySet = 1 << 26
	PropServerReference         PropertySet = 1 << 28
	PropReasonString            PropertySet = 1 << 31
	PropReceiveMaximum          PropertySet = 1 << 33
	PropTopicAliasMaximum       PropertySet = 1 << 34
	PropTopicAlias              PropertySet = 1 << 35
	PropMaximumQoS              PropertySet = 1 << 36
	PropRetainAvailable         PropertySet = 1 << 37
	PropUser                    PropertySet = 1 << 38
	PropMaximumPacketSize       PropertySet = 1 << 39
	PropWildcardSubAvailable    PropertySet = 1 << 40
	PropSubscriptionIDAvailable PropertySet = 1 << 41
	PropSharedSubAvailable      PropertySet = 1 << 42
)

const (
	idSubscription = 11
	idUser         = 38
)

// The properties by the type of their value; subscription identifiers are
// variable byte integers, user properties pairs of strings.
const (
	byteProps = PropPayloadFormat | PropRequestProblemInfo | PropRequestResponseInfo | PropMaximumQoS |
		PropRetainAvailable | PropWildcardSubAvailable | PropSubscriptionIDAvailable | PropSharedSubAvailable
	uint16Props = PropServerKeepAlive | PropReceiveMaximum | PropTopicAliasMaximum | PropTopicAlias
	uint32Props = PropMessageExpiry | PropSessionExpiry | PropWillDelay | PropMaximumPacketSize
	textProps   = PropContentType | PropResponseTopic | PropAssignedClientID | PropAuthMethod |
		PropResponseInfo | PropServerReference | PropReasonString
	binaryProps = PropCorrelationData | PropAuthData
)

// The properties each packet may carry.
const (
	connectProps = PropSessionExpiry | PropReceiveMaximum | PropMaximumPacketSize | PropTopicAliasMaximum |
		PropRequestResponseInfo | PropRequestProblemInfo | PropUser | PropAuthMethod | PropAuthData
	willProps = PropWillDelay | PropPayloadFormat | PropMessageExpiry | PropContentType | PropResponseTopic |
		PropCorrelationData | PropUser
	connackProps = PropSessionExpiry | PropReceiveMaximum | PropMaximumQoS | PropRetainAvailable |
		PropMaximumPacketSize | PropAssignedClientID | PropTopicAliasMaximum | PropReasonString | PropUser |
		PropWildcardSubAvailable | PropSubscriptionIDAvailable | PropSharedSubAvailable | PropServerKeepAlive |
		PropResponseInfo | PropServerReference | PropAuthMethod | PropAuthData
	publishProps = PropPayloadFormat | PropMessageExpiry | PropTopicAlias | PropResponseTopic |
		PropCorrelationData | PropUser | PropSubscriptionID | PropContentType
	ackProps         = PropReasonString | PropUser
	subscribeProps   = PropSubscriptionID | PropUser
	unsubscribeProps = PropUser
	disconnectProps  = PropSessionExpiry | PropReasonString | PropUser | PropServerReference
	authProps        = PropAuthMethod | PropAuthData | PropReasonString | PropUser
)

// propertySize returns how many bytes the encoded property at the start of b
// takes, 0 when it is unknown or not all there.
func propertySize(b []byte) int {
	if len(b) < 2 || b[0] > 42 {
		return 0
	}
	size := 0
	switch bit := PropertySet(1) << b[0]; {
	case bit&byteProps != 0:
		size = 2
	case bit&uint16Props != 0:
		size = 3
	case bit&uint32Props != 0:
		size = 5
	case bit == PropSubscriptionID:
		if _, n := remaining(b[1:]); n > 0 {
			size = 1 + n
		}
	case bit&(textProps|binaryProps) != 0:
		size = 1 + binarySize(b[1:])
	case bit == PropUser:
		name := binarySize(b[1:])
		size = 1 + name + binarySize(b[min(1+name, len(b)):])
	}
	if size > len(b) {
		return 0
	}
	return size
}

// binarySize returns how many bytes binary data takes with its length; more
// than there are when it is not all there.
func binarySize(b []byte) int {
	if len(b) < 2 {
		return 2
	}
	return 2 + (int(b[0])<<8 | int(b[1]))
}

// name returns the name of a single property in the standard.
func (s PropertySet) name() string { return propertyNames[bits.TrailingZeros64(uint64(s))&63] }

// propertyNames is by identifier; it is never written.
var propertyNames = [64]string{
	1: "Payload Format Indicator", 2: "Message Expiry Interval", 3: "Content Type", 8: "Response Topic",
	9: "Correlation Data", 11: "Subscription Identifier", 17: "Session Expiry Interval",
	18: "Assigned Client Identifier", 19: "Server Keep Alive", 21: "Authentication Method",
	22: "Authentication Data", 23: "Request Problem Information", 24: "Will Delay Interval",
	25: "Request Response Information", 26: "Response Information", 28: "Server Reference",
	31: "Reason String", 33: "Receive Maximum", 34: "Topic Alias Maximum", 35: "Topic Alias",
	36: "Maximum QoS", 37: "Retain Available", 38: "User Property", 39: "Maximum Packet Size",
	40: "Wildcard Subscription Available", 41: "Subscription Identifier Available",
	42: "Shared Subscription Available",
}
