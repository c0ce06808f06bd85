package journal

// asideName is the file in which a segment is rewritten. It is not durable
// before it is renamed, and thrown away when the journal opens.
const asideName = "rewrite.aside"

// generations splits segments, in order, into those that count and those that
// a later generation replaces (C6).
func generations(list []*segment) (kept, replaced []*segment) {
	for _, s := range list {
		for n := len(kept); n > 0 && s.replaces(kept[n-1]); n = len(kept) {
			replaced, kept = append(replaced, kept[n-1]), kept[:n-1]
		}
		if n := len(kept); n > 0 && kept[n-1].replaces(s) {
			replaced = append(replaced, s)
			continue
		}
		kept = append(kept, s)
	}
	return kept, replaced
}
