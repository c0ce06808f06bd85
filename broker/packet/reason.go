package packet

import "strconv"

// A ReasonCode is the one-byte result of an operation in MQTT 5.0. CONNACK
// maps the return codes of 3.x onto it.
type ReasonCode byte

// The reason codes, named as in MQTT 5.0 section 2.4.
const (
	Success                             ReasonCode = 0x00 // also Normal disconnection and Granted QoS 0
	GrantedQoS1                         ReasonCode = 0x01
	GrantedQoS2                         ReasonCode = 0x02
	DisconnectWithWillMessage           ReasonCode = 0x04
	NoMatchingSubscribers               ReasonCode = 0x10
	NoSubscriptionExisted               ReasonCode = 0x11
	ContinueAuthentication              ReasonCode = 0x18
	ReAuthenticate                      ReasonCode = 0x19
	UnspecifiedError                    ReasonCode = 0x80
	MalformedPacket                     ReasonCode = 0x81
	ProtocolError                       ReasonCode = 0x82
	ImplementationSpecificError         ReasonCode = 0x83
	UnsupportedProtocolVersion          ReasonCode = 0x84
	ClientIdentifierNotValid            ReasonCode = 0x85
	BadUserNameOrPassword               ReasonCode = 0x86
	NotAuthorized                       ReasonCode = 0x87
	ServerUnavailable                   ReasonCode = 0x88
	ServerBusy                          ReasonCode = 0x89
	Banned                              ReasonCode = 0x8A
	ServerShuttingDown                  ReasonCode = 0x8B
	BadAuthenticationMethod             ReasonCode = 0x8C
	KeepAliveTimeout                    ReasonCode = 0x8D
	SessionTakenOver                    ReasonCode = 0x8E
	TopicFilterInvalid                  ReasonCode = 0x8F
	TopicNameInvalid                    ReasonCode = 0x90
	PacketIdentifierInUse               ReasonCode = 0x91
	PacketIdentifierNotFound            ReasonCode = 0x92
	ReceiveMaximumExceeded              ReasonCode = 0x93
	TopicAliasInvalid                   ReasonCode = 0x94
	PacketTooLarge                      ReasonCode = 0x95
	MessageRateTooHigh                  ReasonCode = 0x96
	QuotaExceeded                       ReasonCode = 0x97
	AdministrativeAction                ReasonCode = 0x98
	PayloadFormatInvalid                ReasonCode = 0x99
	RetainNotSupported                  ReasonCode = 0x9A
	QoSNotSupported                     ReasonCode = 0x9B
	UseAnotherServer                    ReasonCode = 0x9C
	ServerMoved                         ReasonCode = 0x9D
	SharedSubscriptionsNotSupported     ReasonCode = 0x9E
	ConnectionRateExceeded              ReasonCode = 0x9F
	MaximumConnectTime                  ReasonCode = 0xA0
	SubscriptionIdentifiersNotSupported ReasonCode = 0xA1
	WildcardSubscriptionsNotSupported   ReasonCode = 0xA2
)

// The packet types that carry reason codes, as sets for carriers.
const (
	inConnack    = 1 << TypeConnack
	inPuback     = 1<<TypePuback | 1<<TypePubrec
	inPubrel     = 1<<TypePubrel | 1<<TypePubcomp
	inSuback     = 1 << TypeSuback
	inUnsuback   = 1 << TypeUnsuback
	inDisconnect = 1 << TypeDisconnect
	inAuth       = 1 << TypeAuth
)

// IsError reports whether the code says that something failed.
func (r ReasonCode) IsError() bool { return r >= 0x80 }

// String returns the name of the code in the standard.
func (r ReasonCode) String() string {
	if name, carriers := r.describe(); carriers != 0 {
		return name
	}
	return "Reason Code 0x" + strconv.FormatUint(uint64(r), 16)
}

