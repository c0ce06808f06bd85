package codec

// Decode makes Go values of a whole JSON text: nil, bool, int64, float64,
// string, []any and map[string]any.
func Decode(data []byte) (any, error) {
	v, i, err := decode(data, space(data, 0), 0)
	if err != nil {
		return nil, err
	}
	return v, whole(data, i)
}

// decode decodes the value at i. It recurses, but no deeper than MaxDepth.
func decode(data []byte, i, depth int) (any, int, error) {
	if !opens(data, i) {
		end, kind, plain, err := scalar(data, i)
		if err != nil {
			return nil, end, err
		}
		v, err := Value{Raw: data[i:end], Kind: kind, plain: plain}.Any()
		return v, end, err
	}
	if depth >= MaxDepth {
		return nil, i, syntax(i, "nested too deep")
	}
	if data[i] == '{' {
		return decodeObject(data, i, depth+1)
	}
	return decodeArray(data, i, depth+1)
}

func decodeObject(data []byte, i, depth int) (any, int, error) {
	object := map[string]any{}
	if i = space(data, i+1); closes(data, i, true) {
		return object, i + 1, nil
	}
	for {
		at, name, plain, err := key(data, i)
		if err != nil {
			return nil, at, err
		}
		v, end, err := decode(data, at, depth)
		if err != nil {
			return nil, end, err
		}
		object[unquote(name, plain)] = v
		if i = space(data, end); closes(data, i, true) {
			return object, i + 1, nil
		}
		if i, err = comma(data, i, true); err != nil {
			return nil, i, err
		}
		i = space(data, i+1)
	}
}

func decodeArray(data []byte, i, depth int) (any, int, error) {
	array := []any{}
	if i = space(data, i+1); closes(data, i, false) {
		return array, i + 1, nil
	}
	for {
		v, end, err := decode(data, i, depth)
		if err != nil {
			return nil, end, err
		}
		array = append(array, v)
		if i = space(data, end); closes(data, i, false) {
			return array, i + 1, nil
		}
		if i, err = comma(data, i, false); err != nil {
			return nil, i, err
		}
		i = space(data, i+1)
	}
}
