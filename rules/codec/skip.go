package codec

// nest remembers, one bit a level, whether each open container is an object.
type nest [(MaxDepth + 63) / 64]uint64

func (n *nest) set(depth int, object bool) {
	bit := uint64(1) << (depth & 63)
	if object {
		n[depth>>6] |= bit
	} else {
		n[depth>>6] &^= bit
	}
}

func (n *nest) object(depth int) bool { return n[depth>>6]>>(depth&63)&1 != 0 }

// skip checks the container that opens at i, inside of depth others, and
// returns the index behind it. It keeps its own stack of bits, so that no text
// makes it recurse.
func skip(data []byte, i, depth int) (_ int, err error) {
	var open nest
	outer := depth
	for {
		// A value begins at i, inside of depth containers.
		empty := false
		for ; opens(data, i) && !empty; depth++ {
			if depth >= MaxDepth {
				return i, syntax(i, "nested too deep")
			}
			object := data[i] == '{'
			open.set(depth, object)
			i = space(data, i+1)
			if empty = closes(data, i, object); empty {
				continue
			}
			if i, err = element(data, i, object); err != nil {
				return i, err
			}
		}
		if !empty {
			if i, _, _, err = scalar(data, i); err != nil {
				return i, err
			}
			i = space(data, i)
		}
		for closes(data, i, open.object(depth-1)) {
			i, depth = i+1, depth-1
			if depth == outer {
				return i, nil
			}
			i = space(data, i)
		}
		if i, err = next(data, i, open.object(depth-1)); err != nil {
			return i, err
		}
	}
}

func opens(data []byte, i int) bool {
	return i < len(data) && (data[i] == '{' || data[i] == '[')
}

func closes(data []byte, i int, object bool) bool {
	if i >= len(data) {
		return false
	}
	if object {
		return data[i] == '}'
	}
	return data[i] == ']'
}

// next goes over the comma at i to the beginning of the next value.
func next(data []byte, i int, object bool) (int, error) {
	if i, err := comma(data, i, object); err != nil {
		return i, err
	}
	return element(data, space(data, i+1), object)
}

func comma(data []byte, i int, object bool) (int, error) {
	switch {
	case i < len(data) && data[i] == ',':
		return i, nil
	case object:
		return i, bad(data, i, "',' or '}' was expected")
	}
	return i, bad(data, i, "',' or ']' was expected")
}

// element goes to the value of the element at i: in an object, over its key.
func element(data []byte, i int, object bool) (int, error) {
	if !object {
		return i, nil
	}
	i, _, _, err := key(data, i)
	return i, err
}

// key scans a key and the colon behind it; name is without its quotes.
func key(data []byte, i int) (value int, name []byte, plain bool, err error) {
	if i >= len(data) || data[i] != '"' {
		return i, nil, false, bad(data, i, "a key in double quotes was expected")
	}
	end, plain := plainRun(data, i+1)+1, true
	if end > len(data) || data[end-1] != '"' {
		if end, plain, err = text(data, i); err != nil {
			return end, nil, false, err
		}
	}
	name = data[i+1 : end-1]
	if i = space(data, end); i >= len(data) || data[i] != ':' {
		return i, nil, false, bad(data, i, "':' was expected")
	}
	return space(data, i+1), name, plain, nil
}

// whole checks that nothing but white space stands behind the value that ends
// at i.
func whole(data []byte, i int) error {
	if i = space(data, i); i < len(data) {
		return bad(data, i, "the text was expected to end")
	}
	return nil
}
