package journal

import (
	"fmt"
	"time"
)

// Kind says what a frame is.
type Kind byte

// The kinds of frames. Others are of a later version, which readers pass by.
const (
	KindMessage = Kind(kindMessage) // a message
	KindState   = Kind(kindState)   // what a segment begins with: all that was before it adds up to
	KindNumber  = Kind(kindNumber)  // a name got a number (C16)
	KindCursor  = Kind(kindCursor)  // a lane's cursor (C15)
	KindTick    = Kind(kindTick)    // time went on (C21)

	KindForget   = Kind(kindForget)   // a lane's cursor was dropped (C16)
	KindSaved    = Kind(kindSaved)    // a small named state (C21)
	KindChange   = Kind(kindChange)   // a change of the state outside the journal, without a message (C1)
	KindSnapshot = Kind(kindSnapshot) // one shard of that state (C5)
)

// String returns the kind's name as commands print it.
func (k Kind) String() string {
	switch k {
	case KindMessage:
		return "message"
	case KindState:
		return "state"
	case KindNumber:
		return "number"
	case KindCursor:
		return "cursor"
	case KindTick:
		return "tick"
	case KindForget:
		return "forget"
	case KindSaved:
		return "saved"
	case KindChange:
		return "change"
	case KindSnapshot:
		return "snapshot"
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// Kind returns what the frame is.
func (f Frame) Kind() Kind { return Kind(frameKind(f.b)) }

// Epoch returns in which run of the journal the frame was appended.
func (f Frame) Epoch() uint32 { return frameEpoch(f.b) }

// Received returns the time of a message or a tick, in Unix milliseconds; 0
// for other kinds. It never decreases along the log (C21).
func (f Frame) Received() int64 {
	t, _ := receivedAt(f.b)
	return t
}

// Time returns Received as a time; the zero time for other kinds.
func (f Frame) Time() time.Time {
	if t, ok := receivedAt(f.b); ok {
		return time.UnixMilli(t)
	}
	return time.Time{}
}

// receivedAt returns a frame's time; ok is false when its kind has none.
func receivedAt(b []byte) (ms int64, ok bool) {
	if k := frameKind(b); k != kindMessage && k != kindTick {
		return 0, false
	}
	for rest := b[frameHead:]; ; {
		k, body, next, ok := nextSection(rest)
		if !ok {
			return 0, false
		}
		if k == secMeta && len(body) >= 8 {
			return int64(le.Uint64(body)), true
		}
		rest = next
	}
}

// Number decodes a frame that gave a name a number.
func (f Frame) Number() (number uint32, kind, key string, err error) {
	if f.Kind() != KindNumber {
		return 0, "", "", f.otherKind(KindNumber)
	}
	n, k, err := decodeNumber(f.b[frameHead:])
	return n, k.kind, k.key, err
}

// Cursor decodes a frame that stored a lane's cursor, with what the lane
// dropped since the one before.
func (f Frame) Cursor() (lane uint32, c Cursor, err error) {
	if f.Kind() != KindCursor {
		return 0, c, f.otherKind(KindCursor)
	}
	return decodeCursor(f.b[frameHead:])
}

func (f Frame) otherKind(want Kind) error {
	return fmt.Errorf("decode offset %d: it is a %s, not a %s", f.Offset(), f.Kind(), want)
}
