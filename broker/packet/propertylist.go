package packet

import "iter"

// UserProperties are the user properties of a packet as they stand on the
// wire: encoded properties one after the other, in order, names may repeat.
// In a decoded packet it is a view that may hold other properties in between,
// which Next passes over. AppendUser builds one to send.
type UserProperties []byte

// Next returns the first user property and the rest; ok is false when there
// is none.
func (u UserProperties) Next() (name, value []byte, rest UserProperties, ok bool) {
	for b := []byte(u); ; {
		size := propertySize(b)
		if size == 0 {
			return nil, nil, nil, false
		}
		if b[0] == idUser {
			n := binarySize(b[1:])
			return b[3 : 1+n : 1+n], b[3+n : size : size], UserProperties(b[size:]), true
		}
		b = b[size:]
	}
}

// All returns an iterator over names and values.
func (u UserProperties) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for name, value, rest, ok := u.Next(); ok; name, value, rest, ok = rest.Next() {
			if !yield(name, value) {
				return
			}
		}
	}
}

// AppendUser appends a user property to send. Neither name nor value is longer
// than 65,535 bytes.
func AppendUser[S ~string | ~[]byte](dst UserProperties, name, value S) UserProperties {
	return appendBinary(appendBinary(append(dst, idUser), name), value)
}

// SubscriptionIDs are the subscription identifiers of a packet as they stand
// on the wire, like UserProperties.
type SubscriptionIDs []byte

// Next returns the first identifier and the rest; ok is false when there is
// none.
func (s SubscriptionIDs) Next() (id uint32, rest SubscriptionIDs, ok bool) {
	for b := []byte(s); ; {
		size := propertySize(b)
		if size == 0 {
			return 0, nil, false
		}
		if b[0] == idSubscription {
			value, _ := remaining(b[1:])
			return uint32(value), SubscriptionIDs(b[size:]), true
		}
		b = b[size:]
	}
}

// First returns the first identifier, 0 when there is none.
func (s SubscriptionIDs) First() uint32 {
	id, _, _ := s.Next()
	return id
}

// AppendSubscriptionID appends an identifier to send, 1 to 268,435,455.
func AppendSubscriptionID(dst SubscriptionIDs, id uint32) SubscriptionIDs {
	return appendVarint(append(dst, idSubscription), int(id))
}

// appendProperties appends the properties of the list that have the id.
func appendProperties(dst, list []byte, id byte) []byte {
	for {
		size := propertySize(list)
		if size == 0 {
			return dst
		}
		if list[0] == id {
			dst = append(dst, list[:size]...)
		}
		list = list[size:]
	}
}
