package broker_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/broker/auth"
	"github.com/penstock/penstock/broker/packet"
)

// serve starts a server on real sockets; the test's end stops it.
func serve(t testing.TB, o broker.Options) *broker.Server {
	t.Helper()
	s, err := broker.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return s
}

func local() broker.ListenerConfig { return broker.ListenerConfig{Bind: "127.0.0.1:0"} }

// hello connects over nc and returns what the CONNECT is answered with.
func hello(t *testing.T, nc net.Conn, c *packet.Connect, v packet.Version) *peer {
	t.Helper()
	p := newPeer(t, nc)
	p.v = v
	t.Cleanup(p.close)
	p.send(c)
	return p
}

func dialTCP(t *testing.T, s *broker.Server, i int) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addrs()[i].String())
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

func TestTCP(t *testing.T) {
	s := serve(t, broker.Options{Listeners: []broker.ListenerConfig{local(), local()}})
	a := hello(t, dialTCP(t, s, 0), &packet.Connect{ClientID: []byte("a"), CleanStart: true}, packet.V311)
	b := hello(t, dialTCP(t, s, 1), &packet.Connect{ClientID: []byte("b"), CleanStart: true}, packet.V5)
	a.want("CONNACK Success")
	b.want("CONNACK Success")
	a.subscribe("#", 1)
	for _, payload := range []string{"", "x", strings.Repeat("y", 70_000), strings.Repeat("z", 900_000)} {
		b.send(pub("t", 1, 1, payload))
		b.want("PUBACK 1")
		got := a.next()
		if want := `q1 id=`; !strings.Contains(got, want) || !strings.HasSuffix(got, `"`+payload+`"`) {
			t.Fatalf("payload of %d bytes came as %.60s", len(payload), got)
		}
	}
	b.sendHex("30ffff7f") // 2 MiB are too much, said before they have come
	b.want("DISCONNECT Packet too large", "closed")
}

func TestBytesOneByOne(t *testing.T) {
	s := serve(t, broker.Options{Listeners: []broker.ListenerConfig{local()}})
	nc := dialTCP(t, s, 0)
	p := newPeer(t, nc)
	defer p.close()
	c := packet.Connect{ClientID: []byte("a"), CleanStart: true}
	stream := c.AppendTo(nil, packet.V311)
	sub := packet.Subscribe{ID: 9, Subscriptions: packet.AppendSubscription(nil, packet.Subscription{Filter: []byte("t")})}
	stream = pub("t", 1, 1, "hello").AppendTo(sub.AppendTo(stream, packet.V311), packet.V311)
	for i := range stream {
		p.sendBytes(stream[i : i+1])
	}
	p.want("CONNACK Success", "SUBACK 9 [0]")
	if got := []string{p.next(), p.next()}; got[0] != `PUBLISH t q0 "hello"` && got[1] != `PUBLISH t q0 "hello"` {
		t.Fatal(got)
	}
}

func TestAddressInUse(t *testing.T) {
	s := serve(t, broker.Options{Listeners: []broker.ListenerConfig{local()}})
	addr := s.Addrs()[0].String()
	_, err := broker.New(broker.Options{Listeners: []broker.ListenerConfig{local(), {Bind: addr}}})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), addr) {
		t.Errorf("got %v, want an address in use that names %s", err, addr)
	}
}

