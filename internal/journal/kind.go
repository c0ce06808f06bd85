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
	KindForget  = Kind(kindForget)  // a lane's cursor was dropped (C16)
	KindSaved   = Kind(kindSaved)   // a small named state (C21)
	KindTick    = Kind(kindTick)    // time went on (C21)
	KindChange  = Kind(kindChange)  // a change of the state outside the journal, without a message (C1)
	// KindSnapshot is one shard of that state (C5).
	KindSnapshot = Kind(kindSnapshot)
)

// kindNames is what commands print, by kind; the footer of a segment is no
// entry and never shown.
var kindNames = [...]string{
	KindMessage: "message", KindState: "state", KindNumber: "number", KindCursor: "cursor", KindForget: "forget",
	KindSaved: "saved", KindTick: "tick", KindChange: "change", KindSnapshot: "snapshot",
}

// String returns the kind's name as commands print it.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
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

// Saved decodes a frame that saved a small named state. needs is the lowest
// offset that it needs kept, 0 for none; a nil body removed it.
func (f Frame) Saved() (kind, key string, needs uint64, body []byte, err error) {
	if f.Kind() != KindSaved {
		return "", "", 0, nil, f.otherKind(KindSaved)
	}
	k, v, err := decodeSaved(f.b[frameHead:])
	return k.kind, k.key, v.needs, v.body, err
}

// Forgets returns the lane whose cursor a frame dropped.
func (f Frame) Forgets() (lane uint32, err error) {
	if f.Kind() != KindForget {
		return 0, f.otherKind(KindForget)
	}
	return decodeForget(f.b[frameHead:])
}

func (f Frame) otherKind(want Kind) error {
	return fmt.Errorf("decode offset %d: it is a %s, not a %s", f.Offset(), f.Kind(), want)
}
