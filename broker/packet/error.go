package packet

// An Error says why a packet was refused.
type Error struct {
	Reason ReasonCode // what a 5.0 peer is told; a 3.x peer's connection is just closed
	Clause string     // number of the rule, MQTT-x.x.x-n, or the section where the rule has no number
	Detail string
}

// Error returns reason, detail and clause in one line.
func (e *Error) Error() string {
	return e.Reason.String() + ": " + e.Detail + " [" + e.Clause + "]"
}

// fail stays out of line so that the decoders' straight way stays short.
//
//go:noinline
func fail(reason ReasonCode, clause, detail string) error {
	return &Error{Reason: reason, Clause: clause, Detail: detail}
}

func malformed(clause, detail string) error { return fail(MalformedPacket, clause, detail) }

func protocolError(clause, detail string) error { return fail(ProtocolError, clause, detail) }

func truncated(what string) error {
	return malformed("MQTT 5.0 4.13.1", "packet ends within its "+what)
}