// What is wrong on the wire, and how it is answered.
func TestMalformed(t *testing.T) {
	s := serve(t, broker.Options{Listeners: []broker.ListenerConfig{local()}})
	for _, c := range []struct {
		name, hex string
		five      string // answer to a 5.0 client; 3.x is just closed
	}{
		{"packet type 0 [MQTT 5.0 2.1.2]", "0000", "DISCONNECT Malformed Packet"},
		{"flags of PINGREQ [MQTT-2.1.3-1]", "c100", "DISCONNECT Malformed Packet"},
		{"remaining length of five bytes [MQTT-1.5.5-1]", "30ffffffff01", "DISCONNECT Malformed Packet"},
		{"QoS 3 [MQTT-3.3.1-4]", "360500017400 01", "DISCONNECT Malformed Packet"},
		{"packet identifier 0 [MQTT-2.2.1-3]", "3206 000174 0000 00", "DISCONNECT Protocol Error"},
		{"topic with a wildcard [MQTT-3.3.2-2]", "3005 0002742b 00", "DISCONNECT Topic Name invalid"},
		{"topic that is not UTF-8 [MQTT-1.5.4-1]", "3004 0001ff 00", "DISCONNECT Malformed Packet"},
		{"SUBSCRIBE without filters [MQTT-3.8.3-2]", "8203 0001 00", "DISCONNECT Protocol Error"},
		{"CONNACK from a client", "20020000", "DISCONNECT Protocol Error"},
		{"subscription identifier from a client [MQTT-3.3.4-6]", "3007 000174 02 0b01 78", "DISCONNECT Protocol Error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := hello(t, dialTCP(t, s, 0), &packet.Connect{CleanStart: true}, packet.V5)
			a.want("CONNACK Success")
			a.sendHex(c.hex)
			a.want(c.five, "closed")
			if strings.Contains(c.name, "from a client") || strings.Contains(c.name, "without") {
				return
			}
			b := hello(t, dialTCP(t, s, 0), &packet.Connect{CleanStart: true}, packet.V311)
			b.want("CONNACK Success")
			b.sendHex(c.hex)
			b.want("closed")
		})
	}
}

func TestMalformedConnect(t *testing.T) {
	s := serve(t, broker.Options{Listeners: []broker.ListenerConfig{local()}})
	for _, c := range []struct {
		name, hex string
		version   packet.Version
		want      []string
	}{
		{"HTTP", "474554202f20485454502f312e310d0a", packet.V311, []string{"closed"}},
		{"PINGREQ first [MQTT-3.1.0-1]", "c000", packet.V311, []string{"closed"}},
		{"unknown 3.x level [MQTT-3.1.2-2]", "100c 00044d515454 02 02 0000 0000", packet.V311, []string{"CONNACK Unsupported Protocol Version", "closed"}},
		{"level 6", "100d 00044d515454 06 02 0000 00 0000", packet.V5, []string{"CONNACK Unsupported Protocol Version", "closed"}},
		{"reserved flag [MQTT-3.1.2-3]", "100d 00044d515454 05 03 0000 00 0000", packet.V5, []string{"CONNACK Malformed Packet", "closed"}},
		{"receive maximum 0", "1010 00044d515454 05 02 0000 03 210000 0000", packet.V5, []string{"CONNACK Protocol Error", "closed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t, dialTCP(t, s, 0))
			defer p.close()
			p.v = c.version
			p.sendHex(c.hex)
			p.want(c.want...)
		})
	}
}

func TestUsers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	hash, err := auth.Hash([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if err := auth.SetUser(file, "ann", hash); err != nil {
		t.Fatal(err)
	}
	yes := true
	closedTo := serve(t, broker.Options{Listeners: []broker.ListenerConfig{local()}, Auth: auth.Config{UsersFile: file}})
	openTo := serve(t, broker.Options{Listeners: []broker.ListenerConfig{local()}, Auth: auth.Config{UsersFile: file, Anonymous: &yes}})
	for _, c := range []struct {
		name       string
		srv        *broker.Server
		v          packet.Version
		user, pass string
		want       string
	}{
		{"right", closedTo, packet.V5, "ann", "secret", "CONNACK Success"},
		{"right again, remembered", closedTo, packet.V311, "ann", "secret", "CONNACK Success"},
		{"wrong password", closedTo, packet.V5, "ann", "x", "CONNACK Bad User Name or Password"},
		{"wrong password, return code 4", closedTo, packet.V311, "ann", "x", "CONNACK Bad User Name or Password"},
		{"unknown", closedTo, packet.V5, "bob", "secret", "CONNACK Bad User Name or Password"},
		{"anonymous", closedTo, packet.V5, "", "", "CONNACK Not authorized"},
		{"anonymous, return code 5", closedTo, packet.V311, "", "", "CONNACK Not authorized"},
		{"anonymous allowed", openTo, packet.V311, "", "", "CONNACK Success"},
		{"wrong password beside anonymous", openTo, packet.V311, "ann", "x", "CONNACK Bad User Name or Password"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := packet.Connect{CleanStart: true, UserName: []byte(c.user), Password: []byte(c.pass)}
			p.HasUserName, p.HasPassword = c.user != "", c.user != ""
			hello(t, dialTCP(t, c.srv, 0), &p, c.v).want(c.want)
		})
	}
}

