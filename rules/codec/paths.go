package codec

// A Step is one step of a path: into an object by key, or into an array by
// index from 0.
type Step struct {
	Key     string
	Index   int
	InArray bool
}

// Paths is a set of paths that are looked up together. Fill it with Add before
// the first Scan; after that it is safe for concurrent use.
type Paths struct {
	root node
	n    int
}

// A node is a place that paths lead to or through.
type node struct {
	step  Step
	slot  int   // number of the path that ends here, -1 for none
	below []int // the paths that end here or deeper
	keys  []*node
	items []*node
}

// Len returns how many different paths there are.
func (p *Paths) Len() int { return p.n }

// Add adds a path of one step or more and returns its slot, the same one for
// the same path.
func (p *Paths) Add(path []Step) int {
	if slot := p.find(path); slot >= 0 {
		return slot
	}
	slot := p.n
	p.n++
	at := &p.root
	for _, s := range path {
		at = at.child(s)
		at.below = append(at.below, slot)
	}
	at.slot = slot
	return slot
}

func (p *Paths) find(path []Step) int {
	at := &p.root
	for _, s := range path {
		if at = at.look(s); at == nil {
			return -1
		}
	}
	return at.slot
}

func (n *node) children(s Step) *[]*node {
	if s.InArray {
		return &n.items
	}
	return &n.keys
}

func (n *node) look(s Step) *node {
	for _, c := range *n.children(s) {
		if c.step == s {
			return c
		}
	}
	return nil
}

func (n *node) child(s Step) *node {
	if c := n.look(s); c != nil {
		return c
	}
	c := &node{step: s, slot: -1}
	list := n.children(s)
	*list = append(*list, c)
	return c
}

// Scan checks the whole of a JSON text and puts what each path leads to into
// slots, which must hold Len values. After an error the slots mean nothing.
func (p *Paths) Scan(data []byte, slots []Value) error {
	clear(slots)
	s := scan{data: data, slots: slots}
	i, err := s.value(&p.root, space(data, 0), 0)
	if err != nil {
		return err
	}
	return whole(data, i)
}

type scan struct {
	data  []byte
	slots []Value
}

// value scans the value at i, which n leads to. It recurses only along paths:
// as deep as somebody wrote one.
func (s *scan) value(n *node, i, depth int) (end int, err error) {
	var v Value
	for _, slot := range n.below {
		s.slots[slot] = Value{} // a repeated key: the last one counts alone
	}
	if !opens(s.data, i) {
		end, v.Kind, v.plain, err = scalar(s.data, i)
	} else {
		end, v.Kind, err = s.container(n, i, depth)
	}
	if err != nil {
		return end, err
	}
	v.Raw = s.data[i:end]
	if n.slot >= 0 && len(n.below) > 0 {
		s.slots[n.slot] = v
	}
	return end, nil
}

func (s *scan) container(n *node, i, depth int) (end int, kind Kind, err error) {
	kind = Array
	if s.data[i] == '{' {
		kind = Object
	}
	switch {
	case depth >= MaxDepth:
		return i, kind, syntax(i, "nested too deep")
	case kind == Object && len(n.keys) > 0:
		end, err = s.object(n, i, depth+1)
	case kind == Array && len(n.items) > 0:
		end, err = s.array(n, i, depth+1)
	default:
		end, err = skip(s.data, i, depth)
	}
	return end, kind, err
}

func (s *scan) object(n *node, i, depth int) (int, error) {
	if i = space(s.data, i+1); closes(s.data, i, true) {
		return i + 1, nil
	}
	for {
		at, name, plain, err := key(s.data, i)
		if err != nil {
			return at, err
		}
		if i, err = s.member(n.named(name, plain), at, depth); err != nil {
			return i, err
		}
		if i = space(s.data, i); closes(s.data, i, true) {
			return i + 1, nil
		}
		if i, err = comma(s.data, i, true); err != nil {
			return i, err
		}
		i = space(s.data, i+1)
	}
}

func (s *scan) array(n *node, i, depth int) (_ int, err error) {
	if i = space(s.data, i+1); closes(s.data, i, false) {
		return i + 1, nil
	}
	for index := 0; ; index++ {
		if i, err = s.member(n.look(Step{Index: index, InArray: true}), i, depth); err != nil {
			return i, err
		}
		if i = space(s.data, i); closes(s.data, i, false) {
			return i + 1, nil
		}
		if i, err = comma(s.data, i, false); err != nil {
			return i, err
		}
		i = space(s.data, i+1)
	}
}

// member scans the value at i, which a path leads to unless n is nil.
func (s *scan) member(n *node, i, depth int) (end int, err error) {
	switch {
	case n != nil:
		end, err = s.value(n, i, depth)
	case opens(s.data, i):
		end, err = skip(s.data, i, depth)
	default:
		end, _, _, err = scalar(s.data, i)
	}
	return end, err
}

// named returns the child under a key as it stands between its quotes.
func (n *node) named(name []byte, plain bool) *node {
	text := view(name)
	if !plain {
		text = unquote(name, false)
	}
	for _, c := range n.keys {
		if len(c.step.Key) == len(text) && c.step.Key == text {
			return c
		}
	}
	return nil
}
