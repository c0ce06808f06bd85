package message_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/message"
)

func TestIDText(t *testing.T) {
	for _, c := range []struct {
		id   message.ID
		text string
	}{
		{message.ID{}, "0000000000000-0-0"},
		{message.ID{Journal: math.MaxUint64, Epoch: math.MaxUint32, Offset: math.MaxUint64}, "zzzzzzzzzzzzy-4294967295-18446744073709551615"},
		{message.ID{Journal: 1 << 60, Epoch: 3, Offset: 42}, "2000000000000-3-42"},
	} {
		if got := c.id.String(); got != c.text {
			t.Errorf("%+v: text %s, want %s", c.id, got, c.text)
		}
	}
}

func TestIDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := message.ID{Journal: rapid.Uint64().Draw(t, "journal"), Epoch: rapid.Uint32().Draw(t, "epoch"), Offset: rapid.Uint64().Draw(t, "offset")}
		got, err := message.ParseID(id.String())
		if err != nil || got != id {
			t.Fatalf("ParseID(%s) = %+v, %v, want %+v", id, got, err, id)
		}
	})
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"", "0000000000000-0-0", "zzzzzzzzzzzzy-4294967295-18446744073709551615", "0-0-0", "0000000000000-4294967296-1", "000000000000l-1-1", "0000000000000-1-1-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := message.ParseID(s)
		if err != nil {
			return
		}
		again, err := message.ParseID(id.String())
		if err != nil || again != id {
			t.Errorf("ParseID(%q) = %+v, whose text %s parses as %+v, %v", s, id, id, again, err)
		}
	})
}