// In reports whether a packet of type t may carry the code (MQTT 5.0 section
// 2.4).
func (r ReasonCode) In(t Type) bool {
	_, carriers := r.describe()
	return carriers&(1<<t) != 0
}

// reasonInfo is one row of the table in MQTT 5.0 section 2.4.
type reasonInfo struct {
	name     string
	carriers uint16 // set of packet types
}

// describe returns the row of a code, carriers 0 when there is none.
func (r ReasonCode) describe() (string, uint16) {
	row := reasonInfo{}
	switch {
	case r < UnspecifiedError:
		row = lowReason(r)
	case r <= WildcardSubscriptionsNotSupported:
		row = highReasons[r-UnspecifiedError]
	}
	return row.name, row.carriers
}

func lowReason(r ReasonCode) reasonInfo {
	switch r {
	case Success:
		return reasonInfo{"Success", inConnack | inPuback | inPubrel | inSuback | inUnsuback | inDisconnect | inAuth}
	case GrantedQoS1:
		return reasonInfo{"Granted QoS 1", inSuback}
	case GrantedQoS2:
		return reasonInfo{"Granted QoS 2", inSuback}
	case DisconnectWithWillMessage:
		return reasonInfo{"Disconnect with Will Message", inDisconnect}
	case NoMatchingSubscribers:
		return reasonInfo{"No matching subscribers", inPuback}
	case NoSubscriptionExisted:
		return reasonInfo{"No subscription existed", inUnsuback}
	case ContinueAuthentication:
		return reasonInfo{"Continue authentication", inAuth}
	case ReAuthenticate:
		return reasonInfo{"Re-authenticate", inAuth}
	default:
		return reasonInfo{}
	}
}

// highReasons holds the rows from 0x80 on, in order; it is never written.
var highReasons = [...]reasonInfo{
	{"Unspecified error", inConnack | inPuback | inSuback | inUnsuback | inDisconnect},
	{"Malformed Packet", inConnack | inDisconnect},
	{"Protocol Error", inConnack | inDisconnect},
	{"Implementation specific error", inConnack | inPuback | inSuback | inUnsuback | inDisconnect},
	{"Unsupported Protocol Version", inConnack},
	{"Client Identifier not valid", inConnack},
	{"Bad User Name or Password", inConnack},
	{"Not authorized", inConnack | inPuback | inSuback | inUnsuback | inDisconnect},
	{"Server unavailable", inConnack},
	{"Server busy", inConnack | inDisconnect},
	{"Banned", inConnack},
	{"Server shutting down", inDisconnect},
	{"Bad authentication method", inConnack | inDisconnect},
	{"Keep Alive timeout", inDisconnect},
	{"Session taken over", inDisconnect},
	{"Topic Filter invalid", inSuback | inUnsuback | inDisconnect},
	{"Topic Name invalid", inConnack | inPuback | inDisconnect},
	{"Packet Identifier in use", inPuback | inSuback | inUnsuback},
	{"Packet Identifier not found", inPubrel},
	{"Receive Maximum exceeded", inDisconnect},
	{"Topic Alias invalid", inDisconnect},
	{"Packet too large", inConnack | inDisconnect},
	{"Message rate too high", inDisconnect},
	{"Quota exceeded", inConnack | inPuback | inSuback | inDisconnect},
	{"Administrative action", inDisconnect},
	{"Payload format invalid", inConnack | inPuback | inDisconnect},
	{"Retain not supported", inConnack | inDisconnect},
	{"QoS not supported", inConnack | inDisconnect},
	{"Use another server", inConnack | inDisconnect},
	{"Server moved", inConnack | inDisconnect},
	{"Shared Subscriptions not supported", inSuback | inDisconnect},
	{"Connection rate exceeded", inConnack | inDisconnect},
	{"Maximum connect time", inDisconnect},
	{"Subscription Identifiers not supported", inSuback | inDisconnect},
	{"Wildcard Subscriptions not supported", inSuback | inDisconnect},
}
