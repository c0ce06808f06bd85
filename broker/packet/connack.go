package packet

// Connack is a CONNACK packet. Reason is a 5.0 reason code in every version:
// the return codes of 3.x are translated both ways.
type Connack struct {
	SessionPresent bool
	Reason         ReasonCode
	Properties     Properties
}

// Decode takes a CONNACK apart.
func (p *Connack) Decode(v Version, first byte, body []byte) error {
	*p = Connack{}
	if err := checkFirst(v, first, TypeConnack); err != nil {
		return err
	}
	r := reader{rest: body, v: v}
	flags := r.byte("acknowledge flags")
	if v == V31 {
		flags = 0 // the byte has no meaning there
	}
	if flags > 1 {
		r.fail(malformed("MQTT-3.2.2-1", "reserved acknowledge flag is set"))
	}
	p.SessionPresent = flags == 1
	if v < V5 {
		p.Reason = returnCode(&r)
	} else {
		p.Reason = r.reason(TypeConnack)
	}
	if r.err == nil && p.SessionPresent && p.Reason != Success {
		r.fail(protocolError(v.clause("MQTT-3.2.2-6", "MQTT-3.2.2-4"), "session present in a refusal"))
	}
	p.Properties.decode(&r, connackProps)
	return r.end()
}

// AppendTo appends the packet in the form of version v. A refusal never says
// that a session is present.
func (p *Connack) AppendTo(dst []byte, v Version) []byte {
	dst, mark := openLength(append(dst, TypeConnack.first()))
	flags, code := byte(0), byte(p.Reason)
	if p.SessionPresent && p.Reason == Success && v > V31 {
		flags = 1
	}
	if v < V5 {
		code = p.Reason.returnCode()
	}
	dst = p.Properties.appendTo(append(dst, flags, code), v, connackProps)
	return closeLength(dst, mark)
}

// returnCode reads a return code of 3.x.
func returnCode(r *reader) ReasonCode {
	code := r.byte("return code")
	if code > 5 {
		r.fail(malformed("MQTT 3.1.1 3.2.2.3", "reserved return code"))
		return Success
	}
	return [...]ReasonCode{
		Success, UnsupportedProtocolVersion, ClientIdentifierNotValid,
		ServerUnavailable, BadUserNameOrPassword, NotAuthorized,
	}[code]
}

// returnCode returns the CONNACK return code of 3.x that says most nearly the
// same.
func (r ReasonCode) returnCode() byte {
	switch r {
	case Success:
		return 0
	case UnsupportedProtocolVersion:
		return 1
	case ClientIdentifierNotValid:
		return 2
	case BadUserNameOrPassword, BadAuthenticationMethod:
		return 4
	case NotAuthorized, Banned:
		return 5
	default:
		return 3
	}
}
