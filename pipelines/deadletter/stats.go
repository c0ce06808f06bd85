package deadletter

import (
	"cmp"
	"slices"
	"time"
)

// Stats says what is in the store.
type Stats struct {
	Refused    PartStats // and of rules that were removed
	RuleErrors PartStats
	Groups     []GroupStats // that have letters, by kind, rule and sink
	GivenWay   uint64       // rule errors that gave way to newer ones, ever (C20)
	Damaged    uint64       // lines set aside since the store was opened
	Next       uint64       // the number that the next letter gets
}

// PartStats says how full a part is.
type PartStats struct {
	Letters  int
	Bytes    int64 // on disk, with what was removed and not given back yet
	MaxBytes int64
	Oldest   time.Time // when the oldest letter became one; zero without letters
}

// GroupStats says how many letters of one kind, rule and sink there are.
type GroupStats struct {
	Kind    Kind
	Rule    string
	Sink    string
	Letters int
	Bytes   int64
}

// Stats returns what is in the store.
func (r *reader) Stats() Stats {
	r.take()
	defer r.free()
	s := Stats{
		Refused: r.stats(&r.parts.refused), RuleErrors: r.stats(&r.parts.ruleErrors),
		GivenWay: r.givenWay, Damaged: r.damaged, Next: r.parts.next(),
	}
	for _, g := range r.parts.groups.list {
		if g.letters > 0 {
			s.Groups = append(s.Groups, GroupStats{g.kind, g.rule, g.sink, g.letters, g.bytes})
		}
	}
	slices.SortFunc(s.Groups, func(a, b GroupStats) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Sink, b.Sink))
	})
	return s
}

func (r *reader) stats(p *part) PartStats {
	s := PartStats{Letters: p.letters(), Bytes: p.bytes(), MaxBytes: p.bound}
	g, i, ok := p.oldest()
	if !ok {
		return s
	}
	// Whose letter cannot be read has no age; listing it says why.
	if l, _, err := r.get(g.seq(i)); err == nil {
		s.Oldest = l.Time
	}
	return s
}
