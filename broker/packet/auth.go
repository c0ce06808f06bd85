package packet

// Auth is an AUTH packet, which 5.0 brought.
type Auth struct {
	Reason     ReasonCode
	Properties Properties
}

// Decode takes an AUTH apart.
func (a *Auth) Decode(v Version, first byte, body []byte) error {
	*a = Auth{}
	if v < V5 {
		return malformed("MQTT 3.1.1 2.2.1", "packet type 15")
	}
	if len(body) == 0 {
		return checkEmpty(v, first, body, TypeAuth)
	}
	if err := checkFirst(v, first, TypeAuth); err != nil {
		return err
	}
	r := reader{rest: body, v: v}
	a.Reason = r.reason(TypeAuth)
	a.Properties.decode(&r, authProps)
	if r.err == nil && a.Reason != Success && !a.Properties.Has(PropAuthMethod) {
		r.fail(protocolError("MQTT 5.0 3.15.2.2.2", "AUTH without an authentication method"))
	}
	return r.end()
}

// AppendTo appends the packet, in the form of 5.0 whatever v is.
func (a *Auth) AppendTo(dst []byte, _ Version) []byte {
	if a.Reason == Success && a.Properties.Present == 0 {
		return append(dst, TypeAuth.first(), 0)
	}
	dst, mark := openLength(append(dst, TypeAuth.first()))
	dst = a.Properties.appendTo(append(dst, byte(a.Reason)), V5, authProps)
	return closeLength(dst, mark)
}
