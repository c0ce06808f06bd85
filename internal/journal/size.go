package journal

// Size returns the bytes of the entry's frame, as Frame.Size will: what it
// counts against the share of a lane (C7).
func (e *Entry) Size() int { return e.sizeOf() }
