package topic

// manyValues is from how many values on an index finds one faster than
// looking at all.
const manyValues = 32

// values are the values of one filter, in no particular order: a slice, so
// that Match copies them at once, and an index beside it for many.
type values[T comparable] struct {
	list  []T
	index map[T]int // value -> place in list; nil up to manyValues
}

func (v *values[T]) find(value T) int {
	if v.index != nil {
		if i, ok := v.index[value]; ok {
			return i
		}
		return -1
	}
	for i := range v.list {
		if v.list[i] == value {
			return i
		}
	}
	return -1
}

func (v *values[T]) add(value T) bool {
	if v.find(value) >= 0 {
		return false
	}
	v.list = append(v.list, value)
	if v.index != nil {
		v.index[value] = len(v.list) - 1
	} else if len(v.list) > manyValues {
		v.reindex()
	}
	return true
}

func (v *values[T]) reindex() {
	v.index = make(map[T]int, 2*len(v.list))
	for i, value := range v.list {
		v.index[value] = i
	}
}

// remove lets the last value take the place of the one that goes. What is left
// of many is given back when few remain.
func (v *values[T]) remove(value T) bool {
	i := v.find(value)
	if i < 0 {
		return false
	}
	last := len(v.list) - 1
	if v.index != nil {
		delete(v.index, value)
		if i != last {
			v.index[v.list[last]] = i
		}
	}
	v.list[i] = v.list[last]
	clear(v.list[last:])
	v.list = v.list[:last]
	if last <= manyValues/2 && cap(v.list) > manyValues {
		v.index = nil
		v.list = append([]T(nil), v.list...)
	}
	return true
}
