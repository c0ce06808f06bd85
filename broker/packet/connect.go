package packet

import (
	"encoding/binary"
	"errors"
	"strconv"
)

// Connect is a CONNECT packet. Its slices are views into the decoded body.
type Connect struct {
	// Version is the protocol level the client asked for, also when Decode
	// refuses it; 0 when the packet is not MQTT at all.
	Version    Version
	CleanStart bool // clean session before 5.0
	KeepAlive  uint16
	Properties Properties

	ClientID []byte
	HasWill  bool
	Will     Will

	HasUserName bool
	HasPassword bool
	UserName    []byte
	Password    []byte
}

// Will is the will message of a CONNECT.
type Will struct {
	QoS        byte
	Retain     bool
	Topic      []byte
	Payload    []byte
	Properties Properties
}

// The connect flags, MQTT 5.0 section 3.1.2.3.
const (
	flagReserved   = 1 << 0
	flagCleanStart = 1 << 1
	flagWill       = 1 << 2
	flagWillQoS    = 3 << 3
	flagWillRetain = 1 << 5
	flagPassword   = 1 << 6
	flagUserName   = 1 << 7
)

// Decode takes a CONNECT apart; the version is in the packet, the one given
// does not count. After an error, Refusal says how to answer.
//
// An empty client identifier is accepted: whether the server makes one up is
// not the codec's business.
func (c *Connect) Decode(_ Version, first byte, body []byte) error {
	*c = Connect{}
	if err := checkFirst(V5, first, TypeConnect); err != nil {
		return err
	}
	r := reader{rest: body}
	c.decodeVersion(&r)
	r.v = c.Version
	flags := r.byte("connect flags")
	if r.err == nil {
		if err := checkConnectFlags(c.Version, flags); err != nil {
			return err
		}
	}
	c.CleanStart = flags&flagCleanStart != 0
	c.KeepAlive = r.uint16("keep alive")
	c.Properties.decode(&r, connectProps)
	c.ClientID = r.text("client identifier")
	c.decodeWill(&r, flags)
	c.decodeUser(&r, flags)
	return r.end()
}

func (c *Connect) decodeVersion(r *reader) {
	name := string(r.text("protocol name"))
	c.Version = Version(r.byte("protocol level"))
	switch {
	case r.err != nil:
		c.Version = 0
	case name != "MQTT" && name != "MQIsdp":
		c.Version = 0
		r.fail(fail(UnsupportedProtocolVersion, "MQTT-3.1.2-1", "protocol name is not MQTT"))
	case name == "MQIsdp" && c.Version == V31, name == "MQTT" && (c.Version == V311 || c.Version == V5):
	default:
		r.fail(fail(UnsupportedProtocolVersion, "MQTT-3.1.2-2",
			"protocol "+name+" level "+strconv.Itoa(int(c.Version))))
	}
}

// checkConnectFlags finds flags that contradict each other. MQTT 3.1 gives the
// reserved bit, and the will's bits without a will, no meaning.
func checkConnectFlags(v Version, flags byte) error {
	will := flags&flagWill != 0
	switch {
	case will && flags&flagWillQoS == flagWillQoS:
		return malformed(v.clause("MQTT-3.1.2-12", "MQTT-3.1.2-14"), "will QoS 3")
	case v < V5 && flags&(flagPassword|flagUserName) == flagPassword:
		return malformed("MQTT-3.1.2-22", "password without a user name")
	case v == V31:
		return nil
	case flags&flagReserved != 0:
		return malformed("MQTT-3.1.2-3", "reserved connect flag is set")
	case !will && flags&flagWillQoS != 0:
		return malformed(v.clause("MQTT-3.1.2-11", "MQTT-3.1.2-13"), "will QoS without a will")
	case !will && flags&flagWillRetain != 0:
		return malformed(v.clause("MQTT-3.1.2-13", "MQTT-3.1.2-15"), "will retain without a will")
	}
	return nil
}

func (c *Connect) decodeWill(r *reader, flags byte) {
	if flags&flagWill == 0 {
		return
	}
	c.HasWill = true
	c.Will.QoS = flags & flagWillQoS >> 3
	c.Will.Retain = flags&flagWillRetain != 0
	c.Will.Properties.decode(r, willProps)
	c.Will.Topic = r.topic("will topic")
	c.Will.Payload = r.binary("will payload")
}

// decodeUser reads user name and password. In 3.1 the remaining length has the
// last word: a flag whose text is not there at all counts as not set.
func (c *Connect) decodeUser(r *reader, flags byte) {
	gone := func() bool { return r.v == V31 && r.err == nil && len(r.rest) == 0 }
	if flags&flagUserName != 0 && !gone() {
		c.HasUserName = true
		c.UserName = r.text("user name")
	}
	if flags&flagPassword != 0 && !gone() {
		c.HasPassword = true
		c.Password = r.binary("password")
	}
}

// Refusal returns the CONNACK that answers a CONNECT after Decode returned
// err, and the version to write it in. ok is false when the connection is to
// be closed without a word: a 3.x client is told only that its version is not
// spoken.
func (c *Connect) Refusal(err error) (answer Connack, v Version, ok bool) {
	var e *Error
	if !errors.As(err, &e) || c.Version == 0 {
		return Connack{}, 0, false
	}
	// The top bit marks the bridge of some brokers, which asks for 3.x or 5.0.
	if c.Version&0x7f >= V5 {
		return Connack{Reason: e.Reason}, V5, true
	}
	return Connack{Reason: e.Reason}, V311, e.Reason == UnsupportedProtocolVersion
}

// AppendTo appends the packet in the form of version v.
func (c *Connect) AppendTo(dst []byte, v Version) []byte {
	dst, mark := openLength(append(dst, TypeConnect.first()))
	name := "MQTT"
	if v == V31 {
		name = "MQIsdp"
	}
	dst = append(appendBinary(dst, name), byte(v), c.flags())
	dst = binary.BigEndian.AppendUint16(dst, c.KeepAlive)
	dst = c.Properties.appendTo(dst, v, connectProps)
	dst = appendBinary(dst, c.ClientID)
	if c.HasWill {
		dst = c.Will.Properties.appendTo(dst, v, willProps)
		dst = appendBinary(appendBinary(dst, c.Will.Topic), c.Will.Payload)
	}
	if c.HasUserName {
		dst = appendBinary(dst, c.UserName)
	}
	if c.HasPassword {
		dst = appendBinary(dst, c.Password)
	}
	return closeLength(dst, mark)
}

func (c *Connect) flags() byte {
	set := func(on bool, flag byte) byte {
		if on {
			return flag
		}
		return 0
	}
	flags := set(c.CleanStart, flagCleanStart) | set(c.HasUserName, flagUserName) | set(c.HasPassword, flagPassword)
	if c.HasWill {
		flags |= flagWill | c.Will.QoS<<3 | set(c.Will.Retain, flagWillRetain)
	}
	return flags
}
