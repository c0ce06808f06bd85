package pipelines

// Together has the lane evaluate blocks of messages in parallel whenever it
// reads a full turn's worth, whatever that takes. Call it before Run.
func (l *Lane) Together() { l.crew.after, l.crew.price = 1, 0 }

// Alone has the lane never do so.
func (l *Lane) Alone() { l.crew.limit = 0 }
