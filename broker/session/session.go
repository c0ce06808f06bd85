// Package session holds the state of one MQTT session as a pure machine: the
// messages that wait for it and are in flight to it, the QoS 2 messages
// received from it, the acknowledgements it is owed, and when it ends.
//
// It does no I/O, starts nothing and reads no clock: time is passed in as Unix
// milliseconds. It is not safe for concurrent use.
//
//	publisher            Inbound            Outbound           subscriber
//	PUBLISH 1 ──▶ Knows ▶ Acks ─▶ PUBACK    Begin ──▶ PUBLISH 1 ──▶ Ack
//	PUBLISH 2 ──▶ Receive, Accept ▶ PUBREC  Begin ──▶ PUBLISH 2 ──▶ Rec
//	PUBREL    ──▶ Release ───────▶ PUBCOMP           PUBREL    ──▶ Comp
package session

// A Session is all of it.
type Session struct {
	Outbound
	Inbound Inbound
	Acks    Acks

	// Expiry is the Session Expiry Interval in seconds: 0 ends the session with
	// its connection, NeverExpires keeps it.
	Expiry uint32
	ends   int64 // Unix milliseconds; 0 while connected or for ever
}

// NeverExpires is the Session Expiry Interval of a session that does not end
// by itself. MQTT 3.1.1 sessions with Clean Session 0 have it.
const NeverExpires = 1<<32 - 1

// Persistent reports whether the session outlives its connection.
func (s *Session) Persistent() bool { return s.Expiry > 0 }

// Open begins a connection; see Outbound.Attach.
func (s *Session) Open(limit int, b Bounds) {
	s.ends = 0
	s.Attach(limit, s.Persistent(), b)
}

// Close ends the connection and returns when the session ends: 0 for never
// (and for at once, which Persistent tells). acks bounds how many unsent
// PUBACKs are remembered.
func (s *Session) Close(now int64, acks int) (ends int64) {
	// An expiry changed by DISCONNECT from something to 0 ends the session now;
	// the other way around is a protocol error [MQTT-3.14.2-2].
	s.keep = s.keep && s.Persistent()
	s.Detach()
	s.Acks.Detach(s.Persistent(), acks)
	s.ends = 0
	if s.Persistent() && s.Expiry != NeverExpires {
		s.ends = now + 1000*int64(s.Expiry)
	}
	return s.ends
}

// Resolve notes whether the message at an offset in the journal was delivered
// (C13), for the acknowledgement that waits for it, on this connection or the
// next.
func (s *Session) Resolve(offset uint64, delivered bool) {
	o := Failed
	if delivered {
		o = Delivered
	}
	s.Inbound.Resolve(offset, o)
	s.Acks.Resolve(offset, o)
}

// Ended reports whether the session's expiry has passed since its connection
// ended.
func (s *Session) Ended(now int64) bool { return s.ends != 0 && now >= s.ends }
