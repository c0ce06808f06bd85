package broker_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/broker/packet"
)

// mute connects a subscriber to everything that never reads.
func mute(t *testing.T, s *broker.Server, qos byte) {
	t.Helper()
	nc := dialTCP(t, s, 0)
	t.Cleanup(func() { _ = nc.Close() })
	sub := packet.Subscribe{ID: 9, Subscriptions: packet.AppendSubscription(nil, packet.Subscription{Filter: []byte("#"), QoS: qos})}
	if _, err := nc.Write(sub.AppendTo((&packet.Connect{CleanStart: true}).AppendTo(nil, packet.V311), packet.V311)); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.Stats().Subscriptions == 0 {
		<-tick.C
	}
}

// A subscriber that reads nothing costs publishers one short wait; then they go
// on, others get everything, and what it misses is counted (I6, I7).
func TestStalledSubscriber(t *testing.T) {
	s := serve(t, broker.Options{Listeners: []broker.ListenerConfig{local()}})
	mute(t, s, 0)
	good := newLoad(t, s, "#", 1)
	defer good.nc.Close()
	p := newLoad(t, s, "", 0)
	defer p.nc.Close()
	const n = 150_000
	received := make(chan error, 1)
	go func() {
		got, err := good.receive(n)
		if err == nil && got != n {
			err = fmt.Errorf("%d of %d messages came", got, n)
		}
		received <- err
	}()
	start := time.Now()
	if err := p.publish("t", 1, n); err != nil {
		t.Fatal(err)
	}
	if err := <-received; err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages beside a stalled subscriber took %v", n, time.Since(start))
	if d := s.Stats().Dropped; d["slow_subscriber"] == 0 {
		t.Errorf("nothing was counted: %v", d)
	}
}

// At QoS 1 a stalled subscriber's messages wait until its bound is reached.
func TestStalledQueue(t *testing.T) {
	s := serve(t, broker.Options{Listeners: []broker.ListenerConfig{local()}, QueueMessages: 1000})
	mute(t, s, 1)
	p := newLoad(t, s, "", 0)
	defer p.nc.Close()
	if err := p.publish("t", 1, 150_000); err != nil {
		t.Fatal(err)
	}
	if d := s.Stats().Dropped; d["queue_full"] == 0 {
		t.Errorf("nothing was counted: %v", d)
	}
}

// A subscriber that is only slow loses nothing: publishers wait for it.
func TestSlowSubscriber(t *testing.T) {
	s := serve(t, broker.Options{Listeners: []broker.ListenerConfig{local()}})
	slow := dialTCP(t, s, 0)
	defer slow.Close()
	if err := slow.(*net.TCPConn).SetReadBuffer(256 << 10); err != nil {
		t.Fatal(err)
	}
	sub := packet.Subscribe{ID: 9, Subscriptions: packet.AppendSubscription(nil, packet.Subscription{Filter: []byte("#")})}
	if _, err := slow.Write(sub.AppendTo((&packet.Connect{CleanStart: true}).AppendTo(nil, packet.V311), packet.V311)); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 4+5)
	for n := 0; n < len(head); {
		k, err := slow.Read(head[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += k
	}
	p := hello(t, dialTCP(t, s, 0), &packet.Connect{CleanStart: true}, packet.V311)
	p.want("CONNACK Success")
	one := pub("t", 0, 0, strings.Repeat("x", 1000)).AppendTo(nil, packet.V311)
	const n = 20_000
	done := make(chan error, 1)
	go func() {
		for range n / 100 {
			if _, err := p.nc.Write(bytes.Repeat(one, 100)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	buf, got := make([]byte, 64<<10), 0
	pace := time.NewTicker(2 * time.Millisecond) // this is what makes it slow
	defer pace.Stop()
	_ = slow.SetReadDeadline(time.Now().Add(time.Minute))
	for got < n*len(one) {
		k, err := slow.Read(buf)
		if err != nil {
			t.Fatalf("after %d of %d bytes: %v, %v", got, n*len(one), err, s.Stats().Dropped)
		}
		got += k
		<-pace.C
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if d := s.Stats().Dropped; len(d) > 0 {
		t.Errorf("dropped %v", d)
	}
}

// Strangers: mosquitto's clients speak to this server in every version.
func TestMosquittoClients(t *testing.T) {
	for _, name := range []string{"mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("%s is not installed: apt-get install mosquitto-clients", name)
		}
	}
	pki := newPKI(t)
	s := serve(t, broker.Options{Listeners: []broker.ListenerConfig{
		local(),
		{Bind: "127.0.0.1:0", TLS: &broker.TLSConfig{Cert: pki.cert, Key: pki.key}},
	}})
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for _, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		for _, qos := range []string{"0", "1", "2"} {
			for i, extra := range [][]string{nil, {"--cafile", pki.ca}} {
				name := version + "-q" + qos + map[int]string{0: "", 1: "-tls"}[i]
				t.Run(name, func(t *testing.T) {
					host, port, _ := net.SplitHostPort(s.Addrs()[i].String())
					common := append([]string{"-h", host, "-p", port, "-V", version, "-q", qos, "-t", "t/" + name}, extra...)
					for s.Stats().Subscriptions != 0 { // the one before has gone
						<-tick.C
					}
					sub := exec.Command("mosquitto_sub", append(common, "-C", "2", "-W", "20", "-v")...)
					var out bytes.Buffer
					sub.Stdout, sub.Stderr = &out, os.Stderr
					if err := sub.Start(); err != nil {
						t.Fatal(err)
					}
					for s.Stats().Subscriptions == 0 {
						<-tick.C // a process of its own: nothing to wait on
					}
					for _, m := range []string{"hello", "world"} {
						if b, err := exec.Command("mosquitto_pub", append(common, "-m", m)...).CombinedOutput(); err != nil {
							t.Fatalf("mosquitto_pub: %v: %s", err, b)
						}
					}
					if err := sub.Wait(); err != nil {
						t.Fatal(err)
					}
					if got, want := out.String(), "t/"+name+" hello\nt/"+name+" world\n"; got != want {
						t.Errorf("got %q, want %q", got, want)
					}
				})
			}
		}
	}
}
