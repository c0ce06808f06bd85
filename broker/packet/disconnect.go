package packet

// Disconnect is a DISCONNECT packet. Before 5.0 it has no content and only a
// client sends it.
type Disconnect struct {
	Reason     ReasonCode
	Properties Properties
}

// Decode takes a DISCONNECT apart.
func (d *Disconnect) Decode(v Version, first byte, body []byte) error {
	d.Reason = Success
	d.Properties.Reset()
	if v < V5 || len(body) == 0 {
		return checkEmpty(v, first, body, TypeDisconnect)
	}
	if err := checkFirst(v, first, TypeDisconnect); err != nil {
		return err
	}
	r := reader{rest: body, v: v}
	d.Reason = r.reason(TypeDisconnect)
	if len(r.rest) > 0 {
		d.Properties.decode(&r, disconnectProps)
	}
	return r.end()
}

// FromClient returns what is wrong when a client sends this packet (MQTT 5.0
// section 3.14.2): a reason or a property that only servers send.
func (d *Disconnect) FromClient() error {
	switch {
	case d.Properties.Has(PropServerReference):
		return protocolError("MQTT 5.0 3.14.2.2.5", "server reference from a client")
	case !fromClient(d.Reason):
		return protocolError("MQTT-3.14.2-1", "reason code "+d.Reason.String()+" from a client")
	}
	return nil
}

// fromClient tells whether a client may send the reason in DISCONNECT.
func fromClient(r ReasonCode) bool {
	switch r {
	case Success, DisconnectWithWillMessage, UnspecifiedError, MalformedPacket, ProtocolError,
		ImplementationSpecificError, TopicNameInvalid, ReceiveMaximumExceeded, TopicAliasInvalid,
		PacketTooLarge, MessageRateTooHigh, QuotaExceeded, AdministrativeAction, PayloadFormatInvalid:
		return true
	default:
		return false
	}
}

// AppendTo appends the packet in the form of version v.
func (d *Disconnect) AppendTo(dst []byte, v Version) []byte {
	if v < V5 || (d.Reason == Success && d.Properties.Present == 0) {
		return append(dst, TypeDisconnect.first(), 0)
	}
	dst, mark := openLength(append(dst, TypeDisconnect.first()))
	dst = append(dst, byte(d.Reason))
	if d.Properties.Present != 0 {
		dst = d.Properties.appendTo(dst, v, disconnectProps)
	}
	return closeLength(dst, mark)
}
