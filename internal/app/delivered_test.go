package app_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/internal/app"
)

const deliveredRules = `
listeners: [{bind: "127.0.0.1:0"}]
sinks: [{name: out, file: {path: out.txt}}]
rules:
  - {name: whole, from: "whole/#", ack: delivered, to: [{sink: out}]}
  - {name: some, from: "some/#", ack: delivered, where: payload.ok, to: [{sink: out, value: payload.n}]}
`

// speaker is a 5.0 client that talks packet by packet.
type speaker struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
}

func speak(t *testing.T, a *app.App) *speaker {
	t.Helper()
	nc, err := net.Dial("tcp", a.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	s := &speaker{t: t, nc: nc, r: bufio.NewReader(nc)}
	s.say((&packet.Connect{CleanStart: true, ClientID: []byte("press")}).AppendTo(nil, packet.V5))
	s.hear()
	return s
}

func (s *speaker) say(b []byte) {
	s.t.Helper()
	if _, err := s.nc.Write(b); err != nil {
		s.t.Fatal(err)
	}
}

func (s *speaker) publish(topic string, qos byte, id uint16, payload string) {
	s.t.Helper()
	m := packet.Publish{Topic: []byte(topic), QoS: qos, ID: id, Payload: []byte(payload)}
	s.say(m.AppendTo(nil, packet.V5))
}

// hear returns the next packet; all are short.
func (s *speaker) hear() (first byte, body []byte) {
	s.t.Helper()
	var head [2]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		s.t.Fatal(err)
	}
	body = make([]byte, head[1])
	if _, err := io.ReadFull(s.r, body); err != nil {
		s.t.Fatal(err)
	}
	return head[0], body
}

// want expects an acknowledgement.
func (s *speaker) want(text string) {
	s.t.Helper()
	first, body := s.hear()
	var p packet.Puback
	var err error
	switch packet.TypeOf(first) {
	case packet.TypePubrec:
		err = (*packet.Pubrec)(&p).Decode(packet.V5, first, body)
	case packet.TypePubcomp:
		err = (*packet.Pubcomp)(&p).Decode(packet.V5, first, body)
	default:
		err = p.Decode(packet.V5, first, body)
	}
	got := fmt.Sprintf("%s %d %s %s", packet.TypeOf(first), p.ID, p.Reason, p.Properties.ReasonString)
	if err != nil || !strings.HasPrefix(got, text) {
		s.t.Fatalf("got %s, %v, want %s", got, err, text)
	}
}

// From the device to the file and back: an acknowledgement says delivered when
// the record is in the file, or when a condition was not met; a rule error is
// said at once (I1, C13).
func TestDelivered(t *testing.T) {
	dir := t.TempDir()
	var log logBuffer
	a, err := build(t, dir, deliveredRules, &log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1) // 1: the result of Run
	go func() { done <- a.Run(ctx, nil) }()
	s := speak(t, a)
	file := func(want string) {
		t.Helper()
		if text, err := os.ReadFile(filepath.Join(dir, "out.txt")); err != nil || string(text) != want {
			t.Errorf("the file holds %q, %v, want %q", text, err, want)
		}
	}
	s.publish("whole/1", 1, 1, "one")
	s.want("PUBACK 1 Success")
	file("one\n")
	s.publish("whole/1", 2, 2, "two")
	s.want("PUBREC 2 Success")
	s.say((&packet.Pubrel{ID: 2}).AppendTo(nil, packet.V5))
	s.want("PUBCOMP 2 Success")
	file("one\ntwo\n")
	s.publish("some/1", 1, 3, `{"ok": false}`)
	s.want("PUBACK 3 Success")
	s.publish("some/1", 1, 4, `{"ok": true, "n": 7}`)
	s.want("PUBACK 4 Success")
	file("one\ntwo\n7\n")
	s.publish("some/1", 1, 5, `not JSON`)
	s.want("PUBACK 5 Implementation specific error not delivered: ")
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

const fullRules = `
listeners: [{bind: "127.0.0.1:0"}]
sinks:
  - {name: dead, kafka: {brokers: ["127.0.0.1:1"], topic: t}, delivery: {max: {records: 20}, on_full: block}}
  - {name: out, file: {path: out.txt}}
rules:
  - {name: dead, from: "dead/#", to: [{sink: dead}]}
  - {name: out, from: "out/#", to: [{sink: out}]}
`

// A lane that is full refuses what its rules want, and nothing else (C7, I7).
func TestFullLane(t *testing.T) {
	dir := t.TempDir()
	var log logBuffer
	a, err := build(t, dir, fullRules, &log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1) // 1: the result of Run
	go func() { done <- a.Run(ctx, nil) }()
	s := speak(t, a)
	for id := range uint16(20) {
		s.publish("dead/1", 1, id+1, "x")
		s.want(fmt.Sprintf("PUBACK %d Success", id+1))
	}
	s.publish("dead/1", 1, 30, "x")
	s.want("PUBACK 30 Quota exceeded")
	s.publish("out/1", 1, 31, "x")
	s.want("PUBACK 31 Success")
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