func TestTLS(t *testing.T) {
	pki := newPKI(t)
	cfg := func(from string) broker.ListenerConfig {
		c := &broker.TLSConfig{Cert: pki.cert, Key: pki.key, UsernameFrom: from}
		if from != "" {
			c.ClientCA = pki.ca
		}
		return broker.ListenerConfig{Bind: "127.0.0.1:0", TLS: c}
	}
	l := newFakeLog()
	s := serve(t, broker.Options{
		Listeners: []broker.ListenerConfig{cfg(""), cfg("cn"), cfg("san")},
		Intake:    l,
	})
	for i, c := range []struct{ name, user string }{{"server only", ""}, {"cn", "press-7"}, {"san", "press-7.example"}} {
		t.Run(c.name, func(t *testing.T) {
			nc, err := tls.Dial("tcp", s.Addrs()[i].String(), pki.client())
			if err != nil {
				t.Fatal(err)
			}
			p := hello(t, nc, &packet.Connect{ClientID: []byte("a"), CleanStart: true}, packet.V311)
			p.want("CONNACK Success")
			p.subscribe("#", 0)
			p.send(pub("t", 0, 0, strings.Repeat("x", 100_000)), &packet.Pingreq{})
			if got := []string{p.next(), p.next()}; len(got[0])+len(got[1]) < 100_000 {
				t.Fatal(got)
			}
		})
	}
	t.Run("no certificate", func(t *testing.T) {
		c := pki.client()
		c.Certificates = nil
		nc, err := tls.Dial("tcp", s.Addrs()[1].String(), c)
		if err != nil {
			return
		}
		_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := nc.Read(make([]byte, 1)); err == nil {
			t.Error("a client without a certificate was let in")
		}
		_ = nc.Close()
	})
	t.Run("old TLS", func(t *testing.T) {
		c := pki.client()
		c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
		if nc, err := tls.Dial("tcp", s.Addrs()[0].String(), c); err == nil {
			_ = nc.Close()
			t.Error("TLS 1.1 was accepted")
		}
	})
}

