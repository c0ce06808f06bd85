package journal

// tickBody is a tick's one section: when it was appended, as in a message.
const tickBody = 2 + 8

// Tick appends a tick: an entry that says only what time it is, so that
// whoever reads the log again sees time go on as it did then (C21). Readers
// pass it by unless they asked for ticks. It never waits; the error is that of
// Append.
func (j *Journal) Tick() (offset uint64, err error) {
	const size = frameHead + tickBody
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.admit(int64(align(size)), j.limit, false); err != nil {
		return 0, err
	}
	f, offset := j.buf.frame(size, kindTick, j.epoch)
	f[frameHead], f[frameHead+1] = secMeta, 8
	le.PutUint64(f[frameHead+2:], uint64(j.now()))
	j.raise(lazy)
	return offset, nil
}

// applyTick keeps the newest time, which must not decrease after a restart.
func (s *state) applyTick(f []byte) error {
	t, ok := receivedAt(f)
	if !ok {
		return errMalformed
	}
	s.received = max(s.received, t)
	return nil
}

// Ticks has TryNext return ticks too, from now on. It returns the reader.
func (r *Reader) Ticks() *Reader {
	r.kinds |= 1 << kindTick
	return r
}
