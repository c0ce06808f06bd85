package broker_test

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock/penstock/broker"
	"github.com/penstock/penstock/broker/auth"
	"github.com/penstock/penstock/broker/packet"
)

func usersFile(t *testing.T, user, password string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "users")
	hash, err := auth.Hash([]byte(password))
	if err != nil {
		t.Fatal(err)
	}
	if err := auth.SetUser(file, user, hash); err != nil {
		t.Fatal(err)
	}
	return file
}

func login(user, password string) *packet.Connect {
	return &packet.Connect{CleanStart: true, UserName: []byte(user), Password: []byte(password), HasUserName: true, HasPassword: true}
}

// Users change under way: who is in stays, who comes meets the new ones.
func TestReloadUsers(t *testing.T) {
	l := local()
	s := serve(t, broker.Options{Listeners: []broker.ListenerConfig{l}, Auth: usersAt(usersFile(t, "ann", "secret"))})
	ann := hello(t, dialTCP(t, s, 0), login("ann", "secret"), packet.V5)
	ann.want("CONNACK Success")
	if err := s.Reload(usersAt(usersFile(t, "bob", "other")), []broker.ListenerConfig{l}); err != nil {
		t.Fatal(err)
	}
	ann.send(&packet.Pingreq{})
	ann.want("PINGRESP")
	hello(t, dialTCP(t, s, 0), login("ann", "secret"), packet.V5).want("CONNACK Bad User Name or Password", "closed")
	hello(t, dialTCP(t, s, 0), login("bob", "other"), packet.V5).want("CONNACK Success")
	hello(t, dialTCP(t, s, 0), &packet.Connect{CleanStart: true}, packet.V5).want("CONNACK Not authorized", "closed")
	yes := true
	if err := s.Reload(auth.Config{Anonymous: &yes}, []broker.ListenerConfig{l}); err != nil {
		t.Fatal(err)
	}
	hello(t, dialTCP(t, s, 0), &packet.Connect{CleanStart: true}, packet.V5).want("CONNACK Success")
}

func TestReloadCertificates(t *testing.T) {
	old, fresh := newPKI(t), newPKI(t)
	listener := func(p *pki) []broker.ListenerConfig {
		return []broker.ListenerConfig{{Bind: "127.0.0.1:0", TLS: &broker.TLSConfig{Cert: p.cert, Key: p.key, ClientCA: p.ca, UsernameFrom: "cn"}}}
	}
	s := serve(t, broker.Options{Listeners: listener(old)})
	dial := func(p *pki) (net.Conn, error) { return tls.Dial("tcp", s.Addrs()[0].String(), p.client()) }
	nc, err := dial(old)
	if err != nil {
		t.Fatal(err)
	}
	a := hello(t, nc, &packet.Connect{CleanStart: true}, packet.V311)
	a.want("CONNACK Success")
	if err := s.Reload(auth.Config{}, listener(fresh)); err != nil {
		t.Fatal(err)
	}
	a.send(&packet.Pingreq{})
	a.want("PINGRESP")
	if nc, err := dial(old); err == nil {
		_ = nc.Close()
		t.Error("the old certificate is still shown")
	}
	nc, err = dial(fresh)
	if err != nil {
		t.Fatal(err)
	}
	hello(t, nc, &packet.Connect{CleanStart: true}, packet.V311).want("CONNACK Success")
}

// After an error all is as it was.
func TestReloadErrors(t *testing.T) {
	p := newPKI(t)
	l := broker.ListenerConfig{Bind: "127.0.0.1:0", TLS: &broker.TLSConfig{Cert: p.cert, Key: p.key}}
	users := usersAt(usersFile(t, "ann", "secret"))
	s := serve(t, broker.Options{Listeners: []broker.ListenerConfig{l}, Auth: users})
	other := l
	other.Bind = "127.0.0.1:1"
	gone := l
	gone.TLS = &broker.TLSConfig{Cert: filepath.Join(t.TempDir(), "none"), Key: p.key}
	empty := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(empty, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		auth      auth.Config
		listeners []broker.ListenerConfig
		want      string
	}{
		{"one more", users, []broker.ListenerConfig{l, l}, "restart"},
		{"another address", users, []broker.ListenerConfig{other}, "127.0.0.1:1"},
		{"no certificate", users, []broker.ListenerConfig{gone}, "none"},
		{"no users", usersAt(empty), []broker.ListenerConfig{l}, "line 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := s.Reload(c.auth, c.listeners); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error that says %q", err, c.want)
			}
		})
	}
	nc, err := tls.Dial("tcp", s.Addrs()[0].String(), p.client())
	if err != nil {
		t.Fatal(err)
	}
	hello(t, nc, login("ann", "secret"), packet.V311).want("CONNACK Success")
}
