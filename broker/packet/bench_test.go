package packet_test

import (
	"bytes"
	"testing"

	"github.com/penstock/penstock/broker/packet"
)

// message is what a device sends: 200 bytes of payload at QoS 1.
func message() *packet.Publish {
	return &packet.Publish{
		QoS: 1, Topic: []byte("factory/line4/press17/temperature"), ID: 4711, Payload: bytes.Repeat([]byte("x"), 200),
	}
}

func benchmarkDecode(b *testing.B, v packet.Version, p *packet.Publish) {
	wire := p.AppendTo(nil, v)
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	var got packet.Publish
	for b.Loop() {
		first, body, _, err := packet.Next(wire, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		if err := got.Decode(v, first, body); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkEncode(b *testing.B, v packet.Version, p *packet.Publish) {
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst = p.AppendTo(dst[:0], v)
	}
	b.SetBytes(int64(len(dst)))
}

// withProperties adds what a sender of 5.0 is likely to.
func withProperties(p *packet.Publish) *packet.Publish {
	p.Properties.PayloadFormat, p.Properties.ContentType = 1, []byte("application/json")
	p.Properties.User = packet.AppendUser(nil, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	p.Properties.Add(packet.PropPayloadFormat | packet.PropContentType | packet.PropUser)
	return p
}

func BenchmarkPublishDecode(b *testing.B) {
	b.Run("v3.1.1", func(b *testing.B) { benchmarkDecode(b, v311, message()) })
	b.Run("v5", func(b *testing.B) { benchmarkDecode(b, v5, message()) })
	b.Run("v5 with properties", func(b *testing.B) { benchmarkDecode(b, v5, withProperties(message())) })
}

func BenchmarkPublishEncode(b *testing.B) {
	b.Run("v3.1.1", func(b *testing.B) { benchmarkEncode(b, v311, message()) })
	b.Run("v5", func(b *testing.B) { benchmarkEncode(b, v5, message()) })
	b.Run("v5 with properties", func(b *testing.B) { benchmarkEncode(b, v5, withProperties(message())) })
}

func BenchmarkPubackDecode(b *testing.B) {
	var p packet.Puback
	body := []byte{0, 7}
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Decode(v5, 0x40, body); err != nil {
			b.Fatal(err)
		}
	}
}
