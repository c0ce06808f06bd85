package deadletter

import "slices"

// A group is the letters of one kind, rule and sink.
type group struct {
	kind       Kind
	rule, sink string
	letters    int
	bytes      int64
}

// groups gives them small numbers. There are as many as there were rules with
// an output to a sink.
type groups struct {
	list  []group
	index map[groupKey]uint32
	names names
}

type groupKey struct {
	kind       Kind
	rule, sink string
}

// number returns the group's number, a new one if there is none.
func (s *groups) number(h *head) uint32 {
	key := groupKey{h.Kind, h.Rule, h.Sink}
	n, ok := s.index[key]
	if ok {
		return n
	}
	n = uint32(len(s.list))
	s.index[key] = n
	s.list = append(s.list, group{kind: h.Kind, rule: h.Rule, sink: h.Sink})
	return n
}

func (s *groups) count(number uint32, letters int, bytes int64) {
	g := &s.list[number]
	g.letters += letters
	g.bytes += bytes
}

// matching returns, by number, whether a filter may want letters of the group.
func (s *groups) matching(f *Filter) []bool {
	list := make([]bool, len(s.list))
	for i := range s.list {
		g := &s.list[i]
		list[i] = (f.Rule == "" || f.Rule == g.rule) && (f.Sink == "" || f.Sink == g.sink) &&
			(len(f.Kinds) == 0 || slices.Contains(f.Kinds, g.kind))
	}
	return list
}
