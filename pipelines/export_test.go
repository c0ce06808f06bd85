package pipelines

import "time"

// Together has the lane evaluate blocks of messages in parallel once it has
// read a message, whatever that takes. Call it before Run.
func (l *Lane) Together() { l.crew.full, l.crew.after, l.crew.price = 1, 1, 0 }

// Alone has the lane never do so.
func (l *Lane) Alone() { l.crew.limit = 0 }

// HelpAbove sets what an evaluation must take for the lane to want help.
func (l *Lane) HelpAbove(price time.Duration) { l.crew.price = price }
