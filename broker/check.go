package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/penstock/penstock/broker/auth"
	"github.com/penstock/penstock/internal/problem"
)

// CheckListeners returns what is wrong with the listeners, each alone and
// beside the authentication that is configured. Paths begin with the index:
// `[0].bind`.
func CheckListeners(listeners []ListenerConfig, a auth.Config) problem.List {
	var all problem.List
	for i, l := range listeners {
		found := l.Validate()
		if len(found) == 0 {
			found = checkOpen(l, a)
		}
		all = append(all, found.Under("["+strconv.Itoa(i)+"]")...)
	}
	return all
}

// checkOpen refuses a listener that others can reach while nothing says who
// may connect (I8).
func checkOpen(l ListenerConfig, a auth.Config) problem.List {
	host, _, _ := net.SplitHostPort(l.Bind)
	byCertificate := l.TLS != nil && l.TLS.UsernameFrom != ""
	if a.Configured() || a.Anonymous != nil || byCertificate || loopback(host) {
		return nil
	}
	return problem.List{problem.New("bind", "anyone who reaches %s could connect without a password", l.Bind).
		WithHint("set auth.users_file, or bind to 127.0.0.1, or allow it with auth: {anonymous: true}")}
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Validate returns what is wrong with the listener by itself. It reads the
// files that are named.
func (l ListenerConfig) Validate() problem.List {
	found := checkBind(l.Bind)
	if l.TLS != nil {
		found = append(found, l.TLS.Validate().Under("tls")...)
	}
	return found
}

func checkBind(bind string) problem.List {
	bad := func(hint, format string, args ...any) problem.List {
		return problem.List{problem.New("bind", format, args...).WithHint("%s", hint)}
	}
	const example = "write it as 127.0.0.1:1883, or :1883 for every address"
	if bind == "" {
		return bad(example, "the address to listen on is missing")
	}
	host, port, err := net.SplitHostPort(bind)
	if err != nil {
		return bad(example, "%q is not host:port", bind)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return bad("a port is a number from 0 (any free one) to 65535", "%q is not a port", port)
	}
	if _, err := netip.ParseAddr(host); host != "" && err != nil && !plausibleHost(host) {
		return bad(example, "%q is neither an IP address nor a host name", host)
	}
	return nil
}

func plausibleHost(host string) bool {
	for _, r := range host {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && r != '-' && r != '.' && r != '_' {
			return false
		}
	}
	return true
}

// Validate returns what is wrong with the TLS settings. It reads the files.
func (t *TLSConfig) Validate() problem.List {
	found := t.checkPair()
	if t.ClientCA != "" {
		if _, err := loadPool(t.ClientCA); err != nil {
			found = append(found, fileProblem("client_ca", t.ClientCA, err))
		}
	}
	switch t.UsernameFrom {
	case "", "cn", "san":
	default:
		p := problem.New("username_from", "%q is neither cn nor san", t.UsernameFrom)
		if hint := problem.DidYouMean(t.UsernameFrom, []string{"cn", "san"}); hint != "" {
			p = p.WithHint("%s", hint)
		}
		found = append(found, p)
	}
	if t.UsernameFrom != "" && t.ClientCA == "" {
		found = append(found, problem.New("username_from", "without client_ca there is no certificate to take a user name from").
			WithHint("set client_ca to the PEM file of the authority that signs device certificates"))
	}
	return found
}

func (t *TLSConfig) checkPair() problem.List {
	var found problem.List
	for _, f := range []struct{ key, path string }{{"cert", t.Cert}, {"key", t.Key}} {
		if f.path == "" {
			found = append(found, problem.New(f.key, "%s is missing", f.key).WithHint("TLS needs both cert and key, as PEM files"))
		} else if _, err := os.ReadFile(f.path); err != nil {
			found = append(found, fileProblem(f.key, f.path, err))
		}
	}
	if len(found) > 0 {
		return found
	}
	if _, err := tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
		found = append(found, problem.New("cert", "certificate and key cannot be used: %v", err))
	}
	return found
}

func fileProblem(key, path string, err error) problem.Problem {
	if errors.Is(err, fs.ErrNotExist) {
		return problem.New(key, "the file %s does not exist", path)
	}
	return problem.New(key, "%s: %v", path, err)
}

// loadPool reads a PEM file of certificates.
func loadPool(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("there is no PEM certificate in %s", path)
	}
	return pool, nil
}