func TestCheckListeners(t *testing.T) {
	pki := newPKI(t)
	no := false
	for _, c := range []struct {
		name string
		l    broker.ListenerConfig
		a    auth.Config
		want []string // path: message
	}{
		{"loopback", broker.ListenerConfig{Bind: "127.0.0.1:1883"}, auth.Config{}, nil},
		{"IPv6 loopback", broker.ListenerConfig{Bind: "[::1]:1883"}, auth.Config{}, nil},
		{"localhost", broker.ListenerConfig{Bind: "localhost:0"}, auth.Config{}, nil},
		{"open", broker.ListenerConfig{Bind: ":1883"}, auth.Config{}, []string{"[0].bind: anyone who reaches :1883 could connect without a password"}},
		{"open with users", broker.ListenerConfig{Bind: ":1883"}, auth.Config{UsersFile: "f"}, nil},
		{"anonymous is said", broker.ListenerConfig{Bind: ":1883"}, auth.Config{Anonymous: &no}, nil},
		{"certificates stand for users", broker.ListenerConfig{Bind: ":1883", TLS: &broker.TLSConfig{Cert: pki.cert, Key: pki.key, ClientCA: pki.ca, UsernameFrom: "cn"}}, auth.Config{}, nil},
		{"no address", broker.ListenerConfig{}, auth.Config{}, []string{"[0].bind: the address to listen on is missing"}},
		{"no port", broker.ListenerConfig{Bind: "localhost"}, auth.Config{}, []string{`[0].bind: "localhost" is not host:port`}},
		{"bad port", broker.ListenerConfig{Bind: ":mqtt2"}, auth.Config{}, []string{`[0].bind: "mqtt2" is not a port`}},
		{"bad host", broker.ListenerConfig{Bind: "a b:1"}, auth.Config{}, []string{`[0].bind: "a b" is neither an IP address nor a host name`}},
		{"no files", broker.ListenerConfig{Bind: "127.0.0.1:1", TLS: &broker.TLSConfig{}}, auth.Config{}, []string{"[0].tls.cert: cert is missing", "[0].tls.key: key is missing"}},
		{"missing files", broker.ListenerConfig{Bind: "127.0.0.1:1", TLS: &broker.TLSConfig{Cert: "/none", Key: pki.key, ClientCA: "/no"}}, auth.Config{}, []string{"[0].tls.cert: the file /none does not exist", "[0].tls.client_ca: the file /no does not exist"}},
		{"not a certificate", broker.ListenerConfig{Bind: "127.0.0.1:1", TLS: &broker.TLSConfig{Cert: pki.cert, Key: pki.key, ClientCA: pki.key}}, auth.Config{}, []string{"[0].tls.client_ca: " + pki.key + ": there is no PEM certificate in " + pki.key}},
		{"username_from", broker.ListenerConfig{Bind: "127.0.0.1:1", TLS: &broker.TLSConfig{Cert: pki.cert, Key: pki.key, UsernameFrom: "sam"}}, auth.Config{}, []string{`[0].tls.username_from: "sam" is neither cn nor san`, "[0].tls.username_from: without client_ca there is no certificate to take a user name from"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, p := range broker.CheckListeners([]broker.ListenerConfig{c.l}, c.a) {
				got = append(got, p.Path+": "+p.Message)
				if p.Hint == "" && strings.Contains(p.Path, "bind") {
					t.Errorf("%s has no hint", p.Path)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// pki is an authority, a server and a device certificate in files.
type pki struct {
	ca, cert, key string
	pool          *x509.CertPool
	device        tls.Certificate
}

func newPKI(t testing.TB) *pki {
	t.Helper()
	dir := t.TempDir()
	file := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	serial := int64(0)
	make1 := func(cn, dns string, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		serial++
		c := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: cn},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			DNSNames: []string{dns}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		if ca == nil {
			c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
			ca, caKey = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, caKey)
		if err != nil {
			t.Fatal(err)
		}
		made, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return made, key
	}
	ca, caKey := make1("authority", "ca.example", nil, nil)
	server, serverKey := make1("server", "server.example", ca, caKey)
	device, deviceKey := make1("press-7", "press-7.example", ca, caKey)
	der, err := x509.MarshalECPrivateKey(serverKey)
	if err != nil {
		t.Fatal(err)
	}
	p := &pki{
		ca: file("ca.pem", "CERTIFICATE", ca.Raw), cert: file("cert.pem", "CERTIFICATE", server.Raw),
		key: file("key.pem", "EC PRIVATE KEY", der), pool: x509.NewCertPool(),
		device: tls.Certificate{Certificate: [][]byte{device.Raw}, PrivateKey: deviceKey},
	}
	p.pool.AddCert(ca)
	return p
}

func (p *pki) client() *tls.Config {
	return &tls.Config{RootCAs: p.pool, Certificates: []tls.Certificate{p.device}}
}

func usersAt(path string) auth.Config { return auth.Config{UsersFile: path} }
