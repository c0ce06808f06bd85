package message

import (
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ID names a message for ever and everywhere: no two Penstocks share one.
type ID struct {
	Journal uint64 // random, drawn when the journal was created
	Epoch   uint32 // how many times the journal had been opened
	Offset  uint64 // place in the journal, from 1
}

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// AppendText appends `<13 base32 letters>-<epoch>-<offset>`. The error is always nil.
func (i ID) AppendText(b []byte) ([]byte, error) {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], i.Journal)
	b = idEncoding.AppendEncode(b, raw[:])
	b = append(b, '-')
	b = strconv.AppendUint(b, uint64(i.Epoch), 10)
	b = append(b, '-')
	return strconv.AppendUint(b, i.Offset, 10), nil
}

// String returns the text form.
func (i ID) String() string {
	b, _ := i.AppendText(make([]byte, 0, 32))
	return string(b)
}

// MarshalText returns the text form.
func (i ID) MarshalText() ([]byte, error) { return i.AppendText(nil) }

// ParseID reads the text form, and no other way to write the same numbers.
func ParseID(s string) (ID, error) {
	journal, rest, _ := strings.Cut(s, "-")
	epoch, offset, _ := strings.Cut(rest, "-")
	var raw [8]byte
	bad := func(err error) (ID, error) {
		return ID{}, fmt.Errorf("parse message id %q: want <13 letters>-<epoch>-<offset>: %w", s, err)
	}
	if len(journal) != idEncoding.EncodedLen(len(raw)) {
		return bad(errors.New("wrong length"))
	}
	if _, err := idEncoding.Decode(raw[:], []byte(journal)); err != nil {
		return bad(err)
	}
	e, err := strconv.ParseUint(epoch, 10, 32)
	if err != nil {
		return bad(err)
	}
	o, err := strconv.ParseUint(offset, 10, 64)
	if err != nil {
		return bad(err)
	}
	id := ID{Journal: binary.BigEndian.Uint64(raw[:]), Epoch: uint32(e), Offset: o}
	if id.String() != s {
		return bad(errors.New("not the form that is written"))
	}
	return id, nil
}
