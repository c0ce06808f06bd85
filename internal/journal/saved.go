package journal

import (
	"fmt"
	"math"
	"slices"
)

// maxSaved bounds one saved body: all of them are at the head of every segment.
const maxSaved = 256 << 10

// saved is a small named state.
type saved struct {
	needs uint64 // lowest offset it needs kept, 0 for none
	body  []byte
}

// Sections of a saved frame.
const (
	secSavedKind = 1
	secSavedKey  = 2
	secNeeds     = 3 // 8 bytes
	secBody      = 4 // not there: the state is removed
)

// Save appends a small named state, such as a checkpoint of a stateful
// function (C21) or the intent of a sink (C24), of at most 256 KiB: Load finds
// it once Stored reaches the returned offset, also after a restart. Messages
// from needs on stay in the journal as long as this is the state of that name;
// 0: none. A nil body removes the state. Save never waits, and may use the
// tenth of the bound that is kept for what frees space (C7).
func (j *Journal) Save(kind, key string, needs uint64, body []byte) (offset uint64, err error) {
	if n := len(kind) + len(key) + len(body); n > maxSaved {
		return 0, fmt.Errorf("save %s %s of %d bytes: %w", kind, key, n, ErrTooLarge)
	}
	return j.appendState(kindSaved, appendSaved(nil, numberKey{kind, key}, saved{needs, body}), false)
}

// Load returns a copy of the stored state of a name.
func (j *Journal) Load(kind, key string) (body []byte, ok bool) {
	j.stateMu.Lock()
	defer j.stateMu.Unlock()
	v, ok := j.state.saved[numberKey{kind, key}]
	return slices.Clone(v.body), ok
}

// Keys returns the names of the stored states of a kind, sorted.
func (j *Journal) Keys(kind string) []string {
	j.stateMu.Lock()
	defer j.stateMu.Unlock()
	return j.state.keys(kind)
}

func (s *state) keys(kind string) []string {
	var keys []string
	for k := range s.saved {
		if k.kind == kind {
			keys = append(keys, k.key)
		}
	}
	slices.Sort(keys)
	return keys
}

func appendSaved(b []byte, k numberKey, v saved) []byte {
	b = appendSection(b, secSavedKind, k.kind)
	b = appendSection(b, secSavedKey, k.key)
	if v.needs > 0 {
		b = append(b, secNeeds, 8)
		b = le.AppendUint64(b, v.needs)
	}
	if v.body != nil {
		b = appendSectionBytes(b, secBody, v.body)
	}
	return b
}

func decodeSaved(b []byte) (k numberKey, v saved, err error) {
	for len(b) > 0 {
		sec, body, rest, ok := nextSection(b)
		if !ok {
			return k, v, errMalformed
		}
		switch {
		case sec == secSavedKind:
			k.kind = string(body)
		case sec == secSavedKey:
			k.key = string(body)
		case sec == secNeeds && len(body) == 8:
			v.needs = le.Uint64(body)
		case sec == secBody:
			v.body = append([]byte{}, body...)
		}
		b = rest
	}
	return k, v, nil
}

func (s *state) applySaved(body []byte) error {
	k, v, err := decodeSaved(body)
	if err != nil {
		return err
	}
	if v.body == nil {
		delete(s.saved, k)
		return nil
	}
	s.saved[k] = v
	return nil
}

// needs is the lowest offset that a saved state needs kept; MaxUint64 for none.
func (s *state) needs() uint64 {
	low := uint64(math.MaxUint64)
	for _, v := range s.saved {
		if v.needs > 0 {
			low = min(low, v.needs)
		}
	}
	return low
}
