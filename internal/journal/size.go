package journal

import "errors"

// ErrStale says that an intake was given entries of rules that have been
// replaced since: nothing was appended, and their topics have to be looked up
// again (C16).
var ErrStale = errors.New("rules have changed")

// Size returns the bytes of the entry's frame, as Frame.Size will: what it
// counts against the share of a lane (C7).
func (e *Entry) Size() int { return e.sizeOf() }
