package packet_test

import (
	"bytes"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/broker/packet"
)

func FuzzConnect(f *testing.F)     { fuzz(f, packet.TypeConnect) }
func FuzzConnack(f *testing.F)     { fuzz(f, packet.TypeConnack) }
func FuzzPublish(f *testing.F)     { fuzz(f, packet.TypePublish) }
func FuzzPuback(f *testing.F)      { fuzz(f, packet.TypePuback) }
func FuzzPubrec(f *testing.F)      { fuzz(f, packet.TypePubrec) }
func FuzzPubrel(f *testing.F)      { fuzz(f, packet.TypePubrel) }
func FuzzPubcomp(f *testing.F)     { fuzz(f, packet.TypePubcomp) }
func FuzzSubscribe(f *testing.F)   { fuzz(f, packet.TypeSubscribe) }
func FuzzSuback(f *testing.F)      { fuzz(f, packet.TypeSuback) }
func FuzzUnsubscribe(f *testing.F) { fuzz(f, packet.TypeUnsubscribe) }
func FuzzUnsuback(f *testing.F)    { fuzz(f, packet.TypeUnsuback) }
func FuzzPingreq(f *testing.F)     { fuzz(f, packet.TypePingreq) }
func FuzzPingresp(f *testing.F)    { fuzz(f, packet.TypePingresp) }
func FuzzDisconnect(f *testing.F)  { fuzz(f, packet.TypeDisconnect) }
func FuzzAuth(f *testing.F)        { fuzz(f, packet.TypeAuth) }

// fuzz checks one decoder: no panic, nothing read or written beyond the body,
// no more allocated than has arrived, every refusal with reason and clause,
// and decode(encode(decode(x))) = decode(x).
func fuzz(f *testing.F, kind packet.Type) {
	for _, c := range cases() {
		b := raw(f, c.wire)
		if packet.TypeOf(b[0]) != kind {
			continue
		}
		if first, body, n, _ := packet.Next(b, 0); n > 0 {
			f.Add(byte(c.version), first, body)
		}
	}
	f.Fuzz(func(t *testing.T, level, first byte, data []byte) {
		v := v31 + packet.Version(level%3)
		body := slices.Clip(bytes.Clone(data)) // its capacity ends where it does
		first = byte(kind)<<4 | first&15
		p, allocated, err := decodeMeasured(kind, v, first, body)
		if allocated > uint64(len(body))+1024 {
			t.Errorf("%d bytes allocated for a body of %d", allocated, len(body))
		}
		if !bytes.Equal(body, data) {
			t.Error("the body was written to")
		}
		if err != nil {
			wantError(t, err)
			return
		}
		checkAgain(t, p, v)
	})
}

// decodeMeasured also returns how many bytes were allocated on the way. Other
// goroutines allocate too, so that the lowest of a few runs counts.
func decodeMeasured(kind packet.Type, v packet.Version, first byte, body []byte) (p codec, least uint64, err error) {
	var before, after runtime.MemStats
	for i := range 5 {
		p = newPacket(kind)
		runtime.ReadMemStats(&before)
		err = p.Decode(v, first, body)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; i == 0 || used < least {
			least = used
		}
		if least <= uint64(len(body))+1024 {
			break
		}
	}
	return p, least, err
}

// checkAgain writes p and reads it again.
func checkAgain(t *testing.T, p codec, v packet.Version) {
	t.Helper()
	if c, ok := p.(*packet.Connect); ok {
		v = c.Version
	}
	wire := p.AppendTo(nil, v)
	again, err := decode(slices.Clip(wire), v, nil)
	if err != nil {
		t.Fatalf("%T written as %x: %v", p, wire, err)
	}
	if diff := cmp.Diff(p, again, asLists()); diff != "" {
		t.Errorf("written as %x (-first +again):\n%s", wire, diff)
	}
	if twice := again.AppendTo(nil, v); !bytes.Equal(wire, twice) {
		t.Errorf("written as %x, then as %x", wire, twice)
	}
}

// FuzzNext feeds arbitrary bytes in every portion: what Next says of the start
// of a stream never changes when more arrives, except from "more" to an answer.
func FuzzNext(f *testing.F) {
	for _, c := range cases() {
		f.Add(raw(f, c.wire), 0)
	}
	f.Fuzz(func(t *testing.T, data []byte, limit int) {
		first, body, n, err := packet.Next(data, limit)
		if n > len(data) || (n > 0 && (err != nil || !bytes.HasSuffix(data[:n], body) || first != data[0])) {
			t.Fatalf("first %x, body %x, n %d, error %v", first, body, n, err)
		}
		if err != nil {
			wantError(t, err)
		}
		for i := range min(len(data), 512) {
			_, _, size, e := packet.Next(data[:i:i], limit)
			if (size != 0 && size != n) || (e != nil && err == nil) || (n > 0 && i < n && size != 0) {
				t.Fatalf("%d of %d bytes: n %d, error %v; then n %d, error %v", i, len(data), size, e, n, err)
			}
		}
	})
}

// FuzzTopic compares the check of topic names with the plain one.
func FuzzTopic(f *testing.F) {
	for _, s := range []string{"a/b", "größe", "aaaaaaa+", "aaaaaaaa#", "aaaaaaa\x00a", "\xed\xa0\x80", "\xff", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, topic []byte) {
		if len(topic) <= 0xffff {
			checkTopic(t, topic)
		}
	})
}
