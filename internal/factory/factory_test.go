package factory_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/broker/auth"
	"github.com/penstock/penstock/broker/packet"
	"github.com/penstock/penstock/internal/factory"
)

// serve runs a broker without rules until the test ends.
func serve(t *testing.T, users auth.Config) string {
	t.Helper()
	s, err := broker.New(broker.Options{Listeners: []broker.ListenerConfig{{Bind: "127.0.0.1:0"}}, Auth: users})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1) // 1: the result of Serve
	go func() { served <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s.Addrs()[0].String()
}

// numbered gives n messages at once.
func numbered(n int) factory.Source {
	i := 0
	return func() (factory.Message, time.Duration, bool) {
		i++
		return factory.Message{Topic: "a/b", Payload: fmt.Appendf(nil, "message %d", i)}, 0, i <= n
	}
}

func TestDeviceGetsEverythingAcknowledged(t *testing.T) {
	addr := serve(t, auth.Config{})
	for _, version := range []packet.Version{packet.V31, packet.V311, packet.V5} {
		for qos := range byte(3) {
			t.Run(fmt.Sprintf("%v QoS %d", version, qos), func(t *testing.T) {
				var c factory.Counters
				o := factory.Options{Addr: addr, ClientID: "device", Version: version, QoS: qos, Window: 10}
				if err := factory.NewDevice(o, &c, numbered(1000)).Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if c.Sent.Load() != 1000 || c.Acked.Load() != 1000 || c.Refused.Load() != 0 {
					t.Errorf("sent %d, acknowledged %d, refused %d", c.Sent.Load(), c.Acked.Load(), c.Refused.Load())
				}
			})
		}
	}
}

func TestDeviceSaysWhyItWasRefused(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users.txt")
	hash, err := auth.Hash([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(users, []byte("press:"+hash+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := factory.Options{Addr: serve(t, auth.Config{UsersFile: users}), ClientID: "device", Version: packet.V5, QoS: 1, User: "press", Password: "wrong"}
	err = factory.NewDevice(o, &factory.Counters{}, numbered(1)).Run(t.Context())
	if refused, ok := errors.AsType[*factory.RefusedError](err); !ok || refused.Code != byte(packet.BadUserNameOrPassword) {
		t.Errorf("Run = %v, want a refusal with code 0x86", err)
	}
}

// A connection that breaks again and again loses nothing: what was not
// acknowledged is sent again.
func TestDeviceResendsAfterBrokenConnections(t *testing.T) {
	for qos := byte(1); qos <= 2; qos++ {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			addr, cuts := cuttingProxy(t, serve(t, auth.Config{}))
			var c factory.Counters
			o := factory.Options{Addr: addr, ClientID: "device", Version: packet.V311, QoS: qos, Window: 50}
			if err := factory.NewDevice(o, &c, numbered(2000)).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if c.Acked.Load() != 2000 || cuts.Load() == 0 || c.Reconnects.Load() != cuts.Load() || c.Resent.Load() == 0 {
				t.Errorf("acknowledged %d, cuts %d, reconnects %d, resent %d", c.Acked.Load(), cuts.Load(), c.Reconnects.Load(), c.Resent.Load())
			}
		})
	}
}

// cuttingProxy passes connections on to addr; the first five are cut after 8 KB
// from the client.
func cuttingProxy(t *testing.T, addr string) (string, *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var cuts atomic.Int64
	go func() {
		for n := 0; ; n++ {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", addr)
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() { _, _ = io.Copy(client, server) }()
			if n < 5 {
				_, _ = io.CopyN(server, client, 8<<10)
				cuts.Add(1)
			} else {
				_, _ = io.Copy(server, client)
			}
			_ = client.Close()
			_ = server.Close()
		}
	}()
	return l.Addr().String(), &cuts
}

func TestFactoryKeepsExactCount(t *testing.T) {
	f := factory.Start(t.Context(), factory.Plan{Addr: serve(t, auth.Config{}), Devices: 12, Rate: 200})
	for f.Counters.Acked.Load() < 500 {
		select {
		case <-t.Context().Done():
			t.Fatal("the factory stands still")
		case <-time.After(time.Millisecond):
		}
	}
	if err := f.Stop(); err != nil {
		t.Fatal(err)
	}
	if c := &f.Counters; c.Sent.Load() != c.Acked.Load() {
		t.Errorf("sent %d, acknowledged %d", c.Sent.Load(), c.Acked.Load())
	}
}
