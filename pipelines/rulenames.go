package pipelines

import "sync"

// ruleNames are the names of rules by number, also of those that were removed
// while the lane runs.
type ruleNames struct {
	mu      sync.Mutex
	current func(number uint32) string // guarded by mu
	gone    map[uint32]string          // guarded by mu
}

func (r *ruleNames) of(number uint32) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name := r.current(number); name != "" {
		return name
	}
	return r.gone[number]
}

// swap takes over the names of another rule set and keeps those of the old one
// that it does not know.
func (r *ruleNames) swap(next func(uint32) string, numbers []uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range numbers {
		if next(n) != "" {
			continue
		}
		if name := r.current(n); name != "" {
			if r.gone == nil {
				r.gone = map[uint32]string{}
			}
			r.gone[n] = name
		}
	}
	r.current = next
}
