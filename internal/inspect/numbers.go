package inspect

import "github.com/penstock/penstock/internal/journal"

// Numbers returns what gives the rules of a configuration the numbers they
// have in an archive. Names that have none there get numbers that nothing in
// it has.
func Numbers(a *journal.Archive) func(kind, key string) (uint32, error) {
	free := ^uint32(0)
	return func(kind, key string) (uint32, error) {
		if n, ok := a.Names(kind)[key]; ok {
			return n, nil
		}
		free--
		return free, nil
	}
}
